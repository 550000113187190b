//! The device tree that tells the guest what the machine has. Names and properties are those of the
//! `virt` board, which kernels and firmware match on.

use std::ops::Range;

use vm_cpu::config::CpuConfig;
use vm_devices::map::{RAM_BASE, TIMEBASE_HZ, UART};
use vm_devices::{Power, Site};
use vm_fdt::{Error, FdtWriter};

use super::board::{Board, PLIC_PHANDLE, TEST_PHANDLE, intc_phandle};

/// Bytes of a cache block, for the cache-block operations.
const CACHE_BLOCK: u32 = 64;

/// What the kernel is told at boot, in `/chosen`.
#[derive(Clone, Debug, Default)]
pub(super) struct Chosen {
    /// Command line.
    pub bootargs: Option<String>,
    /// Initial RAM disk.
    pub initrd: Option<Range<u64>>,
    /// Entropy for the kernel's random pool.
    pub seed: Option<[u8; 32]>,
}

impl Chosen {
    /// Its properties, by name.
    pub fn properties(&self) -> Vec<(&'static str, Vec<u8>)> {
        let mut properties = Vec::new();
        if let Some(text) = &self.bootargs {
            properties.push(("bootargs", text.bytes().chain([0]).collect()));
        }
        if let Some(Range { start, end }) = &self.initrd {
            properties.push(("linux,initrd-start", start.to_be_bytes().to_vec()));
            properties.push(("linux,initrd-end", end.to_be_bytes().to_vec()));
        }
        if let Some(seed) = &self.seed {
            properties.push(("rng-seed", seed.to_vec()));
        }
        properties
    }
}

/// Writes the whole tree.
pub(super) fn generate(
    board: &Board,
    cpu: &CpuConfig,
    cpus: usize,
    memory: u64,
    chosen: &Chosen,
) -> Result<Vec<u8>, Error> {
    let mut fdt = FdtWriter::new()?;
    let root = fdt.begin_node("")?;
    fdt.property_u32("#address-cells", 2)?;
    fdt.property_u32("#size-cells", 2)?;
    fdt.property_string("compatible", "riscv-virtio")?;
    fdt.property_string("model", "riscv-virtio,vm-boot")?;
    write_chosen(&mut fdt, chosen)?;
    write_memory(&mut fdt, memory)?;
    write_cpus(&mut fdt, cpu, cpus)?;
    Power::root_nodes(&mut fdt, TEST_PHANDLE)?;
    write_devices(&mut fdt, board, cpus)?;
    fdt.end_node(root)?;
    fdt.finish()
}

fn write_chosen(fdt: &mut FdtWriter, chosen: &Chosen) -> Result<(), Error> {
    let node = fdt.begin_node("chosen")?;
    fdt.property_string("stdout-path", &format!("/soc/serial@{:x}", UART.base))?;
    for (name, value) in chosen.properties() {
        fdt.property(name, &value)?;
    }
    fdt.end_node(node)
}

fn write_memory(fdt: &mut FdtWriter, size: u64) -> Result<(), Error> {
    let node = fdt.begin_node(&format!("memory@{RAM_BASE:x}"))?;
    fdt.property_string("device_type", "memory")?;
    fdt.property_array_u64("reg", &[RAM_BASE, size])?;
    fdt.end_node(node)
}

fn write_cpus(fdt: &mut FdtWriter, cpu: &CpuConfig, cpus: usize) -> Result<(), Error> {
    let node = fdt.begin_node("cpus")?;
    fdt.property_u32("#address-cells", 1)?;
    fdt.property_u32("#size-cells", 0)?;
    fdt.property_u32("timebase-frequency", TIMEBASE_HZ as u32)?;
    for hart in 0..cpus {
        write_cpu(fdt, cpu, hart)?;
    }
    fdt.end_node(node)
}

fn write_cpu(fdt: &mut FdtWriter, cpu: &CpuConfig, hart: usize) -> Result<(), Error> {
    let extensions = cpu.isa_extensions();
    let node = fdt.begin_node(&format!("cpu@{hart:x}"))?;
    fdt.property_string("device_type", "cpu")?;
    fdt.property_u32("reg", hart as u32)?;
    fdt.property_string("status", "okay")?;
    fdt.property_string("compatible", "riscv")?;
    fdt.property_string("riscv,isa-base", "rv64i")?;
    fdt.property_string("riscv,isa", &cpu.isa_string())?;
    fdt.property_string("mmu-type", cpu.mmu_type())?;
    for (extension, property) in [
        ("zicbom", "riscv,cbom-block-size"),
        ("zicbop", "riscv,cbop-block-size"),
        ("zicboz", "riscv,cboz-block-size"),
    ] {
        if extensions.contains(&extension) {
            fdt.property_u32(property, CACHE_BLOCK)?;
        }
    }
    let names = extensions.into_iter().map(str::to_owned).collect();
    fdt.property_string_list("riscv,isa-extensions", names)?;
    let intc = fdt.begin_node("interrupt-controller")?;
    fdt.property_u32("#interrupt-cells", 1)?;
    fdt.property_null("interrupt-controller")?;
    fdt.property_string("compatible", "riscv,cpu-intc")?;
    fdt.property_phandle(intc_phandle(hart))?;
    fdt.end_node(intc)?;
    fdt.end_node(node)
}

fn write_devices(fdt: &mut FdtWriter, board: &Board, cpus: usize) -> Result<(), Error> {
    let soc = fdt.begin_node("soc")?;
    fdt.property_u32("#address-cells", 2)?;
    fdt.property_u32("#size-cells", 2)?;
    fdt.property_string("compatible", "simple-bus")?;
    fdt.property_null("ranges")?;
    let cpu_intc: Vec<u32> = (0..cpus).map(intc_phandle).collect();
    for node in board.nodes() {
        let site = Site {
            window: node.window,
            irq: node.irq,
            plic: PLIC_PHANDLE,
            phandle: node.phandle,
            cpu_intc: &cpu_intc,
        };
        node.device.fdt(fdt, &site)?;
    }
    fdt.end_node(soc)
}
