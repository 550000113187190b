// The machine, as its device tree and firmware describe it.
#pragma once
#include "hart.h"

#define DEVICE_MAX 32
#define MEMORY_MAX 4

struct range {
    u64 start, size;
};

struct device {
    const char *name, *compatible;
    u64 address;
    u32 irq; // 0 = none
};

struct machine {
    const void *fdt;
    const char *model, *isa, *isa_extensions, *mmu, *bootargs;
    u32 isa_extensions_length;
    u64 timebase; // ticks a second
    u64 boot_hart;
    u64 hart_count;
    u64 hart_ids[HART_MAX];
    u32 hart_intc[HART_MAX]; // phandles of the harts' interrupt controllers
    u64 memory_count;
    struct range memory[MEMORY_MAX];
    u64 device_count;
    struct device devices[DEVICE_MAX];
    u64 uart, uart_irq, plic, plic_context, test, rtc; // addresses; 0 = absent
    int sstc;
};

extern struct machine machine;

// Fills `machine` from the tree; false if there is none.
int machine_discover(const void *fdt, u64 boot_hart);
// The `info` command.
void machine_print(void);
// Seconds and nanoseconds of the wall clock; false without a clock device.
int machine_wall_clock(u64 *nanoseconds);

// Programs the next timer interrupt (clears a pending one); ~0 is never.
void timer_set(u64 deadline);

void machine_poweroff(void) __attribute__((noreturn));
void machine_reboot(void) __attribute__((noreturn));
// Ends the machine with an exit code through the test device.
void machine_exit(u64 code) __attribute__((noreturn));
