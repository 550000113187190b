// Discovery of the machine: one pass over the device tree, then what the firmware answers.
#include "machine.h"
#include "fdt.h"
#include "lib.h"
#include "sbi.h"

struct machine machine;

static const char *string_property(const struct fdt_walk *walk, const struct fdt_node *node, const char *name) {
    struct fdt_property p;
    return fdt_find(walk, node, name, &p) ? (const char *)p.data : 0;
}

static u32 u32_property(const struct fdt_walk *walk, const struct fdt_node *node, const char *name) {
    struct fdt_property p;
    return fdt_find(walk, node, name, &p) && p.length >= 4 ? fdt_u32(p.data) : 0;
}

static void see_hart(const struct fdt_walk *walk, const struct fdt_node *node) {
    u64 id, size;
    if (machine.hart_count == HART_MAX || !fdt_reg(walk, node, 0, &id, &size)) return;
    machine.hart_ids[machine.hart_count++] = id;
    if (machine.isa || machine.isa_extensions) return;
    struct fdt_property extensions;
    machine.isa = string_property(walk, node, "riscv,isa");
    if (!machine.isa) machine.isa = string_property(walk, node, "riscv,isa-base");
    if (fdt_find(walk, node, "riscv,isa-extensions", &extensions)) {
        machine.isa_extensions = (const char *)extensions.data;
        machine.isa_extensions_length = extensions.length;
        machine.sstc = fdt_list_has(&extensions, "sstc");
    }
    for (const char *s = machine.isa; s && *s; s++)
        if (starts_with(s, "_sstc")) machine.sstc = 1;
    machine.mmu = string_property(walk, node, "mmu-type");
}

static void see_memory(const struct fdt_walk *walk, const struct fdt_node *node) {
    struct range *next = &machine.memory[machine.memory_count];
    for (u32 i = 0; machine.memory_count < MEMORY_MAX; i++, next++, machine.memory_count++)
        if (!fdt_reg(walk, node, i, &next->start, &next->size)) return;
}

// The PLIC's contexts are numbered by their place in `interrupts-extended`: pairs of a hart's interrupt
// controller and the interrupt line that the context drives there.
static void see_plic(const struct fdt_walk *walk, const struct fdt_node *node, u64 address) {
    struct fdt_property lines;
    if (!fdt_find(walk, node, "interrupts-extended", &lines)) return;
    u32 intc = 0;
    for (u64 i = 0; i < machine.hart_count; i++)
        if (machine.hart_ids[i] == machine.boot_hart) intc = machine.hart_intc[i];
    for (u32 i = 0; (i + 1) * 8 <= lines.length; i++)
        if (fdt_u32(lines.data + i * 8) == intc && fdt_u32(lines.data + i * 8 + 4) == 9) {
            machine.plic = address;
            machine.plic_context = i;
        }
}

static void see_device(const struct fdt_walk *walk, const struct fdt_node *node,
                       const struct fdt_property *compatible) {
    u64 address, size;
    if (machine.device_count == DEVICE_MAX || !fdt_reg(walk, node, 0, &address, &size)) return;
    struct device *d = &machine.devices[machine.device_count++];
    d->name = node->name;
    d->compatible = (const char *)compatible->data;
    d->address = address;
    d->irq = u32_property(walk, node, "interrupts");
    if (fdt_list_has(compatible, "ns16550a")) machine.uart = address, machine.uart_irq = d->irq;
    if (fdt_list_has(compatible, "sifive,test0")) machine.test = address;
    if (fdt_list_has(compatible, "google,goldfish-rtc")) machine.rtc = address;
    if (fdt_list_has(compatible, "riscv,plic0")) see_plic(walk, node, address);
}

int machine_discover(const void *fdt, u64 boot_hart) {
    struct fdt_walk walk;
    struct fdt_node node;
    machine.boot_hart = boot_hart;
    if (!fdt_open(&walk, fdt)) return 0;
    machine.fdt = fdt;
    while (fdt_next(&walk, &node)) {
        struct fdt_property p;
        if (node.depth == 0) machine.model = string_property(&walk, &node, "model");
        if (!strcmp(node.name, "cpus")) machine.timebase = u32_property(&walk, &node, "timebase-frequency");
        if (!strcmp(node.name, "chosen")) machine.bootargs = string_property(&walk, &node, "bootargs");
        if (starts_with(node.name, "cpu@")) see_hart(&walk, &node);
        if (starts_with(node.name, "memory@")) see_memory(&walk, &node);
        if (!strcmp(node.name, "interrupt-controller") && machine.hart_count)
            machine.hart_intc[machine.hart_count - 1] = u32_property(&walk, &node, "phandle");
        else if (fdt_find(&walk, &node, "compatible", &p) && node.depth && !starts_with(node.name, "cpu"))
            see_device(&walk, &node, &p);
    }
    if (!machine.timebase) machine.timebase = 10000000;
    return machine.hart_count != 0;
}

