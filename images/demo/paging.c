// Sv39. The kernel's space is an identity map: devices by one gigapage, RAM by megapages, the image itself by
// 4 KiB pages with the permissions of its sections. The user part hangs below root entry 128:
//
//   kernel root ── 0: devices  2..: RAM  128 ─┬─ user level 1 ── text, stack, window
//   isolated root ────────────────────── 128 ─┘
//   both ── 255: trampoline and trapframe
#include "paging.h"
#include "lib.h"
#include "machine.h"
#include "trampoline.h"

#define ENTRIES 512
#define MEGAPAGE (PAGE * ENTRIES)
#define GIGAPAGE (MEGAPAGE * ENTRIES)
#define LEAF (PTE_V | PTE_A | PTE_D)
#define KERNEL_LEAF (LEAF | PTE_G)

#define OWN_PAGE __attribute__((aligned(PAGE), section(".bss.pages")))

typedef u64 table[ENTRIES];

static table kernel_root OWN_PAGE, isolated_root OWN_PAGE;
static table ram_level1 OWN_PAGE, image_level0 OWN_PAGE;
static table user_level1 OWN_PAGE, user_level0 OWN_PAGE, user_window_level0 OWN_PAGE;
static table top_level1 OWN_PAGE, top_level0 OWN_PAGE;
static u8 user_stack[PAGE] OWN_PAGE;
static u8 window_frame[PAGE] OWN_PAGE;
struct trapframe trapframe OWN_PAGE;

extern char image_start[], user_text[], trampoline_text[], image_rodata[], image_data[], image_end[];

static u64 asid_bits;

static u64 entry(const void *physical, u64 flags) { return (u64)physical >> 12 << 10 | flags; }
static u64 index_of(u64 va, u64 level) { return va >> (12 + 9 * level) & (ENTRIES - 1); }

static u64 section_flags(const char *page) {
    if (page < image_rodata) return PTE_R | PTE_X;
    if (page < image_data) return PTE_R;
    return PTE_R | PTE_W;
}

static void map_image(void) {
    for (char *page = image_start; page < image_end; page += PAGE)
        image_level0[index_of((u64)page, 0)] = entry(page, KERNEL_LEAF | section_flags(page));
    ram_level1[index_of((u64)image_start, 1)] = entry(image_level0, PTE_V);
}

// RAM beside the image in its gigabyte by megapages, the gigabytes after it by gigapages.
static void map_ram(struct range ram) {
    u64 image_giga = index_of((u64)image_start, 2);
    for (u64 at = ram.start & ~(MEGAPAGE - 1); at < ram.start + ram.size; at += MEGAPAGE) {
        u64 giga = at / GIGAPAGE;
        if (giga == 0 || giga >= index_of(USER_TEXT, 2)) continue;
        if (giga == image_giga)
            ram_level1[index_of(at, 1)] = entry((void *)at, KERNEL_LEAF | PTE_R | PTE_W);
        else
            kernel_root[giga] = entry((void *)(giga * GIGAPAGE), KERNEL_LEAF | PTE_R | PTE_W);
    }
    kernel_root[image_giga] = entry(ram_level1, PTE_V);
}

static void map_user(void) {
    u64 *text = &user_level0[index_of(USER_TEXT, 0)];
    for (char *page = user_text; page < trampoline_text; page += PAGE)
        *text++ = entry(page, LEAF | PTE_R | PTE_X | PTE_U);
    user_level0[index_of(USER_STACK_TOP - PAGE, 0)] = entry(user_stack, LEAF | PTE_R | PTE_W | PTE_U);
    user_level1[index_of(USER_TEXT, 1)] = entry(user_level0, PTE_V);
    user_level1[index_of(USER_WINDOW, 1)] = entry(user_window_level0, PTE_V);
}

static void map_trampoline(void) {
    top_level0[index_of(TRAMPOLINE, 0)] = entry(trampoline_text, KERNEL_LEAF | PTE_R | PTE_X);
    top_level0[index_of(TRAPFRAME, 0)] = entry(&trapframe, KERNEL_LEAF | PTE_R | PTE_W);
    top_level1[index_of(TRAMPOLINE, 1)] = entry(top_level0, PTE_V);
}

static u64 satp_of(const u64 *root, u64 asid) {
    return SATP_SV39 | asid << SATP_ASID_SHIFT | (u64)root >> 12;
}

u64 paging_kernel_satp(void) { return satp_of(kernel_root, 0); }
u64 paging_isolated_satp(void) { return satp_of(isolated_root, 0); }
u64 paging_kernel_satp_with_asid(u64 asid) { return satp_of(kernel_root, asid); }
u64 paging_asid_bits(void) { return asid_bits; }

void paging_join(void) {
    sfence_all();
    csr_write(satp, paging_kernel_satp());
    sfence_all();
}

// The ASID field is WARL: the bits that stick are the bits there are.
static u64 probe_asid_bits(void) {
    csr_write(satp, paging_kernel_satp_with_asid(SATP_ASID_MASK));
    u64 stuck = csr_read(satp) >> SATP_ASID_SHIFT & SATP_ASID_MASK, bits = 0;
    while (stuck >> bits & 1) bits++;
    paging_join();
    return bits;
}

void paging_start(void) {
    kernel_root[0] = entry(0, KERNEL_LEAF | PTE_R | PTE_W);
    for (u64 i = 0; i < machine.memory_count; i++) map_ram(machine.memory[i]);
    map_image();
    map_user();
    map_trampoline();
    u64 user = index_of(USER_TEXT, 2), top = index_of(TRAMPOLINE, 2);
    kernel_root[user] = isolated_root[user] = entry(user_level1, PTE_V);
    kernel_root[top] = isolated_root[top] = entry(top_level1, PTE_V);
    paging_join();
    asid_bits = probe_asid_bits();
}

int paging_map_window_page(u64 va) {
    u64 page = (va - USER_WINDOW) / PAGE;
    if (page >= USER_WINDOW_PAGES) return 0;
    // One frame serves every page: what is measured is the fault, not the allocator.
    user_window_level0[page] = entry(window_frame, LEAF | PTE_R | PTE_W | PTE_U);
    return 1;
}

void paging_unmap_window(void) {
    memset(user_window_level0, 0, sizeof user_window_level0);
    sfence_all();
}
