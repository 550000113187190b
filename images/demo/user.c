// Kernels for the programs of user.S. One hart runs one program at a time.
#include "user.h"
#include "paging.h"
#include "trampoline.h"
#include "trap.h"

_Static_assert(__builtin_offsetof(struct trapframe, x) == TRAPFRAME_X, "trampoline.S");
_Static_assert(__builtin_offsetof(struct trapframe, handler) == TRAPFRAME_HANDLER, "trampoline.S");
_Static_assert(TRAPFRAME == 0x3fffffe000, "trampoline.S");
_Static_assert(USER_WINDOW == 0x2000400000, "user.S");

extern char user_text[], vector_bare[], vector_shared[];

enum { CALL_NULL, CALL_END };

static struct context before_user;
static int ended_well;
static int fence_in_calls;

// From vector_bare: the program made another call than CALL_NULL, or faulted.
void user_ended(u64 call) {
    ended_well = csr_read(scause) == CAUSE_USER_ECALL && call == CALL_END;
    context_jump(&before_user, 1);
}

// Answers a trap; true if the program is over.
static int answer(u64 cause, u64 address, u64 call) {
    switch (cause) {
    case CAUSE_USER_ECALL:
        if (call != CALL_NULL) {
            ended_well = call == CALL_END;
            return 1;
        }
        csr_write(sepc, csr_read(sepc) + 4);
        if (fence_in_calls) sfence_all();
        return 0;
    case CAUSE_LOAD_PAGE_FAULT:
        if (!paging_map_window_page(address)) return 1;
        sfence_page(address);
        return 0;
    default: return 1;
    }
}

// From vector_shared.
void user_trap(u64 cause, u64 address, u64 call) {
    if (answer(cause, address, call)) context_jump(&before_user, 1);
}

static u64 on_trampoline(const char *label) { return TRAMPOLINE + (u64)(label - trampoline_text); }

// To the isolated space, by a jump into the page that both spaces have.
static void __attribute__((noreturn)) isolated_resume(void) {
    csr_write(stvec, on_trampoline(trampoline_enter));
    csr_write(sepc, trapframe.pc);
    csr_clear(sstatus, SSTATUS_SPP);
    void (*leave)(u64) __attribute__((noreturn)) = (void *)on_trampoline(trampoline_leave);
    leave(paging_isolated_satp());
}

// From trampoline_enter, in the kernel's space.
static void isolated_trap(void) {
    csr_write(stvec, trap_vector);
    trapframe.pc = csr_read(sepc);
    if (answer(csr_read(scause), csr_read(stval), trapframe.x[17])) context_jump(&before_user, 1);
    trapframe.pc = csr_read(sepc);
    isolated_resume();
}

static void isolated_enter(u64 entry, u64 rounds) {
    if (context_save(&before_user)) return;
    u64 sp;
    asm volatile("mv %0, sp" : "=r"(sp));
    trapframe.kernel_satp = paging_kernel_satp();
    trapframe.kernel_sp = sp;
    trapframe.handler = isolated_trap;
    trapframe.tp = (u64)this_hart();
    trapframe.pc = entry;
    trapframe.x[2] = USER_STACK_TOP;
    trapframe.x[10] = rounds;
    isolated_resume();
}

u64 user_run(const char *program, u64 rounds, enum kernel_kind kernel) {
    u64 entry = USER_TEXT + (u64)(program - user_text);
    u64 interrupts = csr_read(sie);
    csr_write(sie, 0); // U-mode cannot mask them
    ended_well = 0;
    fence_in_calls = kernel == KERNEL_SHARED_FENCING;
    u64 start = ticks();
    if (kernel == KERNEL_ISOLATED) {
        isolated_enter(entry, rounds);
    } else {
        csr_write(stvec, kernel == KERNEL_BARE ? vector_bare : vector_shared);
        user_enter(entry, USER_STACK_TOP, rounds, &before_user);
    }
    u64 took = ticks() - start;
    csr_write(stvec, trap_vector);
    csr_write(sscratch, 0);
    csr_write(sie, interrupts);
    return ended_well ? took : ~0ul;
}
