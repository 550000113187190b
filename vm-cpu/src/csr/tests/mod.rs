//! What the manual promises about CSRs, by table. Registers are named, never numbered.

mod access;
mod interrupts;
mod legal;
mod noise;
mod status;
mod traps;

use super::table::rows;
use super::{CsrEnv, CsrFile, Effects, Illegal, Priv};
use crate::config::CpuConfig;
use crate::isa::emit::CsrOp;

const MODES: [Priv; 3] = [Priv::User, Priv::Supervisor, Priv::Machine];

/// A hart after reset with everything on.
fn hart() -> CsrFile {
    configured("rv64gc")
}

fn configured(text: &str) -> CsrFile {
    CsrFile::new(&CpuConfig::parse(text).expect("a valid configuration"), 0)
}

/// The number of the CSR of this name.
fn num(name: &str) -> u16 {
    let row = rows().iter().find(|row| row.name.to_string() == name);
    row.unwrap_or_else(|| panic!("no CSR is called {name}")).num
}

/// Accesses in a few letters, at the hart's privilege and time 0.
trait Short {
    fn get(&mut self, name: &str) -> Result<u64, Illegal>;
    fn put(&mut self, name: &str, value: u64) -> Result<Effects, Illegal>;
    fn op(&mut self, name: &str, op: CsrOp, value: u64, env: &CsrEnv) -> Result<(u64, Effects), Illegal>;
    /// Writes as M-mode, reads back.
    fn keep(&mut self, name: &str, value: u64) -> u64;
}

impl Short for CsrFile {
    fn get(&mut self, name: &str) -> Result<u64, Illegal> {
        let read = self.access(num(name), CsrOp::Set, 0, true, false, &CsrEnv::default());
        read.map(|(value, _)| value)
    }

    fn put(&mut self, name: &str, value: u64) -> Result<Effects, Illegal> {
        self.op(name, CsrOp::Write, value, &CsrEnv::default()).map(|(_, effects)| effects)
    }

    fn op(&mut self, name: &str, op: CsrOp, value: u64, env: &CsrEnv) -> Result<(u64, Effects), Illegal> {
        self.access(num(name), op, value, true, true, env)
    }

    fn keep(&mut self, name: &str, value: u64) -> u64 {
        let was = std::mem::replace(&mut self.prv, Priv::Machine);
        self.put(name, value).expect("M-mode may write it");
        let kept = self.get(name).expect("M-mode may read it");
        self.prv = was;
        kept
    }
}
