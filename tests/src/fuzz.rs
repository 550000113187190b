//! Bodies of the fuzz targets: each takes any bytes, makes its subject do something with them, and panics if what
//! it did is not what must hold.
//!
//! `tests/fuzz` is a thin shell around them for libFuzzer, which wants a nightly compiler; `tests/tests/fuzz.rs`
//! runs them on a stable one over a few thousand inputs, so that they stay true. The target `virtqueue` is of the
//! same kind and lives beside its subject (`vm_devices::testing::garbage`), with its own property test.
//!
//! **Invariant:** a body depends on its bytes alone, so that an input that was found can be kept as a test.

pub mod aot;
pub mod blocks;
pub mod config;
pub mod decode;
pub mod loader;
pub mod tree;
pub mod walk;

use std::io::Write;

use tempfile::NamedTempFile;

/// A target.
pub struct Target {
    /// Its name, which is also that of its file in `tests/fuzz/fuzz_targets`.
    pub name: &'static str,
    /// Its body.
    pub run: fn(&[u8]),
    /// Inputs that get far, to begin with.
    pub seeds: &'static [&'static [u8]],
}

/// Those whose bodies are here.
pub const TARGETS: &[Target] = &[
    Target { name: "aot", run: aot::run, seeds: aot::SEEDS },
    Target { name: "blocks", run: blocks::run, seeds: &[] },
    Target { name: "config", run: config::run, seeds: config::SEEDS },
    Target { name: "decode", run: decode::run, seeds: &[] },
    Target { name: "loader", run: loader::run, seeds: loader::SEEDS },
    Target { name: "tree", run: tree::run, seeds: tree::SEEDS },
    Target { name: "walk", run: walk::run, seeds: &[] },
];

/// The bytes, read as numbers; they end with zeros.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    /// A number of so many bytes.
    fn number<const BYTES: usize>(&mut self) -> u64 {
        (0..BYTES).fold(0, |number, _| number << 8 | u64::from(self.byte()))
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::from(self.byte()) % limit
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// All that is left.
    fn rest(self) -> &'a [u8] {
        self.0
    }

    /// A well-formed file with the changes that the rest of the input says: where it ends, then bytes and places.
    fn damage(mut self, mut file: Vec<u8>) -> Vec<u8> {
        let end = self.number::<2>() as usize;
        if end != 0 {
            file.truncate(end % (file.len() + 1));
        }
        while !self.is_empty() && !file.is_empty() {
            let at = self.number::<2>() as usize % file.len();
            file[at] = self.byte();
        }
        file
    }
}

/// A file with these bytes.
fn file(bytes: &[u8]) -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("the host has room for a file");
    file.write_all(bytes).expect("the host has room for a file");
    file
}

/// An error must say something, in one paragraph.
fn check_message(error: &dyn std::error::Error) {
    let message = error.to_string();
    assert!(message.len() > 10 && !message.contains("\n\n"), "{message:?}");
}
