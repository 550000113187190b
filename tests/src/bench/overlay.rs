//! The bench programs inside a guest: a second cpio archive appended to an initramfs, which the kernel unpacks over
//! the first. It brings `/bench/run` and the hook by which the initramfs runs it before its shell.

use super::programs::{Length, Target, build};
use crate::host::scratch;
use anyhow::{Context, Result};
use images::cpio::Archive;
use std::fs;
use std::path::{Path, PathBuf};

const HOOK: &str = "#!/bin/sh\n/bench/run\npoweroff -f\n";

/// What `/bench/run` prints before it starts a program.
pub const BEGIN: &str = "bench: begin ";

fn script(names: &[String], length: Length) -> String {
    let (mut text, how) = (String::from("#!/bin/sh\n"), length.argument());
    for name in names {
        text += &format!("echo '{BEGIN}{name}'\n/bench/{name} {how} || echo 'bench: {name} ended with' $?\n");
    }
    text
}

/// Writes `initramfs` with the programs appended, which run and then end the machine; gives the new file.
pub fn with_programs(initramfs: &Path, names: &[String], length: Length) -> Result<PathBuf> {
    let mut archive = beside(initramfs, names)?;
    archive.file("bench/run", 0o755, script(names, length).as_bytes())?;
    archive.file("etc/rc.local", 0o755, HOOK.as_bytes())?;
    written(archive, length.argument())
}

/// Writes `initramfs` with the programs in `/bench`, which its shell may run; gives the new file.
pub fn for_shell(initramfs: &Path, names: &[String]) -> Result<PathBuf> {
    written(beside(initramfs, names)?, "shell")
}

fn beside(initramfs: &Path, names: &[String]) -> Result<Archive<Vec<u8>>> {
    let mut bytes = fs::read(initramfs).with_context(|| initramfs.display().to_string())?;
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    let mut archive = Archive::new(bytes);
    archive.directory("bench")?;
    for name in names {
        archive.file(&format!("bench/{name}"), 0o755, &fs::read(build(name, Target::Guest)?)?)?;
    }
    Ok(archive)
}

fn written(archive: Archive<Vec<u8>>, name: &str) -> Result<PathBuf> {
    let out = scratch("bench").join(format!("{name}.cpio"));
    fs::write(&out, archive.finish()?)?;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_announces_each_program() {
        let text = script(&["list".into(), "fork".into()], Length::Quick);
        assert!(text.contains("echo 'bench: begin list'\n/bench/list quick ||"), "{text}");
        assert!(text.find("begin list") < text.find("begin fork"));
    }
}
