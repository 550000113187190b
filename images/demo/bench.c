// Micro-benchmarks. A loop is sized to run for some milliseconds, run several times, and the shortest run
// counts: the host's other work can only add time.
#include "bench.h"
#include "console.h"
#include "interrupts.h"
#include "lib.h"
#include "machine.h"
#include "paging.h"
#include "sbi.h"
#include "user.h"

#define RUNS 7
#define RUN_SECONDS_PART 200 // a run lasts at least 1/200 s
#define MILLION 1000000ul
#define FAILED (~0ul)

#define TIMES16(instruction) ".rept 16\n\t" instruction "\n\t.endr"

static void sfence_all_16(void) { asm volatile(TIMES16("sfence.vma") ::: "memory"); }
static void sfence_page_16(void) { asm volatile(TIMES16("sfence.vma %0, zero") ::"r"(USER_WINDOW) : "memory"); }
static void sfence_asid_16(void) { asm volatile(TIMES16("sfence.vma zero, %0") ::"r"(1ul) : "memory"); }
static void sfence_page_asid_16(void) {
    asm volatile(TIMES16("sfence.vma %0, %1") ::"r"(USER_WINDOW), "r"(1ul) : "memory");
}
static void fence_i_16(void) { asm volatile(TIMES16("fence.i") ::: "memory"); }
static void satp_same_16(void) { asm volatile(TIMES16("csrw satp, %0") ::"r"(paging_kernel_satp()) : "memory"); }
static void satp_asid_switch_16(void) {
    asm volatile(".rept 8\n\tcsrw satp, %0\n\tcsrw satp, %1\n\t.endr" ::"r"(paging_kernel_satp_with_asid(1)),
                 "r"(paging_kernel_satp())
                 : "memory");
}
static void csr_swap_16(void) { asm volatile(TIMES16("csrrw zero, sscratch, zero") ::: "memory"); }
static void time_read_16(void) { asm volatile(TIMES16("csrr t0, time") ::: "t0", "memory"); }
static void sbi_call_1(void) { sbi_spec_version(); }
static void device_read_1(void) {
    if (machine.uart) (void)*(volatile u8 *)(machine.uart + 5);
}
static void timer_trip_1(void) { interrupt_round_trip(); }

static void copy_1kib(void) {
    static u64 from[128], to[128];
    for (u64 i = 0; i < 128; i += 8) {
        u64 a = from[i], b = from[i + 1], c = from[i + 2], d = from[i + 3];
        u64 e = from[i + 4], f = from[i + 5], g = from[i + 6], h = from[i + 7];
        to[i] = a, to[i + 1] = b, to[i + 2] = c, to[i + 3] = d;
        to[i + 4] = e, to[i + 5] = f, to[i + 6] = g, to[i + 7] = h;
    }
    asm volatile("" ::"r"(to) : "memory");
}

// Ticks that `rounds` rounds take, FAILED if they did not.
typedef u64 (*timed_fn)(const void *what, u64 rounds);

static u64 time_loop(const void *what, u64 rounds) {
    void (*operation)(void) = what;
    u64 start = ticks();
    for (; rounds; rounds--) operation();
    return ticks() - start;
}
static u64 time_bare_ecalls(const void *what, u64 rounds) { return user_run(what, rounds, KERNEL_BARE); }
static u64 time_shared_ecalls(const void *what, u64 rounds) { return user_run(what, rounds, KERNEL_SHARED); }
static u64 time_fencing_ecalls(const void *what, u64 rounds) {
    return user_run(what, rounds, KERNEL_SHARED_FENCING);
}
static u64 time_isolated_ecalls(const void *what, u64 rounds) { return user_run(what, rounds, KERNEL_ISOLATED); }
static u64 time_window_faults(const void *what, u64 rounds) {
    u64 took = 0;
    for (; rounds; rounds--) {
        paging_unmap_window();
        u64 part = user_run(what, USER_WINDOW_PAGES, KERNEL_SHARED);
        if (part == FAILED) return FAILED;
        took += part;
    }
    return took;
}

static const struct loop {
    const char *name;
    timed_fn time;
    const void *what;
    u64 operations; // in a round
} loops[] = {
    {"ecall_bare", time_bare_ecalls, user_ecalls, 1},
    {"ecall_to_c", time_shared_ecalls, user_ecalls, 1},
    {"ecall_sfence", time_fencing_ecalls, user_ecalls, 1},
    {"ecall_page_tables", time_isolated_ecalls, user_ecalls, 1},
    {"ecall_sbi", time_loop, sbi_call_1, 1},
    {"page_fault", time_window_faults, user_touches, USER_WINDOW_PAGES},
    {"sfence_all", time_loop, sfence_all_16, 16},
    {"sfence_page", time_loop, sfence_page_16, 16},
    {"sfence_asid", time_loop, sfence_asid_16, 16},
    {"sfence_page_asid", time_loop, sfence_page_asid_16, 16},
    {"satp_same", time_loop, satp_same_16, 16},
    {"satp_asid_switch", time_loop, satp_asid_switch_16, 16},
    {"fence_i", time_loop, fence_i_16, 16},
    {"csr_swap", time_loop, csr_swap_16, 16},
    {"time_read", time_loop, time_read_16, 16},
    {"timer_trip", time_loop, timer_trip_1, 1},
    {"device_read", time_loop, device_read_1, 1},
    {"copy_1kib", time_loop, copy_1kib, 1},
};

