//! Any file as a device tree: it is refused with a message, or what the guest gets is a tree that is taken again
//! and stays as it is.
//!
//! ```text
//!  0 shape   then the file itself, or what is different in the machine's own tree
//! ```

use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use tempfile::TempPath;
use vm_boot::cli::DemoArgs;
use vm_boot::config::MachineConfig;
use vm_boot::console::{Console, Consoles};
use vm_boot::runtime::{Runtime, RuntimeError};

use super::{Input, check_message, file};

/// Nothing at all, and the machine's own tree.
pub const SEEDS: &[&[u8]] = &[&[0], &[1]];

/// A machine that takes its tree from a file.
struct Machine {
    runtime: Runtime,
    path: TempPath,
}

impl Machine {
    fn new(own: bool) -> Machine {
        let path = file(b"").into_temp_path();
        let config = MachineConfig::demo(DemoArgs::default()).expect("the demo is a machine");
        let dtb = (!own).then(|| path.to_path_buf());
        let serial = Arc::new(Console::new(Box::new(std::io::sink())).expect("the host has threads"));
        let consoles = Consoles { serial, virtio: None };
        let runtime = Runtime::new(MachineConfig { dtb, ..config }, consoles).expect("a small machine");
        Machine { runtime, path }
    }

    /// What the guest would get in place of `tree`.
    fn pass(&self, tree: &[u8]) -> Result<Vec<u8>, RuntimeError> {
        std::fs::write(&self.path, tree).expect("the host has room for a file");
        self.runtime.device_tree()
    }
}

static MACHINE: LazyLock<Mutex<Machine>> = LazyLock::new(|| Mutex::new(Machine::new(false)));
static OWN_TREE: LazyLock<Vec<u8>> =
    LazyLock::new(|| Machine::new(true).runtime.device_tree().expect("a machine describes itself"));

/// The target.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let bytes = if input.byte() & 1 == 0 { input.rest().to_vec() } else { input.damage(OWN_TREE.clone()) };
    // After a panic the machine is as good as before: it holds nothing between two passes.
    let machine = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
    match machine.pass(&bytes) {
        Ok(tree) => {
            let again =
                machine.pass(&tree).unwrap_or_else(|error| panic!("a tree of ours is refused: {error}"));
            assert!(again == tree, "a tree of ours changes when it is taken again");
        }
        Err(error) => check_message(&error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_own_tree_is_taken() {
        assert!(MACHINE.lock().expect("no panic").pass(&OWN_TREE).is_ok());
    }
}
