// Timer and inter-processor interrupts as the micro-benchmarks use them. Between interrupts_begin and
// interrupts_end the boot hart's vector is vector_timed and a second hart, if there is one, serves IPIs.
#pragma once
#include "riscv.h"

void interrupts_begin(void);
void interrupts_end(void);

// One timer interrupt, due at once: programmed, taken, quenched. Works at any time.
void interrupt_round_trip(void);

// Latencies in ticks, ~0 if the interrupt did not come within a second.
u64 timer_latency_spinning(void);
u64 timer_latency_waiting(void);
u64 ipi_latency_spinning(void);
u64 ipi_latency_waiting(void);
u64 remote_fence_latency(void);
