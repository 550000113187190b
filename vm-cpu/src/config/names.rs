//! The names by which a guest learns what its CPU has (device-tree bindings for RISC-V CPUs).

use vm_mmu::Scheme;

use super::CpuConfig;
use crate::isa::ext::Extension;

/// Promises that hold for every configuration of this machine, as the profiles name them.
const ALWAYS: &[&str] = &[
    "zic64b",       // cache blocks are 64 bytes
    "ziccamoa",     // main memory takes every AMO
    "ziccif",       // an aligned fetch is atomic
    "zicclsm",      // main memory takes misaligned loads and stores
    "ziccrse",      // LR/SC makes progress
    "za64rs",       // a reservation is no larger than 64 aligned bytes
    "ssccptr",      // page tables may lie anywhere in main memory
    "sscounterenw", // every counter that counts can be opened
    "sstvala",      // stval tells the faulting address or instruction
    "sstvecd",      // stvec takes every four-byte-aligned address
];

/// Promises that speak of atomics, void without A.
const OF_A: &[&str] = &["ziccamoa", "ziccrse", "za64rs"];

/// The order of single letters in an ISA string, which is also that of the categories of `Z…` names.
const LETTERS: &str = "imafdqlcbkjtpvnh";

impl CpuConfig {
    /// The property `riscv,isa`, such as `rv64imafdc_zicntr_…`.
    pub fn isa_string(&self) -> String {
        self.isa_extensions().into_iter().fold(String::from("rv64"), |mut isa, name| {
            if name.len() > 1 {
                isa.push('_');
            }
            isa + name
        })
    }

    /// The property `riscv,isa-extensions`: the same names, apart.
    pub fn isa_extensions(&self) -> Vec<&'static str> {
        let modes = [Extension::S, Extension::U];
        let own = self.extensions.iter().filter(|e| !modes.contains(e)).map(Extension::name);
        let always = ALWAYS.iter().copied().filter(|name| self.has(Extension::A) || !OF_A.contains(name));
        let mut names: Vec<_> = own.chain(always).collect();
        names.sort_by_key(|name| place(name));
        names
    }

    /// The property `mmu-type`.
    pub fn mmu_type(&self) -> &'static str {
        match self.paging {
            Scheme::Bare => "riscv,none",
            Scheme::Sv39 => "riscv,sv39",
            Scheme::Sv48 => "riscv,sv48",
            Scheme::Sv57 => "riscv,sv57",
        }
    }
}

/// Sort key of an ISA string: single letters, `z…` by category, then the rest, each by alphabet.
fn place(name: &'static str) -> (u8, usize, &'static str) {
    let letter = |at: usize| LETTERS.find(&name[at..=at]).unwrap_or(LETTERS.len());
    match name.as_bytes() {
        [_] => (0, letter(0), name),
        [b'z', ..] => (1, letter(1), name),
        _ => (2, 0, name),
    }
}
