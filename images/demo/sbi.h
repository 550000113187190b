// Calls to the supervisor execution environment (RISC-V SBI specification 2.0).
#pragma once
#include "riscv.h"

#define SBI_BASE 0x10
#define SBI_TIME 0x54494d45
#define SBI_IPI 0x735049
#define SBI_RFENCE 0x52464e43
#define SBI_HSM 0x48534d
#define SBI_SRST 0x53525354
#define SBI_DBCN 0x4442434e
#define SBI_PMU 0x504d55
#define SBI_SUSP 0x53555350

#define SBI_LEGACY_PUTCHAR 1
#define SBI_LEGACY_GETCHAR 2

struct sbi_result {
    i64 error;
    u64 value;
};

static inline struct sbi_result sbi_call(u64 extension, u64 function, u64 arg0, u64 arg1, u64 arg2) {
    register u64 a0 asm("a0") = arg0;
    register u64 a1 asm("a1") = arg1;
    register u64 a2 asm("a2") = arg2;
    register u64 a6 asm("a6") = function;
    register u64 a7 asm("a7") = extension;
    asm volatile("ecall" : "+r"(a0), "+r"(a1) : "r"(a2), "r"(a6), "r"(a7) : "memory");
    return (struct sbi_result){(i64)a0, a1};
}

// Base extension.
static inline u64 sbi_spec_version(void) { return sbi_call(SBI_BASE, 0, 0, 0, 0).value; }
static inline u64 sbi_implementation(void) { return sbi_call(SBI_BASE, 1, 0, 0, 0).value; }
static inline u64 sbi_implementation_version(void) { return sbi_call(SBI_BASE, 2, 0, 0, 0).value; }
static inline int sbi_has(u64 extension) { return sbi_call(SBI_BASE, 3, extension, 0, 0).value != 0; }
static inline u64 sbi_machine_id(u64 which) { return sbi_call(SBI_BASE, 4 + which, 0, 0, 0).value; }

static inline void sbi_send_ipi(u64 hart) { sbi_call(SBI_IPI, 0, 1, hart, 0); }
static inline void sbi_remote_fence_i(u64 hart) { sbi_call(SBI_RFENCE, 0, 1, hart, 0); }

// Hart state management.
enum { HART_STARTED, HART_STOPPED, HART_START_PENDING, HART_STOP_PENDING, HART_SUSPENDED };
static inline i64 sbi_hart_start(u64 hart, u64 address, u64 opaque) {
    return sbi_call(SBI_HSM, 0, hart, address, opaque).error;
}
static inline void sbi_hart_stop(void) { sbi_call(SBI_HSM, 1, 0, 0, 0); }
static inline struct sbi_result sbi_hart_status(u64 hart) { return sbi_call(SBI_HSM, 2, hart, 0, 0); }

enum { RESET_SHUTDOWN, RESET_COLD, RESET_WARM };
static inline void sbi_system_reset(u64 type, u64 reason) { sbi_call(SBI_SRST, 0, type, reason, 0); }
