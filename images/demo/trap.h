// Faults in the kernel and the ways back from them.
#pragma once
#include "hart.h"

extern char trap_vector[];

int context_save(struct context *c) __attribute__((returns_twice));
void context_jump(struct context *c, int value) __attribute__((noreturn));
void user_enter(u64 entry, u64 sp, u64 arg, struct context *back);

// Runs `action(arg)`; false if it faulted, with cause and address in *cause and *address.
int survives(void (*action)(void *), void *arg, u64 *cause, u64 *address);
const char *cause_name(u64 cause);
