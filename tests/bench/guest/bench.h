// What every bench program is: `work` does it and returns a checksum, which must be the same on every machine;
// main prints one line, `bench: NAME CHECKSUM CPU-NANOSECONDS WALL-NANOSECONDS`. CPU time is this process's and
// its children's. Compiled for the guest and for the host from the same source.
//
// The header comment of a program ends with the group of its row in the report. `work` is done TIMES times, which
// takes a second or two on QEMU, once if the program is called with `quick`, and for ever if with `endless`.
#pragma once

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int32_t i32;
typedef int64_t i64;

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))
// A function that stays one.
#define APART __attribute__((noinline, noclone))

// Done as often as it is called for: where a compiler sees that it has no effect, it calls it once.
__attribute__((noipa)) static u64 work(void);

static u64 random_state = 88172645463325252;
static inline u64 random_next(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    return random_state ^= random_state << 17;
}

// A step of FNV-1a over whole words: order matters, nothing cancels.
static inline u64 mix(u64 sum, u64 value) { return (sum ^ value) * 0x100000001b3; }

static inline u64 mix_double(u64 sum, double value) {
    u64 bits;
    memcpy(&bits, &value, sizeof bits);
    return mix(sum, bits);
}

static u64 clock_ns(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (u64)t.tv_sec * 1000000000 + (u64)t.tv_nsec;
}

static u64 children_ns(void) {
    struct rusage r;
    getrusage(RUSAGE_CHILDREN, &r);
    return (u64)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) * 1000000000 +
           (u64)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) * 1000;
}

static inline void fail(const char *what) {
    perror(what);
    exit(1);
}

int main(int argc, char **argv) {
    const char *how = argc > 1 ? argv[1] : "";
    if (!strcmp(how, "end")) return 0; // started by fork_exec
    u64 wall = clock_ns(CLOCK_MONOTONIC), sum = 0;
    while (!strcmp(how, "endless")) sum = mix(sum, work());
    for (u32 times = strcmp(how, "quick") ? TIMES : 1; times; times--) sum = mix(sum, work());
    u64 cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID) + children_ns();
    printf("bench: %s %016lx %lu %lu\n", NAME, (unsigned long)sum, (unsigned long)cpu,
           (unsigned long)(clock_ns(CLOCK_MONOTONIC) - wall));
    return 0;
}
