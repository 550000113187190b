// Code that a device writes: sectors read over code that has run, whole and in part of its page, and the new code
// runs after fence.i; what lies beside it in the page stays.
//
// entry: M
// modes: all
// machine: cpus=1 memory=32M scratch
// exit: 0
// qemu: yes
#include "runtime/disk.h"

#define VERSIONS 16

static u32 page[PAGE / 4] __attribute__((aligned(4096)));
static u32 sector[SECTOR / 4] __attribute__((aligned(512)));

static u32 li_a0(u64 n) { return 0x00000513 | (u32)n << 20; }
static u64 call(void *f) { return ((u64(*)(void))f)(); }

// A sector full of functions of two instructions, all of which return `n`.
static void put_version(u64 n) {
    for (u64 i = 0; i < LENGTH(sector); i += 2) sector[i] = li_a0(n), sector[i + 1] = 0x00008067;
    disk_move(DISK_WRITE, n, sector);
}

void test(void) {
    disk_open();
    for (u64 n = 0; n < VERSIONS; n++) put_version(n);
    u64 held[PAGE / SECTOR] = {0};
    for (u64 place = 0; place < LENGTH(held); place++) disk_move(DISK_READ, 0, page + place * SECTOR / 4);
    for (u64 round = 0; round < 500; round++) {
        u64 place = random() % LENGTH(held), version = random() % VERSIONS;
        disk_move(DISK_READ, version, page + place * SECTOR / 4);
        held[place] = version;
        fence_i();
        for (u64 i = 0; i < LENGTH(held); i++) {
            EXPECT(call(page + i * SECTOR / 4), held[i]);
            EXPECT(call(page + (i + 1) * SECTOR / 4 - 2), held[i]);
        }
    }
    // And back to the disk: what was written is what is read.
    disk_move(DISK_WRITE, VERSIONS, page);
    disk_move(DISK_READ, VERSIONS, sector);
    EXPECT(memcmp(sector, page, SECTOR), 0);
}
