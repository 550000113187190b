// Micro-benchmarks of what a machine's privileged side costs.
#pragma once

// Runs those whose name starts with `prefix` ("" = all), one line each: `bench: NAME VALUE UNIT`.
// False if none is called so.
int bench_run(const char *prefix);
