// A block device on virtio-mmio, modern or legacy, for programs that want DMA: one queue, one request at a time.
#pragma once
#include "rt.h"

#define SECTOR 512
#define DISK_QUEUE 8

enum { DISK_READ = 0, DISK_WRITE = 1 };

static struct {
    u64 base;
    u16 sent;
    struct { u32 type, reserved; u64 sector; } request;
    volatile u8 status;
} disk;

// Table and available ring, then the used ring a page on, as the legacy layout wants it.
static u8 disk_rings[2 * PAGE] __attribute__((aligned(4096)));

struct disk_descriptor {
    u64 address;
    u32 length;
    u16 flags, next;
};
#define DISK_TABLE ((volatile struct disk_descriptor *)disk_rings)
#define DISK_AVAILABLE ((volatile u16 *)(disk_rings + 16 * DISK_QUEUE))
#define DISK_USED ((volatile u16 *)(disk_rings + PAGE))

static inline volatile u32 *disk_register(u64 offset) { return (volatile u32 *)(disk.base + offset); }

static inline void disk_find(void) {
    for (disk.base = 0x10001000; disk.base < 0x10009000; disk.base += 0x1000)
        if (*disk_register(0) == 0x74726976 && *disk_register(8) == 2) return;
    EXPECT(disk.base, 0); // there is none
}

static inline void disk_set_queue(void) {
    *disk_register(0x30) = 0;
    *disk_register(0x38) = DISK_QUEUE;
    if (*disk_register(4) == 1) {
        *disk_register(0x28) = PAGE;
        *disk_register(0x3c) = PAGE;
        *disk_register(0x40) = (u32)((u64)disk_rings / PAGE);
        return;
    }
    u64 places[] = {(u64)DISK_TABLE, (u64)DISK_AVAILABLE, (u64)DISK_USED};
    for (u64 i = 0; i < 3; i++) {
        *disk_register(0x80 + 0x10 * i) = (u32)places[i];
        *disk_register(0x84 + 0x10 * i) = (u32)(places[i] >> 32);
    }
    *disk_register(0x44) = 1;
}

static inline void disk_open(void) {
    disk_find();
    *disk_register(0x70) = 0;
    *disk_register(0x70) = 3;
    *disk_register(0x24) = 1;
    *disk_register(0x20) = *disk_register(4) == 1 ? 0 : 1; // VIRTIO_F_VERSION_1
    *disk_register(0x24) = 0;
    *disk_register(0x20) = 0;
    *disk_register(0x70) = 11;
    EXPECT(*disk_register(0x70) & 8, 8);
    disk_set_queue();
    *disk_register(0x70) = 15;
}

// Moves one sector between the disk and `memory` and waits for it.
static inline void disk_move(u32 type, u64 sector, volatile void *memory) {
    enum { NEXT = 1, DEVICE_WRITES = 2 };
    disk.request.type = type;
    disk.request.sector = sector;
    disk.status = 0xff;
    DISK_TABLE[0] = (struct disk_descriptor){(u64)&disk.request, 16, NEXT, 1};
    DISK_TABLE[1] = (struct disk_descriptor){(u64)memory, SECTOR, NEXT | (type == DISK_READ ? DEVICE_WRITES : 0), 2};
    DISK_TABLE[2] = (struct disk_descriptor){(u64)&disk.status, 1, DEVICE_WRITES, 0};
    DISK_AVAILABLE[2 + disk.sent % DISK_QUEUE] = 0;
    fence();
    DISK_AVAILABLE[1] = ++disk.sent;
    asm volatile("fence" ::: "memory"); // to the device as well
    *disk_register(0x50) = 0;
    u64 start = now();
    while (DISK_USED[1] != disk.sent) EXPECT(now() - start < 5000 * MILLISECOND, 1);
    fence();
    *disk_register(0x64) = 1;
    EXPECT(disk.status, 0);
}
