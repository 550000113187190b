// The runtime's C half: reports, traps, harts.
#include "rt.h"

#ifdef ENTRY_S
#define XCAUSE scause
#define XEPC sepc
#define XTVAL stval
#define XSTATUS sstatus
#define XIE_BIT MSTATUS_SIE
static u64 previous_mode(void) { return csr_read(sstatus) & MSTATUS_SPP ? S : U; }
static u64 mode_bits(enum mode mode) { return mode == U ? 0 : MSTATUS_SPP; }
#define OWN_MODE S
#else
#define XCAUSE mcause
#define XEPC mepc
#define XTVAL mtval
#define XSTATUS mstatus
#define XIE_BIT MSTATUS_MIE
static u64 previous_mode(void) { return (csr_read(mstatus) & MSTATUS_MPP) >> 11; }
static u64 mode_bits(enum mode mode) { return (u64)mode << 11; }
#define OWN_MODE M
#endif
#define RETURN_CALL 0x52455455 // "RETU", crt.S

struct hart harts[HARTS];
_Static_assert(sizeof(struct hart) == 1024, "crt.S");
u8 stacks[HARTS][8192] __attribute__((aligned(16)));
u8 trap_stacks[HARTS][4096] __attribute__((aligned(16)));
u64 user_alias;

int context_save(struct context *) __attribute__((returns_twice));
void context_jump(struct context *, int) __attribute__((noreturn));
void enter(u64 pc, u64 arg, u64 sp, u64 mode_bits, u64 ra) __attribute__((noreturn));
extern char run_landing[], hart_start[];

static void put(char c) {
    while (!(UART[5] & 0x20)) {}
    UART[0] = (u8)c;
}

static void put_number(u64 v, u64 base) {
    char text[24];
    u64 at = sizeof text;
    do text[--at] = "0123456789abcdef"[v % base];
    while (v /= base);
    while (at < sizeof text) put(text[at++]);
}

void print(const char *format, ...) {
    __builtin_va_list args;
    __builtin_va_start(args, format);
    for (; *format; format++) {
        if (*format != '%') {
            put(*format);
            continue;
        }
        switch (*++format) {
        case 's':
            for (const char *s = __builtin_va_arg(args, const char *); *s; s++) put(*s);
            break;
        case 'c': put((char)__builtin_va_arg(args, int)); break;
        case 'd': {
            i64 v = __builtin_va_arg(args, i64);
            if (v < 0) put('-');
            put_number(v < 0 ? -(u64)v : (u64)v, 10);
            break;
        }
        case 'u': put_number(__builtin_va_arg(args, u64), 10); break;
        case 'p': put('0'), put('x'); // fall through
        case 'x': put_number(__builtin_va_arg(args, u64), 16); break;
        default: put(*format);
        }
    }
    __builtin_va_end(args);
}

void finish(u32 code) {
    *SYSCON = code ? code << 16 | 0x3333 : 0x5555;
    for (;;) wfi();
}

void expect_failed(const char *file, int line, const char *what, u64 got, u64 want) {
    print("\nFAIL %s:%u on hart %u: %s is %p, expected %p\n", file, (u64)line, hart_id(), what, got, want);
    finish(1);
}

static void unexpected(u64 cause) {
    struct hart *h = this_hart();
    print("\nFAIL on hart %u: unexpected trap, cause %p, pc %p, value %p, mode %u\n", h->id, cause,
          csr_read(XEPC), csr_read(XTVAL), previous_mode());
    for (u64 i = 1; i < 32; i++) print("x%u=%x%c", i, h->x[i], i % 8 ? ' ' : '\n');
    print("\n");
    finish(2);
}

// From trap_entry.
void trap_taken(void) {
    struct hart *h = this_hart();
    u64 cause = csr_read(XCAUSE);
    if (cause & INTERRUPT) {
        if (!h->on_interrupt) unexpected(cause);
        h->on_interrupt(cause & ~INTERRUPT);
        return;
    }
    if (!h->catching) unexpected(cause);
    h->catching = 0;
    int returned = (cause == ECALL_U || cause == ECALL_S || cause == ECALL_M) && h->x[17] == RETURN_CALL;
    h->trap = (struct trap){.cause = returned ? RETURNED : cause,
                            .pc = csr_read(XEPC),
                            .value = csr_read(XTVAL),
                            .result = h->x[10],
                            .from = previous_mode()};
    context_jump(&h->catcher, 1);
}

