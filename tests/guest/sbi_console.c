// SBI's debug console writes a buffer and single bytes, and reads what is there: nothing.
//
// entry: S
// modes: all
// machine: cpus=1 memory=64M
// exit: 0
// prints: dbcn speaking
// qemu: yes
#include "sbi.h"

static const char text[] = "dbcn speaking";

void test(void) {
    u64 done = 0, length = sizeof text - 1;
    while (done < length) {
        struct sbi r = sbi(SBI_DBCN, 0, length - done, (u64)text + done, 0, 0, 0);
        EXPECT(r.error, SBI_SUCCESS);
        EXPECT(r.value <= length - done, 1);
        done += r.value;
    }
    EXPECT(sbi(SBI_DBCN, 2, '\n', 0, 0, 0, 0).error, SBI_SUCCESS);
    static char input[4];
    struct sbi r = sbi(SBI_DBCN, 1, sizeof input, (u64)input, 0, 0, 0);
    EXPECT(r.error, SBI_SUCCESS);
    EXPECT(r.value, 0);
}
