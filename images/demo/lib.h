// Freestanding helpers: memory, strings, formatted output.
#pragma once
#include "riscv.h"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

void *memcpy(void *to, const void *from, u64 n);
void *memset(void *to, int byte, u64 n);
int memcmp(const void *a, const void *b, u64 n);
u64 strlen(const char *s);
int strcmp(const char *a, const char *b);
int starts_with(const char *s, const char *prefix);

// %s %c %d %u %x %p(0x, 16 digits wide as needed), with optional width and `-`; every integer is 64 bits wide.
void print(const char *format, ...) __attribute__((format(printf, 1, 2)));
// Reads 0x… or decimal; false if `s` is not a number from end to end.
int parse_number(const char *s, u64 *value);
