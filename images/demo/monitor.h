// The prompt.
#pragma once

// Runs one line of input.
void monitor_execute(char *line);
// Reads and runs lines; never returns.
void monitor_run(void) __attribute__((noreturn));
