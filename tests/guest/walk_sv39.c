// Sv39: leaves of every size, entries that must fault, permissions with SUM and MXR, canonical addresses.
//
// entry: M
// modes: all
// machine: cpus=1 memory=32M
// exit: 0
// qemu: yes
#include "runtime/walks.h"

void test(void) { check_walks(3); }
