//! Our side: a hart in U-mode whose environment calls are a tiny operating system's.

use vm_cpu::csr::fields::envcfg;
use vm_cpu::isa::Extensions;
use vm_cpu::{CpuConfig, Priv};

use super::image::{CODE, Image, RECORDS, Record};
use super::{Outcome, Program, Runner};
use crate::bare::{Bare, Engine, RAM, Stopped};

/// Bytes of RAM.
const RAM_LEN: u64 = 32 << 20;

/// System calls of Linux on RISC-V.
const WRITE: u64 = 64;
const EXIT: u64 = 93;

/// Programs may use cache-block operations, as QEMU lets them.
const CACHE: u64 = envcfg::CBIE | envcfg::CBCFE | envcfg::CBZE;

const A0: usize = 10;
const A1: usize = 11;
const A2: usize = 12;
const A7: usize = 17;
const ECALL_U: u64 = 8;

/// A machine that runs images.
pub struct Machine {
    bare: Bare,
    /// Changes the code of an image before it runs; for tests of the comparison itself.
    pub tamper: fn(&mut Vec<u8>),
}

impl Machine {
    /// A machine whose hart executes with `engine`.
    pub fn new(engine: Engine, extensions: Extensions) -> Machine {
        let modes = Extensions::S.with(Extensions::U).with(Extensions::Zicsr);
        let cpu = CpuConfig { extensions: extensions.with(modes), ..CpuConfig::default() };
        Machine { bare: Bare::new(engine, &cpu, 1, RAM_LEN), tamper: |_| {} }
    }

    /// The machine below.
    pub fn bare(&self) -> &Bare {
        &self.bare
    }

    /// Runs to `exit`; gives its code and what was written.
    fn execute(&mut self) -> Result<(u64, Vec<u8>), String> {
        let mut output = Vec::new();
        loop {
            let stopped = self.bare.run(0);
            if let Some(report) = self.bare.harts[0].divergence() {
                return Err(report);
            }
            let core = self.bare.harts[0].core();
            let (cause, pc, value) = (core.csr().mcause, core.csr().mepc, core.csr().mtval);
            if stopped != Stopped::Trapped {
                return Err(format!("{stopped:?} at {:#x}", core.pc()));
            }
            if cause != ECALL_U {
                return Err(format!("trap {cause} at {pc:#x}, value {value:#x}"));
            }
            match core.x(A7) {
                WRITE => {
                    let mut bytes = vec![0; core.x(A2) as usize];
                    self.bare.memory.read(core.x(A1), &mut bytes).map_err(|e| format!("write: {e}"))?;
                    output.extend(bytes);
                    let len = core.x(A2);
                    self.bare.harts[0].core_mut().set_x(A0, len);
                }
                EXIT => return Ok((core.x(A0), output)),
                other => return Err(format!("system call {other}")),
            }
            self.bare.resume(0, pc + 4, Priv::User);
        }
    }
}

impl Runner for Machine {
    fn run(&mut self, programs: &[Program]) -> Outcome {
        let mut image = Image::of(programs);
        (self.tamper)(&mut image.code);
        self.bare.memory.clear(RAM..RAM + RAM_LEN - 4096).map_err(|e| e.to_string())?;
        self.bare.load(CODE, &image.code);
        self.bare.load(RECORDS, &image.records);
        self.bare.start(0, CODE, Priv::User);
        self.bare.harts[0].core_mut().with_csr(|csr| {
            csr.menvcfg |= CACHE;
            csr.senvcfg |= CACHE;
        });
        match self.execute()? {
            (0, output) if output.len() == image.records.len() => Ok(Record::read_all(&output)),
            (code, output) => Err(format!("exit code {code}, {} bytes", output.len())),
        }
    }
}
