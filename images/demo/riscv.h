// The architecture as this guest sees it: CSR access, fences, Sv39 entry bits, trap causes.
// Numbers are those of the privileged manual; a CSR that older assemblers lack is named by number.
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;
typedef long i64;

#define CSR_STIMECMP 0x14d

#define STRINGIFY_(x) #x
#define STRINGIFY(x) STRINGIFY_(x)
#define csr_read(name)                                                                                       \
    ({                                                                                                       \
        u64 csr_value_;                                                                                      \
        asm volatile("csrr %0, " STRINGIFY(name) : "=r"(csr_value_)::"memory");                              \
        csr_value_;                                                                                          \
    })
#define csr_write(name, value) asm volatile("csrw " STRINGIFY(name) ", %0" ::"rK"((u64)(value)) : "memory")
#define csr_set(name, bits) asm volatile("csrs " STRINGIFY(name) ", %0" ::"rK"((u64)(bits)) : "memory")
#define csr_clear(name, bits) asm volatile("csrc " STRINGIFY(name) ", %0" ::"rK"((u64)(bits)) : "memory")

static inline void sfence_all(void) { asm volatile("sfence.vma" ::: "memory"); }
static inline void sfence_page(u64 va) { asm volatile("sfence.vma %0, zero" ::"r"(va) : "memory"); }
static inline void wait_for_interrupt(void) { asm volatile("wfi" ::: "memory"); }

// Ticks of the platform's timebase since some start.
static inline u64 ticks(void) { return csr_read(time); }

#define SSTATUS_SIE (1ul << 1)
#define SSTATUS_SPIE (1ul << 5)
#define SSTATUS_SPP (1ul << 8)
#define SSTATUS_SUM (1ul << 18)

#define IRQ_SOFT (1ul << 1)
#define IRQ_TIMER (1ul << 5)
#define IRQ_EXTERNAL (1ul << 9)

#define CAUSE_INTERRUPT (1ul << 63)
#define CAUSE_USER_ECALL 8
#define CAUSE_FETCH_PAGE_FAULT 12
#define CAUSE_LOAD_PAGE_FAULT 13
#define CAUSE_STORE_PAGE_FAULT 15

#define PAGE 4096ul
#define PTE_V (1ul << 0)
#define PTE_R (1ul << 1)
#define PTE_W (1ul << 2)
#define PTE_X (1ul << 3)
#define PTE_U (1ul << 4)
#define PTE_G (1ul << 5)
#define PTE_A (1ul << 6)
#define PTE_D (1ul << 7)

#define SATP_SV39 (8ul << 60)
#define SATP_ASID_SHIFT 44
#define SATP_ASID_MASK 0xfffful
