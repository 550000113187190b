// Runtime of the bare-metal guest programs. A program defines `void test(void)`, which runs on hart 0 in the
// mode that its header comment names; returning from it ends the machine with exit code 0, a failed EXPECT
// with 1, a trap that nobody waits for with 2.
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;
typedef signed char i8;
typedef int i32;
typedef long i64;

#define HARTS 16
#define PAGE 4096ul
#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))
#define STRINGIFY_(x) #x
#define STRINGIFY(x) STRINGIFY_(x)

#define csr_read(name)                                                                                       \
    ({                                                                                                       \
        u64 csr_;                                                                                            \
        asm volatile("csrr %0, " STRINGIFY(name) : "=r"(csr_)::"memory");                                    \
        csr_;                                                                                                \
    })
#define csr_write(name, v) asm volatile("csrw " STRINGIFY(name) ", %0" ::"rK"((u64)(v)) : "memory")
#define csr_set(name, v) asm volatile("csrs " STRINGIFY(name) ", %0" ::"rK"((u64)(v)) : "memory")
#define csr_clear(name, v) asm volatile("csrc " STRINGIFY(name) ", %0" ::"rK"((u64)(v)) : "memory")
#define csr_swap(name, v)                                                                                    \
    ({                                                                                                       \
        u64 csr_;                                                                                            \
        asm volatile("csrrw %0, " STRINGIFY(name) ", %1" : "=r"(csr_) : "r"((u64)(v)) : "memory");           \
        csr_;                                                                                                \
    })
// CSRs that the assembler of Debian 12 does not know by name.
#define CSR_STIMECMP 0x14d
#define CSR_MENVCFG 0x30a
#define CSR_SENVCFG 0x10a

#define MSTATUS_SIE (1ul << 1)
#define MSTATUS_MIE (1ul << 3)
#define MSTATUS_SPIE (1ul << 5)
#define MSTATUS_MPIE (1ul << 7)
#define MSTATUS_SPP (1ul << 8)
#define MSTATUS_MPP (3ul << 11)
#define MSTATUS_FS (3ul << 13)
#define MSTATUS_MPRV (1ul << 17)
#define MSTATUS_SUM (1ul << 18)
#define MSTATUS_MXR (1ul << 19)
#define MSTATUS_TVM (1ul << 20)
#define MSTATUS_TW (1ul << 21)
#define MSTATUS_TSR (1ul << 22)
#define MSTATUS_SD (1ul << 63)

#define MENVCFG_CBIE (3ul << 4)
#define MENVCFG_CBCFE (1ul << 6)
#define MENVCFG_CBZE (1ul << 7)
#define MENVCFG_ADUE (1ul << 61)
#define MENVCFG_PBMTE (1ul << 62)
#define MENVCFG_STCE (1ul << 63)

// Interrupt numbers; the bits of mip and mie.
enum { IRQ_SSI = 1, IRQ_MSI = 3, IRQ_STI = 5, IRQ_MTI = 7, IRQ_SEI = 9, IRQ_MEI = 11 };
#define BIT(n) (1ul << (n))
#define INTERRUPT BIT(63)

enum cause {
    FETCH_MISALIGNED, FETCH_ACCESS, ILLEGAL, BREAKPOINT, LOAD_MISALIGNED, LOAD_ACCESS, STORE_MISALIGNED,
    STORE_ACCESS, ECALL_U, ECALL_S, ECALL_M = 11, FETCH_PAGE, LOAD_PAGE, STORE_PAGE = 15,
    RETURNED = 64, // no trap: the function came back
};

enum mode { U = 0, S = 1, M = 3 };

// How a function run by `run` ended.
struct trap {
    u64 cause, pc, value; // xcause, xepc, xtval
    u64 result;           // a0
    u64 from;             // mode it came from (xPP)
};

struct context {
    u64 ra, sp, s[12];
};

