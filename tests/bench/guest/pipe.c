// Two processes pass a byte to and fro through pipes: two context switches a round trip.
//
// group: system
#define TIMES 3
#include "bench.h"

#define ROUNDS 6000

static void echo(int in, int out) {
    u8 byte;
    while (read(in, &byte, 1) == 1) {
        byte++;
        if (write(out, &byte, 1) != 1) _exit(1);
    }
    _exit(0);
}

static u64 work(void) {
    int there[2], back[2];
    if (pipe(there) || pipe(back)) fail("pipe");
    pid_t child = fork();
    if (child < 0) fail("fork");
    if (child == 0) {
        close(there[1]);
        echo(there[0], back[1]);
    }
    u8 byte = 0;
    u64 sum = 0;
    for (u32 i = 0; i < ROUNDS; i++) {
        if (write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1) fail("pipe");
        sum += byte;
    }
    close(there[1]);
    close(there[0]), close(back[0]), close(back[1]);
    waitpid(child, NULL, 0);
    return sum;
}
