// Faults in the kernel: a catcher gets them if one is set, otherwise the registers are printed and the machine
// is stopped with a failure.
#include "trap.h"
#include "lib.h"
#include "machine.h"
#include "sbi.h"

static const char *const causes[] = {
    "instruction misaligned", "instruction access fault", "illegal instruction", "breakpoint",
    "load misaligned",        "load access fault",        "store misaligned",    "store access fault",
    "ecall from U-mode",      "ecall from S-mode",        "reserved 10",         "ecall from M-mode",
    "instruction page fault", "load page fault",          "reserved 14",         "store page fault",
};

const char *cause_name(u64 cause) {
    if (cause & CAUSE_INTERRUPT) return "interrupt";
    return cause < LENGTH(causes) ? causes[cause] : "unknown";
}

int survives(void (*action)(void *), void *arg, u64 *cause, u64 *address) {
    struct hart *hart = this_hart();
    struct context here, *outer = hart->fault_catcher;
    int faulted = context_save(&here);
    if (!faulted) {
        hart->fault_catcher = &here;
        action(arg);
    } else {
        *cause = csr_read(scause);
        *address = csr_read(stval);
    }
    hart->fault_catcher = outer;
    return !faulted;
}

// Called by trap_vector with x1..x31 in `x`.
void kernel_fault(u64 *x) {
    struct hart *hart = this_hart();
    u64 cause = csr_read(scause);
    if (hart->fault_catcher && !(cause & CAUSE_INTERRUPT)) context_jump(hart->fault_catcher, 1);
    print("\nhart %lu: %s (scause %p), sepc %p, stval %p\n", hart->id, cause_name(cause), (void *)cause,
          (void *)csr_read(sepc), (void *)csr_read(stval));
    for (u64 i = 1; i < 32; i++) print("x%-2lu %016lx%s", i, x[i], i % 4 == 3 ? "\n" : "  ");
    machine_exit(1);
}
