// The test device ends the machine with the program's own exit code.
//
// entry: M
// modes: all
// machine: cpus=1 memory=32M
// exit: 42
// prints: leaving with 42
// qemu: yes
#include "rt.h"

void test(void) {
    print("leaving with %u\n", 42ul);
    finish(42);
}
