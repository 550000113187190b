// SBI calls for S-mode programs.
#pragma once
#include "rt.h"

#define SBI_BASE 0x10
#define SBI_TIME 0x54494d45
#define SBI_IPI 0x735049
#define SBI_RFENCE 0x52464e43
#define SBI_HSM 0x48534d
#define SBI_SRST 0x53525354
#define SBI_DBCN 0x4442434e
#define SBI_PMU 0x504d55
#define SBI_SUSP 0x53555350

enum {
    SBI_SUCCESS = 0, SBI_FAILED = -1, SBI_NOT_SUPPORTED = -2, SBI_INVALID_PARAM = -3, SBI_DENIED = -4,
    SBI_INVALID_ADDRESS = -5, SBI_ALREADY_AVAILABLE = -6, SBI_ALREADY_STARTED = -7, SBI_ALREADY_STOPPED = -8,
};

struct sbi {
    i64 error;
    u64 value;
};

static inline struct sbi sbi(u64 extension, u64 function, u64 x0, u64 x1, u64 x2, u64 x3, u64 x4) {
    register u64 a0 asm("a0") = x0;
    register u64 a1 asm("a1") = x1;
    register u64 a2 asm("a2") = x2;
    register u64 a3 asm("a3") = x3;
    register u64 a4 asm("a4") = x4;
    register u64 a6 asm("a6") = function;
    register u64 a7 asm("a7") = extension;
    asm volatile("ecall" : "+r"(a0), "+r"(a1) : "r"(a2), "r"(a3), "r"(a4), "r"(a6), "r"(a7) : "memory");
    return (struct sbi){(i64)a0, a1};
}
