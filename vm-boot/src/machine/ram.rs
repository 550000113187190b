//! Guest memory on the host, as `--ram` and `--ksm` ask for it.

use vm_mmu::{Backend, Perm, Populate};

use super::{Machine, MachineError, temporary};
use crate::cli::RamFile;
use crate::config::MachineConfig;

/// Whether the host looks for equal pages at all.
const KSM: &str = "/sys/kernel/mm/ksm/run";

/// Memory of zeros.
pub(super) fn zeros(config: &MachineConfig) -> Result<Backend, MachineError> {
    let file = match &config.ram.file {
        None => return Ok(Backend::Linear { huge: config.ram.huge }),
        Some(RamFile::Usual) => temporary::file(),
        Some(RamFile::In(dir)) => temporary::file_in(dir),
    };
    let sized = file.and_then(|file| file.set_len(config.memory).map(|()| file));
    Ok(Backend::File { file: sized.map_err(MachineError::RamFile)?, offset: 0, shared: true })
}

impl Machine {
    /// Maps zeros where nothing is mapped.
    pub(super) fn map_zeros(&self) -> Result<(), MachineError> {
        Ok(self.memory.map(self.ram(), zeros(&self.config)?, Perm::RWX)?)
    }

    /// Does with memory that was just mapped or emptied what is to be done at once.
    pub(super) fn settle_memory(&self, what: Populate) -> Result<(), MachineError> {
        if self.config.ksm {
            if std::fs::read_to_string(KSM).is_ok_and(|run| run.trim() != "1") {
                tracing::warn!("--ksm: the host does not look for equal pages; {KSM} is not 1");
            }
            self.memory.merge_equal(&self.ram())?;
        }
        if let Some(threads) = self.config.ram.eager {
            self.memory.populate(&self.ram(), what, threads)?;
        }
        Ok(())
    }
}
