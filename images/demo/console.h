// The console: the 16550 if the machine has one, SBI otherwise.
#pragma once
#include "riscv.h"

#define KEY_INTERRUPT 3 // Ctrl-C

// Uses the devices that machine_discover found; before that, output goes through SBI.
void console_start(void);
void console_put(char c);
void console_flush(void);
// The next character typed; waits in WFI.
char console_get(void);
// Whether Ctrl-C was typed. Other characters stay for console_get.
int console_interrupted(void);

// Reads a line with editing: backspace, Ctrl-U (start again), Ctrl-C (give up: false).
int console_line(const char *prompt, char *line, u64 size);
