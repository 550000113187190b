// Freestanding helpers: memory, strings, formatted output.
#include "lib.h"
#include "console.h"

void *memcpy(void *to, const void *from, u64 n) {
    u8 *d = to;
    const u8 *s = from;
    for (; n; n--) *d++ = *s++;
    return to;
}

void *memset(void *to, int byte, u64 n) {
    u8 *d = to;
    for (; n; n--) *d++ = (u8)byte;
    return to;
}

int memcmp(const void *a, const void *b, u64 n) {
    const u8 *x = a, *y = b;
    for (; n; n--, x++, y++)
        if (*x != *y) return *x - *y;
    return 0;
}

u64 strlen(const char *s) {
    u64 n = 0;
    while (s[n]) n++;
    return n;
}

int strcmp(const char *a, const char *b) {
    while (*a && *a == *b) a++, b++;
    return (u8)*a - (u8)*b;
}

int starts_with(const char *s, const char *prefix) {
    while (*prefix)
        if (*s++ != *prefix++) return 0;
    return 1;
}

static int digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : 16;
}

int parse_number(const char *s, u64 *value) {
    u64 base = 10, v = 0;
    if (s[0] == '0' && (s[1] | 0x20) == 'x') base = 16, s += 2;
    if (!*s) return 0;
    for (; *s; s++) {
        u64 d = (u64)digit(*s);
        if (d >= base) return 0;
        v = v * base + d;
    }
    *value = v;
    return 1;
}

struct field {
    u64 width;
    int left;
};

static void put_field(struct field f, const char *s, u64 n) {
    u64 fill = f.width > n ? f.width - n : 0;
    for (u64 i = 0; !f.left && i < fill; i++) console_put(' ');
    for (u64 i = 0; i < n; i++) console_put(s[i]);
    for (u64 i = 0; f.left && i < fill; i++) console_put(' ');
}

static void put_number(struct field f, u64 v, u64 base, const char *prefix, int zeros) {
    char text[32];
    u64 at = sizeof text;
    do text[--at] = "0123456789abcdef"[v % base];
    while ((v /= base) || (zeros && sizeof text - at < f.width && at > 2));
    for (u64 n = strlen(prefix); n; n--) text[--at] = prefix[n - 1];
    put_field(f, text + at, sizeof text - at);
}

void print(const char *format, ...) {
    __builtin_va_list args;
    __builtin_va_start(args, format);
    for (; *format; format++) {
        if (*format != '%') {
            console_put(*format);
            continue;
        }
        struct field f = {0, 0};
        int zeros = 0;
        if (*++format == '-') f.left = 1, format++;
        if (*format == '0') zeros = 1, format++;
        while (*format >= '0' && *format <= '9') f.width = f.width * 10 + (u64)(*format++ - '0');
        while (*format == 'l') format++;
        switch (*format) {
        case 's': {
            const char *s = __builtin_va_arg(args, const char *);
            put_field(f, s, strlen(s));
            break;
        }
        case 'c': {
            char c = (char)__builtin_va_arg(args, int);
            put_field(f, &c, 1);
            break;
        }
        case 'd': {
            i64 v = __builtin_va_arg(args, i64);
            put_number(f, v < 0 ? -(u64)v : (u64)v, 10, v < 0 ? "-" : "", zeros);
            break;
        }
        case 'u': put_number(f, __builtin_va_arg(args, u64), 10, "", zeros); break;
        case 'x': put_number(f, __builtin_va_arg(args, u64), 16, "", zeros); break;
        case 'p': put_number(f, __builtin_va_arg(args, u64), 16, "0x", zeros); break;
        default: console_put(*format);
        }
    }
    __builtin_va_end(args);
    console_flush();
}
