// The console. Output to SBI is collected and handed over in one call a line; input from the 16550 wakes the
// hart by its PLIC interrupt, which is claimed here without taking the trap.
#include "console.h"
#include "lib.h"
#include "machine.h"
#include "sbi.h"

#define POLL_HZ 100 // where no interrupt announces input

enum { UART_DATA = 0, UART_IER = 1, UART_LSR = 5 };
enum { LSR_DATA_READY = 1, LSR_TRANSMITTER_EMPTY = 0x20, IER_DATA_READY = 1 };

static volatile u8 *uart;
static char pending_output[128];
static u64 pending_count;
static char typed[64];
static u64 typed_count;

static volatile u32 *plic_register(u64 offset) { return (volatile u32 *)(machine.plic + offset); }
static volatile u32 *plic_claim(void) { return plic_register(0x200004 + machine.plic_context * 0x1000); }

static int interrupts_announce_input(void) { return uart && machine.plic && machine.uart_irq; }

void console_start(void) {
    console_flush();
    uart = (volatile u8 *)machine.uart;
    if (!interrupts_announce_input()) return;
    *plic_register(machine.uart_irq * 4) = 1;                                                   // priority
    *plic_register(0x2000 + machine.plic_context * 0x80 + machine.uart_irq / 32 * 4) |= 1u << machine.uart_irq % 32;
    *plic_register(0x200000 + machine.plic_context * 0x1000) = 0;                               // threshold
    uart[UART_IER] = IER_DATA_READY;
    csr_set(sie, IRQ_EXTERNAL);
}

static void sbi_write(const char *text, u64 count) {
    while (count) {
        struct sbi_result r = sbi_call(SBI_DBCN, 0, count, (u64)text, 0);
        if (r.error || !r.value) break;
        text += r.value;
        count -= r.value;
    }
    for (; count; count--) sbi_call(SBI_LEGACY_PUTCHAR, 0, (u8)*text++, 0, 0);
}

void console_flush(void) {
    if (pending_count) sbi_write(pending_output, pending_count);
    pending_count = 0;
}

static void put_raw(char c) {
    if (uart) {
        while (!(uart[UART_LSR] & LSR_TRANSMITTER_EMPTY)) {}
        uart[UART_DATA] = (u8)c;
        return;
    }
    pending_output[pending_count++] = c;
    if (pending_count == sizeof pending_output) console_flush();
}

void console_put(char c) {
    if (c == '\n') put_raw('\r');
    put_raw(c);
}

// A character that has arrived, or -1.
static int poll_device(void) {
    if (uart) return uart[UART_LSR] & LSR_DATA_READY ? uart[UART_DATA] : -1;
    char c;
    struct sbi_result r = sbi_call(SBI_DBCN, 1, 1, (u64)&c, 0);
    if (!r.error) return r.value == 1 ? (u8)c : -1;
    return (int)sbi_call(SBI_LEGACY_GETCHAR, 0, 0, 0, 0).error;
}

static void wait_for_input(void) {
    if (interrupts_announce_input()) {
        wait_for_interrupt();
        u32 irq = *plic_claim();
        if (irq) *plic_claim() = irq;
        return;
    }
    timer_set(ticks() + machine.timebase / POLL_HZ);
    csr_set(sie, IRQ_TIMER);
    wait_for_interrupt();
    csr_clear(sie, IRQ_TIMER);
    timer_set(~0ul);
}

char console_get(void) {
    if (typed_count) {
        char c = typed[0];
        typed_count--;
        for (u64 i = 0; i < typed_count; i++) typed[i] = typed[i + 1];
        return c;
    }
    for (;;) {
        int c = poll_device();
        if (c >= 0) return (char)c;
        wait_for_input();
    }
}

int console_interrupted(void) {
    while (typed_count < sizeof typed) {
        int c = poll_device();
        if (c < 0) return 0;
        if (c == KEY_INTERRUPT) {
            typed_count = 0;
            print("^C\n");
            return 1;
        }
        typed[typed_count++] = (char)c;
    }
    return 0;
}

// Cursor keys and their like: ESC [ parameters final. There is nothing for them to do here.
static void skip_escape(void) {
    if (console_get() != '[') return;
    char c;
    do c = console_get();
    while (c < '@' || c > '~');
}

static void rub_out(u64 count) {
    for (; count; count--) print("\b \b");
}

int console_line(const char *prompt, char *line, u64 size) {
    static char last;
    u64 length = 0;
    print("%s", prompt);
    for (;;) {
        char c = console_get();
        int second_of_crlf = c == '\n' && last == '\r';
        last = c;
        if (second_of_crlf) continue;
        if (c == '\r' || c == '\n') {
            line[length] = 0;
            print("\n");
            return 1;
        }
        if (c == KEY_INTERRUPT) {
            print("^C\n");
            return 0;
        }
        if (c == '\b' || c == 0x7f) {
            rub_out(length != 0);
            length -= length != 0;
        } else if (c == 0x15) { // Ctrl-U
            rub_out(length);
            length = 0;
        } else if (c == 0x1b) {
            skip_escape();
        } else if (c >= ' ' && length + 1 < size) {
            line[length++] = c;
            print("%c", c);
        }
    }
}
