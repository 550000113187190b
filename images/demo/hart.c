// Harts beside the boot hart, started and stopped through SBI HSM.
#include "hart.h"
#include "lib.h"
#include "machine.h"
#include "paging.h"
#include "sbi.h"

_Static_assert(__builtin_offsetof(struct hart, kernel_sp) == HART_SP, "hart.h");
_Static_assert(__builtin_offsetof(struct hart, id) == HART_ID, "hart.h");
_Static_assert(__builtin_offsetof(struct hart, scratch) == HART_SCRATCH, "hart.h");
_Static_assert(__builtin_offsetof(struct hart, user_sp) == HART_USER_SP, "hart.h");
_Static_assert(__builtin_offsetof(struct hart, stamp) == HART_STAMP, "hart.h");

struct hart harts[HART_MAX];
u8 hart_stacks[HART_MAX][HART_STACK] __attribute__((aligned(16)));

extern char secondary_start[];

// From head.S, on the new hart.
void secondary_main(void) {
    paging_join();
    this_hart()->task();
    sbi_hart_stop();
}

int hart_start(u64 slot, u64 id, void (*task)(void)) {
    struct hart *hart = &harts[slot];
    memset(hart, 0, sizeof *hart);
    hart->id = id;
    hart->kernel_sp = (u64)(hart_stacks[slot] + HART_STACK);
    hart->task = task;
    return sbi_hart_start(id, (u64)secondary_start, (u64)hart) == 0;
}

int hart_wait_stopped(u64 id) {
    u64 deadline = ticks() + machine.timebase;
    while (ticks() < deadline)
        if (sbi_hart_status(id).value == HART_STOPPED) return 1;
    return 0;
}

static void say_hello(void) { print("  hart %-2lu hello, from slot %lu\n", this_hart()->id, this_hart() - harts); }

// One at a time, so that the lines come in order and the console needs no lock.
void harts_say_hello(void) {
    print("  hart %-2lu running this prompt\n", machine.boot_hart);
    u64 slot = 1;
    for (u64 i = 0; i < machine.hart_count; i++) {
        u64 id = machine.hart_ids[i];
        if (id == machine.boot_hart) continue;
        if (!hart_start(slot++, id, say_hello))
            print("  hart %-2lu not started: the firmware refused\n", id);
        else if (!hart_wait_stopped(id))
            print("  hart %-2lu did not stop again within a second\n", id);
    }
}