struct __attribute__((aligned(1024))) hart { // crt.S counts on the size
    u64 x[32]; // registers of what was interrupted; crt.S counts on the offset
    u64 id;
    struct context catcher;
    struct trap trap;
    u64 catching;
    void (*on_interrupt)(u64 irq);
    void (*volatile task)(u64 hart);
    volatile u64 busy;
};

extern struct hart harts[HARTS];
static inline struct hart *this_hart(void) {
    struct hart *h;
    asm volatile("mv %0, tp" : "=r"(h));
    return h;
}
static inline u64 hart_id(void) { return this_hart()->id; }

// Ends the machine.
void finish(u32 code) __attribute__((noreturn));
// %s %c %d %u %x %p; integers are 64 bits wide.
void print(const char *format, ...);
void expect_failed(const char *file, int line, const char *what, u64 got, u64 want) __attribute__((noreturn));
#define EXPECT(got, want)                                                                                    \
    do {                                                                                                     \
        u64 got_ = (u64)(got), want_ = (u64)(want);                                                          \
        if (got_ != want_) expect_failed(__FILE__, __LINE__, #got, got_, want_);                             \
    } while (0)
#define EXPECT_TRAP(trap_, cause_, pc_, value_)                                                              \
    do {                                                                                                     \
        struct trap t_ = (trap_);                                                                            \
        EXPECT(t_.cause, cause_);                                                                            \
        EXPECT(t_.pc, pc_);                                                                                  \
        EXPECT(t_.value, value_);                                                                            \
    } while (0)

// Runs `f(arg)` in `mode` and reports the trap that ended it, or RETURNED with its result. Traps of programs
// that start in M-mode go to M-mode unless the program delegates them itself. The function runs with the
// address translation that is set; in U-mode with translation on, at its user alias (paging.h).
struct trap run(enum mode mode, u64 (*f)(u64), u64 arg);
// The same for code at an address of no function, such as one that is being written.
static inline struct trap run_at(enum mode mode, u64 pc, u64 arg) {
    return run(mode, (u64(*)(u64))pc, arg);
}
// Distance from a program's address to where U-mode sees it; 0 with translation off.
extern u64 user_alias;

// Interrupts: what to do in one. Its cause must be gone when the function returns.
void on_interrupt(void (*f)(u64 irq));
void interrupts_on(void);
void interrupts_off(void);

// Runs `f` on harts 0..count and waits for all.
void on_harts(u64 count, void (*f)(u64 hart));
// All `count` harts of an on_harts meet.
void meet(u64 count);

u64 random(void);
void *memcpy(void *to, const void *from, u64 n);
void *memset(void *to, int byte, u64 n);
int memcmp(const void *a, const void *b, u64 n);

// Devices of the machine.
#define SYSCON ((volatile u32 *)0x100000ul)
#define UART ((volatile u8 *)0x10000000ul)
#define PLIC 0xc000000ul
#define RAM 0x80000000ul
#define NOWHERE 0x18000000ul // no device and no memory
#define mmio32(address) (*(volatile u32 *)(address))
#define mmio64(address) (*(volatile u64 *)(address))
#define MSIP(hart) (*(volatile u32 *)(0x2000000ul + 4 * (hart)))
#define MTIMECMP(hart) (*(volatile u64 *)(0x2004000ul + 8 * (hart)))
#define MTIME (*(volatile u64 *)0x200bff8ul)
#define MILLISECOND 10000ul // in ticks of the 10 MHz timebase

static inline u64 now(void) { return csr_read(time); }
static inline void fence(void) { asm volatile("fence rw, rw" ::: "memory"); }
static inline void fence_i(void) { asm volatile("fence.i" ::: "memory"); }
static inline void sfence(void) { asm volatile("sfence.vma" ::: "memory"); }
// Lets another hart run where harts share a core: `pause`.
static inline void relax(void) { asm volatile(".4byte 0x0100000f" ::: "memory"); }
static inline void wfi(void) { asm volatile("wfi" ::: "memory"); }

// The program.
void test(void);
