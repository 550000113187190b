//! Whether a file that comes from outside, such as a snapshot, holds only what its registers may hold.
//!
//! Nothing is said twice here: a file is legal if writing all that it shows into a fresh one, as M-mode
//! would, gives the same file.

use super::table::{self, rows};
use super::{CsrEnv, CsrFile};
use crate::config::CpuConfig;

/// Why a file is not one of this hart.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CsrError {
    /// Another CPU.
    #[error("the CSRs are those of another CPU configuration")]
    Config,
    /// Another hart.
    #[error("expected hart {expected} in mhartid, found {found}")]
    Hart {
        /// The hart that it is for.
        expected: u64,
        /// The hart that it says.
        found: u64,
    },
    /// A register that can never hold what it holds.
    #[error("{name} cannot hold {found:#x}, but together with the other registers at most {expected:#x}")]
    Register {
        /// Its name.
        name: String,
        /// What it would hold.
        expected: u64,
        /// What it holds.
        found: u64,
    },
    /// Something that no register shows.
    #[error("the CSRs hold bits that no register shows")]
    Hidden,
}

impl CsrFile {
    /// Checks that this can be the file of hart `hart` of a machine with CPUs like `config`.
    pub fn check(&self, config: &CpuConfig, hart: u64) -> Result<(), CsrError> {
        if self.config != *config {
            return Err(CsrError::Config);
        }
        if self.mhartid != hart {
            return Err(CsrError::Hart { expected: hart, found: self.mhartid });
        }
        let legal = self.rewritten();
        if legal == *self {
            return Ok(());
        }
        let env = CsrEnv::default();
        let differs = rows().iter().map(|row| (row, row.cell.read(&legal, &env), row.cell.read(self, &env)));
        let first = differs.into_iter().find(|&(_, expected, found)| expected != found);
        Err(first.map_or(CsrError::Hidden, |(row, expected, found)| CsrError::Register {
            name: row.name.to_string(),
            expected,
            found,
        }))
    }

    /// What becomes of a fresh file into which all that this one shows is written.
    fn rewritten(&self) -> CsrFile {
        let env = CsrEnv::default();
        let mut file = CsrFile::new(&self.config, self.mhartid);
        // Before `menvcfg` may put `stimecmp` in force, which hides what software left in STIP.
        file.write_mip(self.mip);
        let pending = file.mip;
        // From the end on, where the addresses of PMP are, which its configuration may lock.
        let own = rows().iter().rev().filter(|row| self.present(row.gate) && !is_view(row.num));
        own.for_each(|row| _ = row.cell.write(&mut file, row.cell.read(self, &env), &env));
        // Last, since a write of FP registers marks them as changed.
        file.write_mstatus(self.mstatus);
        CsrFile { prv: self.prv, mip: pending, mcycle: self.mcycle, minstret: self.minstret, ..file }
    }
}

/// Registers that show part of others, and the counts, of which every value is legal.
fn is_view(num: u16) -> bool {
    const SSTATUS: u16 = 0x100;
    const SIE: u16 = 0x104;
    const SIP: u16 = 0x144;
    const MSTATUS: u16 = 0x300;
    const MCOUNTINHIBIT: u16 = 0x320;
    const MCYCLE: u16 = 0xb00;
    const MINSTRET: u16 = 0xb02;
    let views = [SSTATUS, SIE, SIP, MSTATUS, MCOUNTINHIBIT, table::MIP, MCYCLE, MINSTRET];
    views.contains(&num)
}