struct trap run(enum mode mode, u64 (*f)(u64), u64 arg) {
    struct hart *h = this_hart();
    struct context outer = h->catcher;
    u64 was_catching = h->catching;
    if (!context_save(&h->catcher)) {
        u64 sp, alias = mode == U ? user_alias : 0;
        asm volatile("mv %0, sp" : "=r"(sp));
        h->catching = 1;
        if (mode != OWN_MODE)
            enter((u64)f + alias, arg, ((sp - 256) & ~15ul) + alias, mode_bits(mode), (u64)run_landing + alias);
        // A landing in the own mode would be an ecall to whoever is below: an ordinary call serves.
        h->trap = (struct trap){.cause = RETURNED, .result = f(arg), .from = OWN_MODE};
    }
    h->catching = was_catching;
    h->catcher = outer;
    return h->trap;
}

void on_interrupt(void (*f)(u64 irq)) { this_hart()->on_interrupt = f; }
void interrupts_on(void) { csr_set(XSTATUS, XIE_BIT); }
void interrupts_off(void) { csr_clear(XSTATUS, XIE_BIT); }

static void start_hart(u64 id);

void on_harts(u64 count, void (*f)(u64 hart)) {
    u64 me = hart_id();
    for (u64 id = 0; id < count; id++) {
        if (id == me) continue;
        start_hart(id);
        harts[id].busy = 1;
        fence();
        harts[id].task = f;
    }
    f(me);
    for (u64 id = 0; id < count; id++)
        while (id != me && harts[id].busy) relax();
    fence();
}

void meet(u64 count) {
    static u64 waiting, round;
    u64 this_round = __atomic_load_n(&round, __ATOMIC_SEQ_CST);
    if (__atomic_add_fetch(&waiting, 1, __ATOMIC_SEQ_CST) == count) {
        waiting = 0;
        __atomic_store_n(&round, this_round + 1, __ATOMIC_SEQ_CST);
    }
    while (__atomic_load_n(&round, __ATOMIC_SEQ_CST) == this_round) relax();
}

static void serve_tasks(struct hart *h) __attribute__((noreturn));
static void serve_tasks(struct hart *h) {
    for (;;) {
        while (!h->task) relax();
        fence();
        h->task(h->id);
        h->task = 0;
        fence();
        h->busy = 0;
    }
}

#ifdef ENTRY_S
static u64 started;

static void start_hart(u64 id) {
    register u64 a0 asm("a0") = id, a1 asm("a1") = (u64)hart_start, a2 asm("a2") = 0;
    register u64 a6 asm("a6") = 0, a7 asm("a7") = 0x48534d; // HSM, hart_start
    if (started & BIT(id)) return;
    started |= BIT(id);
    asm volatile("ecall" : "+r"(a0), "+r"(a1) : "r"(a2), "r"(a6), "r"(a7) : "memory");
    EXPECT(a0, 0);
}

// Of the harts only the boot hart comes here without having been started.
void hart_main(u64 id) {
    static u64 booted;
    struct hart *h = this_hart();
    h->id = id;
    if (booted) serve_tasks(h);
    booted = 1;
    test();
    finish(0);
}
#else
static void start_hart(u64 id) { (void)id; }

// PMP entry 15, the last to be asked, opens everything to S- and U-mode; programs may put others before it.
static void open_memory(void) {
    csr_write(pmpaddr15, ~0ul);
    csr_set(pmpcfg2, 0x1ful << 56);
}

void hart_main(u64 id) {
    struct hart *h = this_hart();
    h->id = id;
    open_memory();
    if (id) serve_tasks(h);
    test();
    finish(0);
}
#endif

u64 random(void) {
    static u64 state = 0x9e3779b97f4a7c15;
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

void *memcpy(void *to, const void *from, u64 n) {
    for (u64 i = 0; i < n; i++) ((u8 *)to)[i] = ((const u8 *)from)[i];
    return to;
}

void *memset(void *to, int byte, u64 n) {
    for (u64 i = 0; i < n; i++) ((u8 *)to)[i] = (u8)byte;
    return to;
}

int memcmp(const void *a, const void *b, u64 n) {
    for (u64 i = 0; i < n; i++)
        if (((const u8 *)a)[i] != ((const u8 *)b)[i]) return ((const u8 *)a)[i] - ((const u8 *)b)[i];
    return 0;
}