static const char *implementation_name(u64 id) {
    static const char *const names[] = {"BBL",     "OpenSBI",  "Xvisor",         "KVM",
                                        "RustSBI", "Diosix",   "Coffer",         "Xen",
                                        "PolarFire HSS", "coreboot", "oreboot"};
    return id < LENGTH(names) ? names[id] : "unregistered";
}

static void print_firmware(void) {
    static const struct {
        u64 id;
        const char *name;
    } extensions[] = {{SBI_BASE, "base"}, {SBI_TIME, "time"}, {SBI_IPI, "ipi"},
                      {SBI_RFENCE, "rfence"}, {SBI_HSM, "hsm"}, {SBI_SRST, "srst"},
                      {SBI_DBCN, "dbcn"}, {SBI_PMU, "pmu"}, {SBI_SUSP, "susp"},
                      {SBI_LEGACY_PUTCHAR, "legacy"}};
    u64 spec = sbi_spec_version(), id = sbi_implementation();
    print("  firmware   %s (%lu) version %p, SBI %lu.%lu:", implementation_name(id), id,
          (void *)sbi_implementation_version(), spec >> 24 & 0x7f, spec & 0xffffff);
    for (u64 i = 0; i < LENGTH(extensions); i++)
        if (sbi_has(extensions[i].id)) print(" %s", extensions[i].name);
    print("\n  machine id vendor %p, architecture %p, implementation %p\n", (void *)sbi_machine_id(0),
          (void *)sbi_machine_id(1), (void *)sbi_machine_id(2));
}

static void print_isa(void) {
    print("  isa        %s\n", machine.isa ? machine.isa : "not stated");
    if (!machine.isa_extensions) return;
    print("  extensions");
    const char *s = machine.isa_extensions, *end = s + machine.isa_extensions_length;
    for (; s < end; s += strlen(s) + 1) print(" %s", s);
    print("\n");
}

static const char *virtio_kind(u64 address) {
    static const char *const kinds[] = {"empty slot", "net", "block", "console", "rng", "balloon",
                                        0, 0, "scsi", "9p"};
    u32 id = *(volatile u32 *)(address + 8);
    return id < LENGTH(kinds) && kinds[id] ? kinds[id] : "other";
}

static void print_devices(void) {
    for (u64 i = 0; i < machine.device_count; i++) {
        const struct device *d = &machine.devices[i];
        print("  %-10s %012lx %s", i ? "" : "devices", d->address, d->compatible);
        if (d->irq) print(", irq %lu", (u64)d->irq);
        if (!strcmp(d->compatible, "virtio,mmio")) print(": %s", virtio_kind(d->address));
        print("\n");
    }
}

void machine_print(void) {
    print("  machine    %s\n", machine.model ? machine.model : "unnamed");
    print_isa();
    print("  harts      %lu, booted on hart %lu\n", machine.hart_count, machine.boot_hart);
    print("  mmu        %s offered, sv39 used\n", machine.mmu ? machine.mmu : "not stated");
    for (u64 i = 0; i < machine.memory_count; i++)
        print("  memory     %012lx, %lu KiB\n", machine.memory[i].start, machine.memory[i].size >> 10);
    print("  timebase   %lu Hz%s\n", machine.timebase, machine.sstc ? ", sstc" : "");
    print_firmware();
    print("  fdt        %p, %lu bytes\n", machine.fdt, fdt_size(machine.fdt));
    print("  bootargs   %s\n", machine.bootargs ? machine.bootargs : "none");
    print_devices();
}

int machine_wall_clock(u64 *nanoseconds) {
    if (!machine.rtc) return 0;
    // Reading the low half latches the high half.
    u64 low = *(volatile u32 *)machine.rtc;
    u64 high = *(volatile u32 *)(machine.rtc + 4);
    *nanoseconds = high << 32 | low;
    return 1;
}

void timer_set(u64 deadline) {
    if (machine.sstc)
        csr_write(CSR_STIMECMP, deadline);
    else
        sbi_call(SBI_TIME, 0, deadline, 0, 0);
}

static void __attribute__((noreturn)) stop_here(void) {
    for (;;) wait_for_interrupt();
}

void machine_poweroff(void) {
    sbi_system_reset(RESET_SHUTDOWN, 0);
    machine_exit(0);
}

void machine_reboot(void) {
    sbi_system_reset(RESET_COLD, 0);
    print("reboot: the firmware refused\n");
    stop_here();
}

void machine_exit(u64 code) {
    if (machine.test) *(volatile u32 *)machine.test = (u32)(code ? code << 16 | 0x3333 : 0x5555);
    sbi_system_reset(RESET_SHUTDOWN, code != 0);
    stop_here();
}
