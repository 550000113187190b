// Interrupt latencies. The vector notes the time in the hart's struct before anything else.
#include "interrupts.h"
#include "machine.h"
#include "sbi.h"
#include "trap.h"

#define TIMER_DISTANCE_US 100
#define NEVER (~0ul)

extern char vector_timed[];

enum service { SERVE_SPINNING, SERVE_WAITING, SERVE_STOP };

static volatile enum service service;
static volatile u64 served;
static u64 serving_hart;
static int serving;

static volatile u64 *stamp_of(struct hart *hart) { return &hart->stamp; }

// From vector_timed.
void quench_interrupt(void) {
    if (csr_read(sip) & IRQ_SOFT) {
        csr_clear(sip, IRQ_SOFT);
        served++;
    } else {
        timer_set(NEVER);
    }
}

static void allow_pending(void) {
    csr_set(sstatus, SSTATUS_SIE);
    csr_clear(sstatus, SSTATUS_SIE);
}

void interrupt_round_trip(void) {
    u64 enabled = csr_read(sie);
    csr_write(stvec, vector_timed);
    csr_write(sie, IRQ_TIMER);
    csr_set(sstatus, SSTATUS_SIE);
    *stamp_of(this_hart()) = 0;
    timer_set(0);
    while (!*stamp_of(this_hart())) {}
    csr_clear(sstatus, SSTATUS_SIE);
    csr_write(sie, enabled);
    csr_write(stvec, trap_vector);
}

static u64 timer_latency(int waiting) {
    volatile u64 *stamp = stamp_of(this_hart());
    *stamp = 0;
    csr_write(sie, IRQ_TIMER);
    u64 due = ticks() + machine.timebase / 1000000 * TIMER_DISTANCE_US;
    timer_set(due);
    if (waiting) {
        while (!(csr_read(sip) & IRQ_TIMER)) wait_for_interrupt();
        allow_pending();
    } else {
        csr_set(sstatus, SSTATUS_SIE);
        while (!*stamp && ticks() < due + machine.timebase) {}
        csr_clear(sstatus, SSTATUS_SIE);
    }
    csr_write(sie, 0);
    return *stamp ? *stamp - due : NEVER;
}

u64 timer_latency_spinning(void) { return timer_latency(0); }
u64 timer_latency_waiting(void) { return timer_latency(1); }

// The second hart's task.
static void serve_ipis(void) {
    csr_write(stvec, vector_timed);
    csr_write(sie, IRQ_SOFT);
    while (service != SERVE_STOP) {
        if (service == SERVE_WAITING) wait_for_interrupt();
        allow_pending();
    }
    csr_write(sie, 0);
}

static u64 ipi_latency(enum service how) {
    if (!serving) return NEVER;
    u64 before = served;
    service = how;
    // The other hart has to be where it is to be found: it may still be on its way out of the last interrupt.
    for (u64 settled = ticks() + machine.timebase / 50000; ticks() < settled;) {}
    u64 start = ticks();
    sbi_send_ipi(serving_hart);
    while (served == before)
        if (ticks() - start > machine.timebase) return NEVER;
    return ticks() - start;
}

// A hart that waits notices a change of `service` only when it wakes: an IPI that nobody measures does that.
static u64 ipi_latency_after_waking(enum service how) {
    if (service != how) ipi_latency(how);
    return ipi_latency(how);
}

u64 ipi_latency_spinning(void) { return ipi_latency_after_waking(SERVE_SPINNING); }
u64 ipi_latency_waiting(void) { return ipi_latency_after_waking(SERVE_WAITING); }

u64 remote_fence_latency(void) {
    if (!serving) return NEVER;
    if (service != SERVE_SPINNING) ipi_latency(SERVE_SPINNING);
    u64 start = ticks();
    sbi_remote_fence_i(serving_hart);
    return ticks() - start;
}

void interrupts_begin(void) {
    csr_write(stvec, vector_timed);
    service = SERVE_SPINNING;
    serving = 0;
    for (u64 i = 0; i < machine.hart_count && !serving; i++) {
        serving_hart = machine.hart_ids[i];
        serving = serving_hart != machine.boot_hart && hart_start(1, serving_hart, serve_ipis);
    }
}

void interrupts_end(void) {
    service = SERVE_STOP;
    if (serving) {
        sbi_send_ipi(serving_hart);
        hart_wait_stopped(serving_hart);
    }
    csr_write(stvec, trap_vector);
}
