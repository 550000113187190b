// Functions made at run time: chains of additions and exclusive ors on their argument.
#pragma once
#include "bench.h"

#if defined(__riscv)
// x in a0. An I-type with immediate: addi or xori a0, a0, n; then ret.
static u8 *emit_step(u8 *at, u32 xor, u32 n) {
    u32 insn = n << 20 | 10 << 15 | (xor ? 4u : 0u) << 12 | 10 << 7 | 0x13;
    memcpy(at, &insn, 4);
    return at + 4;
}
static u8 *emit_return(u8 *at) {
    u32 insn = 0x00008067;
    memcpy(at, &insn, 4);
    return at + 4;
}
#elif defined(__x86_64__)
// mov rax, rdi once; then add or xor rax, imm32; then ret.
static u8 *emit_step(u8 *at, u32 xor, u32 n) {
    u8 insn[6] = {0x48, xor ? 0x35 : 0x05};
    memcpy(insn + 2, &n, 4);
    memcpy(at, insn, 6);
    return at + 6;
}
static u8 *emit_return(u8 *at) {
    *at = 0xc3;
    return at + 1;
}
#endif

static u8 *executable(u64 bytes) {
    u8 *room = mmap(NULL, bytes, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (room == MAP_FAILED) fail("mmap");
    return room;
}

static inline void generate(u8 *at, u32 steps) {
    u8 *start = at;
#if defined(__x86_64__)
    memcpy(at, "\x48\x89\xf8", 3);
    at += 3;
#endif
    for (u32 i = 0; i < steps; i++) {
        u64 r = random_next();
        at = emit_step(at, r & 1, (u32)(r >> 8 & 0x7ff));
    }
    at = emit_return(at);
    __builtin___clear_cache((char *)start, (char *)at);
}

static inline u64 call_at(u8 *code, u64 x) { return ((u64(*)(u64))(void *)code)(x); }
