//! The number of what code made ahead takes for granted of the program that runs it: where the hart keeps what,
//! in which order words and helpers are, and what they do.
//!
//! It follows from the sources and the compiler, whose hash the build script notes: so no field, helper or
//! meaning of an instruction can change and the number stay.

use crate::hart::Core;
use crate::jit::abi::Site;

/// See the module. The same for each program built from the same sources by the same compiler.
pub fn layout_hash() -> u64 {
    // What a flag of the compiler might change still.
    let sizes = (size_of::<Core>() as u64) << 32 | size_of::<Site>() as u64;
    let sources = u64::from_str_radix(env!("VM_SOURCES"), 16).unwrap_or_default();
    (sources ^ sizes).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};
    use std::{fs, io};

    include!("sources.rs");

    fn copy(from: &Path, to: &Path) -> io::Result<()> {
        if !from.is_dir() {
            return fs::copy(from, to).map(|_| ());
        }
        fs::create_dir_all(to)?;
        fs::read_dir(from)?.try_for_each(|entry| {
            let entry = entry?;
            copy(&entry.path(), &to.join(entry.file_name()))
        })
    }

    #[test]
    fn every_source_counts_and_its_place_does_not() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let dir = tempfile::tempdir().unwrap();
        for name in SOURCES {
            let to: PathBuf = dir.path().join(name);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            copy(&here.join(name), &to).unwrap();
        }
        let hash = |compiler| hash_of_sources(dir.path(), compiler).unwrap();
        let built = hash(b"rustc");
        assert_eq!(built, hash_of_sources(&here, b"rustc").unwrap());
        assert_ne!(built, hash(b"another"));
        let core = dir.path().join("vm-cpu/src/hart/core.rs");
        fs::write(&core, fs::read_to_string(&core).unwrap() + "//").unwrap();
        assert_ne!(built, hash(b"rustc"));
    }
}
