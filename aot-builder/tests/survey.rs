//! What may run is found on a disk as in a folder, and a disk that lies is refused by name.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

/// An ELF program for RISC-V: `addi a0, a0, -1; bnez a0, -4; ret` at 0x10100.
fn program() -> Vec<u8> {
    let code: Vec<u8> =
        [0xfff5_0513u32, 0xfe05_1ee3, 0x0000_8067].iter().flat_map(|w| w.to_le_bytes()).collect();
    let names = b"\0.text\0.names\0";
    let (text, strings, sections) = (0x100u64, 0x10cu64, 0x120u64);
    let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
    elf.resize(16, 0);
    for half in [2u16, 243] {
        elf.extend(half.to_le_bytes());
    }
    elf.extend(1u32.to_le_bytes());
    for word in [0x10100, 0, sections] {
        elf.extend(word.to_le_bytes());
    }
    elf.extend(0u32.to_le_bytes());
    for half in [64u16, 0, 0, 64, 3, 2] {
        elf.extend(half.to_le_bytes());
    }
    elf.resize(text as usize, 0);
    elf.extend(code);
    elf.extend(names);
    elf.resize(sections as usize + 64, 0);
    let mut section = |name: u32, kind: u32, flags: u64, address: u64, at: u64, len: u64| {
        elf.extend([name, kind].iter().flat_map(|word| word.to_le_bytes()));
        elf.extend([flags, address, at, len, 0, 4, 0].iter().flat_map(|word| word.to_le_bytes()));
    };
    section(1, 1, 6, 0x10100, text, 12);
    section(7, 3, 0, 0, strings, names.len() as u64);
    elf
}

fn rootfs(source: &Path, profile: &Path) -> Output {
    let program = env!("CARGO_BIN_EXE_aot-builder");
    Command::new(program).arg("rootfs").arg(source).arg("-o").arg(profile).output().unwrap()
}

/// A folder with programs, and a disk with the same.
fn folder_and_disk() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    fs::create_dir_all(root.join("usr/bin")).unwrap();
    fs::write(root.join("usr/bin/count"), program()).unwrap();
    fs::write(root.join("usr/bin/text"), "no program").unwrap();
    std::os::unix::fs::symlink("usr/bin", root.join("bin")).unwrap();
    let path = format!("{}:/sbin:/usr/sbin", std::env::var("PATH").unwrap_or_default());
    let mut make = Command::new("mke2fs");
    make.env("PATH", path).args(["-q", "-t", "ext4", "-b", "1024", "-d"]).arg(&root);
    let made = make.arg(dir.path().join("disk")).arg("512").output();
    let made = made.expect("mke2fs, of Debian's package e2fsprogs");
    assert!(made.status.success(), "mke2fs: {}", String::from_utf8_lossy(&made.stderr));
    dir
}

#[test]
fn a_disk_has_what_a_folder_has() {
    let dir = folder_and_disk();
    let profiles = ["root", "disk"].map(|source| {
        let profile = dir.path().join("profile");
        let output = rootfs(&dir.path().join(source), &profile);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(String::from_utf8_lossy(&output.stdout).contains("1 files, 1 pages of code, 2 blocks"));
        fs::read(profile).unwrap()
    });
    assert_eq!(profiles[0], profiles[1]);
}

#[test]
fn a_disk_that_is_damaged_is_refused_or_read_and_nothing_panics() {
    let dir = folder_and_disk();
    let whole = fs::read(dir.path().join("disk")).unwrap();
    let (broken, profile) = (dir.path().join("broken"), dir.path().join("profile"));
    let (mut refused, mut places) = (0, (1024..1024 + 264).step_by(4).collect::<Vec<usize>>());
    places.extend((2048..2048 + 64).step_by(4));
    for at in places {
        let mut bytes = whole.clone();
        bytes[at] ^= 0xff;
        fs::write(&broken, &bytes).unwrap();
        let output = rootfs(&broken, &profile);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(matches!(output.status.code(), Some(0 | 1)), "byte {at}: {said}");
        if !output.status.success() {
            assert!(said.contains("broken: "), "byte {at}: {said}");
            refused += 1;
        }
    }
    assert!(refused > 10, "{refused} of them were refused");
    for len in [1082, 4096, 65536, whole.len() / 2] {
        fs::write(&broken, &whole[..len]).unwrap();
        let output = rootfs(&broken, &profile);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(matches!(output.status.code(), Some(0 | 1)), "{len} bytes: {said}");
    }
}