// Prints `tenths` of a unit with its one decimal.
static void report_tenths(const char *name, u64 tenths, const char *unit) {
    print("bench: %s %lu.%lu %s\n", name, tenths / 10, tenths % 10, unit);
}

static void report_failure(const char *name) { print("bench: %s failed\n", name); }

static void run_loop(const struct loop *loop) {
    u64 enough = machine.timebase / RUN_SECONDS_PART, rounds = 1, took;
    while ((took = loop->time(loop->what, rounds)) < enough) rounds *= took < enough / 16 ? 8 : 2;
    for (u64 run = 1; run < RUNS && took != FAILED; run++) {
        u64 again = loop->time(loop->what, rounds);
        if (again < took) took = again;
    }
    if (took == FAILED) return report_failure(loop->name);
    u64 tenths_of_ns = took * 10 * (1000 * MILLION / machine.timebase) / (rounds * loop->operations);
    report_tenths(loop->name, tenths_of_ns, "ns");
}

// What a million of an operation takes, as the rows are asked for: a hundred times the shortest of a hundred parts,
// which are short enough for some to run undisturbed by the host.
static const struct bulk {
    const char *name;
    timed_fn time;
} bulks[] = {
    {"million_ecall_sfence", time_fencing_ecalls},
    {"million_ecall_page_tables", time_isolated_ecalls},
};

#define PARTS 100

static void run_bulk(const struct bulk *bulk) {
    u64 shortest = FAILED;
    for (u64 part = 0; part < PARTS; part++) {
        u64 took = bulk->time(user_ecalls, MILLION / PARTS);
        if (took < shortest) shortest = took;
    }
    if (shortest == FAILED) return report_failure(bulk->name);
    u64 thousandths = shortest * PARTS * 1000 / machine.timebase;
    print("bench: %s %lu.%03lu s\n", bulk->name, thousandths / 1000, thousandths % 1000);
}

static const struct sampled {
    const char *name;
    u64 (*sample)(void); // ticks, FAILED if it cannot be taken
    u64 harts;           // that it needs
} samples[] = {
    {"timer_latency_spin", timer_latency_spinning, 1},
    {"timer_latency_wfi", timer_latency_waiting, 1},
    {"ipi_latency_spin", ipi_latency_spinning, 2},
    {"ipi_latency_wfi", ipi_latency_waiting, 2},
    {"remote_fence_i", remote_fence_latency, 2},
};

#define SAMPLES 101

static void sort(u64 *v, u64 count) {
    for (u64 i = 1; i < count; i++)
        for (u64 j = i; j && v[j - 1] > v[j]; j--) {
            u64 t = v[j];
            v[j] = v[j - 1];
            v[j - 1] = t;
        }
}

// Median and 95th percentile: the longest is the host's scheduler.
static void run_samples(const struct sampled *sampled) {
    static u64 took[SAMPLES];
    for (u64 i = 0; i < SAMPLES; i++)
        if ((took[i] = sampled->sample()) == FAILED) return report_failure(sampled->name);
    sort(took, SAMPLES);
    u64 ns_per_tick = 1000 * MILLION / machine.timebase;
    print("bench: %s %lu ns\n", sampled->name, took[SAMPLES / 2] * ns_per_tick);
    print("bench: %s_p95 %lu ns\n", sampled->name, took[SAMPLES * 95 / 100] * ns_per_tick);
}

// Whether to run `name`; the user may have had enough.
static int wanted(const char *name, const char *prefix) {
    return starts_with(name, prefix) && !console_interrupted();
}

int bench_run(const char *prefix) {
    u64 found = 0;
    for (u64 i = 0; i < LENGTH(loops); i++)
        if (wanted(loops[i].name, prefix)) run_loop(&loops[i]), found++;
    csr_write(satp, paging_kernel_satp());
    for (u64 i = 0; i < LENGTH(bulks); i++)
        if (wanted(bulks[i].name, prefix)) run_bulk(&bulks[i]), found++;
    interrupts_begin();
    for (u64 i = 0; i < LENGTH(samples); i++)
        if (machine.hart_count >= samples[i].harts && wanted(samples[i].name, prefix))
            run_samples(&samples[i]), found++;
    interrupts_end();
    return found != 0;
}
