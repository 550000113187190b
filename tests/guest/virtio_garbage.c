// virtio devices handed junk: registers written with noise, queues of noise, descriptors that loop or point
// nowhere, doorbells rung before and after. The machine must live and the program's memory outside of what it
// offered must stay as it is; the disk is checked by the test that runs this.
//
// entry: M
// modes: all
// machine: cpus=1 memory=32M disk
// exit: 0
// prints: devices: 
// qemu: yes
#include "rt.h"

#define SLOT(n) (0x10001000ul + 0x1000 * (n))
#define REG(base, offset) mmio32((base) + (offset))
#define QUEUE 16

enum {
    MAGIC = 0x00, VERSION = 0x04, DEVICE_ID = 0x08, DRIVER_FEATURES = 0x20, DRIVER_FEATURES_SEL = 0x24,
    GUEST_PAGE_SIZE = 0x28, QUEUE_SEL = 0x30, QUEUE_NUM_MAX = 0x34, QUEUE_NUM = 0x38, QUEUE_ALIGN = 0x3c,
    QUEUE_PFN = 0x40, QUEUE_READY = 0x44, QUEUE_NOTIFY = 0x50, INTERRUPT_ACK = 0x64, STATUS = 0x70,
    QUEUE_DESC = 0x80, QUEUE_AVAIL = 0x90, QUEUE_USED = 0xa0,
};

struct descriptor {
    u64 address;
    u32 length;
    u16 flags, next;
};

// Everything the device may see: descriptor table, rings, and a legacy layout over the same pages.
static u8 rings[4 * PAGE] __attribute__((aligned(4096)));
static u8 witness[4 * PAGE] __attribute__((aligned(4096)));

static struct descriptor *const table = (struct descriptor *)rings;
static volatile u16 *const avail = (volatile u16 *)(rings + QUEUE * 16);
static u8 *const used = rings + PAGE;

static void set_queue(u64 base, u64 queue) {
    REG(base, QUEUE_SEL) = (u32)queue;
    REG(base, QUEUE_NUM) = QUEUE;
    if (REG(base, VERSION) == 1) {
        REG(base, GUEST_PAGE_SIZE) = PAGE;
        REG(base, QUEUE_ALIGN) = PAGE;
        REG(base, QUEUE_PFN) = (u32)((u64)rings / PAGE);
        return;
    }
    u64 at[] = {(u64)table, (u64)avail, (u64)used};
    for (u64 i = 0; i < 3; i++) {
        REG(base, QUEUE_DESC + 0x10 * i) = (u32)at[i];
        REG(base, QUEUE_DESC + 0x10 * i + 4) = (u32)(at[i] >> 32);
    }
    REG(base, QUEUE_READY) = 1;
}

static void reset_and_negotiate(u64 base, u32 features) {
    REG(base, STATUS) = 0;
    REG(base, STATUS) = 1;
    REG(base, STATUS) = 3;
    REG(base, DRIVER_FEATURES_SEL) = 0;
    REG(base, DRIVER_FEATURES) = features;
    REG(base, DRIVER_FEATURES_SEL) = 1;
    REG(base, DRIVER_FEATURES) = REG(base, VERSION) == 1 ? 0 : 1;
    REG(base, STATUS) = 11;
    REG(base, STATUS) = 15;
}

// Fills the descriptor table in one of the ways in which a driver can be wrong.
static void spoil(u64 kind) {
    for (u64 i = 0; i < QUEUE; i++) {
        struct descriptor d = {(u64)rings + 2 * PAGE, 512, 1, (u16)((i + 1) % QUEUE)}; // an endless chain
        if (kind == 1) d = (struct descriptor){random(), (u32)random(), (u16)random(), (u16)random()};
        if (kind == 2) d = (struct descriptor){(u64)rings + 2 * PAGE, ~0u, 3, (u16)i}; // to itself
        if (kind == 3) d.address = i & 1 ? 0x10000000 : ~0ul - 100, d.length = 4096;
        if (kind == 4) d.next = (u16)(QUEUE + i);
        if (kind == 5) d.length = 0;
        if (kind == 6) d = (struct descriptor){(u64)rings, 16 * QUEUE, 4 | (i & 3), 1}; // indirect, to itself
        if (kind == 7) d = (struct descriptor){(u64)rings + 2 * PAGE, 1, i & 1 ? 2 : 0, 0}; // too short
        table[i] = d;
    }
}

static void offer(u64 base, u64 kind, u64 queue) {
    avail[0] = (u16)random();
    avail[1] = kind == 1 ? (u16)random() : (u16)(avail[1] + QUEUE);
    for (u64 i = 0; i < QUEUE; i++) avail[2 + i] = (u16)(kind == 1 ? random() : i);
    fence();
    REG(base, QUEUE_NOTIFY) = (u32)queue;
}

// A request that makes the device write may fill the pages offered, and nothing else.
static void torment(u64 base) {
    for (u64 kind = 0; kind < 8; kind++)
        for (u64 queue = 0; queue < 2; queue++) {
            reset_and_negotiate(base, 0);
            memset(rings, 0, sizeof rings);
            set_queue(base, queue);
            spoil(kind);
            for (u64 i = 0; i < 4; i++) offer(base, kind, queue);
            REG(base, QUEUE_NOTIFY) = 0xffff;
            REG(base, INTERRUPT_ACK) = ~0u;
        }
    REG(base, STATUS) = 0;
}

// Noise to every register, with no queue set up: the addresses are the witness's, which must not change.
static void noise(u64 base) {
    for (u64 i = 0; i < 2000; i++) {
        u64 offset = random() % 0x100 & ~3ul;
        (void)REG(base, offset);
        if (offset == QUEUE_READY || offset == QUEUE_PFN) continue;
        REG(base, offset) = (u32)random();
        if (i % 50 == 0) REG(base, STATUS) = 0;
    }
    REG(base, STATUS) = 0;
    for (u64 queue = 0; queue < 2; queue++) {
        reset_and_negotiate(base, ~0u);
        set_queue(base, queue);
        REG(base, QUEUE_NOTIFY) = (u32)queue;
        REG(base, STATUS) = 0;
    }
}

// Accesses of widths that the interface does not have: no effect worth mentioning, or an access fault.
static u64 odd_access(u64 address) {
    *(volatile u8 *)address = 0xff;
    *(volatile u16 *)(address + 2) = 0xffff;
    return *(volatile u64 *)(address & ~7ul);
}

void test(void) {
    u64 devices = 0;
    memset(witness, 0x3c, sizeof witness);
    for (u64 n = 0; n < 8; n++) {
        u64 base = SLOT(n);
        if (REG(base, MAGIC) != 0x74726976 || REG(base, DEVICE_ID) == 0) continue;
        devices++;
        noise(base);
        torment(base);
        for (u64 offset = 0; offset < 0x110; offset += 4) {
            u64 cause = run(M, odd_access, base + offset).cause;
            EXPECT(cause == RETURNED || cause == LOAD_ACCESS || cause == STORE_ACCESS, 1);
        }
        REG(base, STATUS) = 0;
    }
    for (u64 i = 0; i < sizeof witness; i++) EXPECT(witness[i], 0x3c);
    EXPECT(devices > 0, 1);
    print("devices: %u\n", devices);
}
