//! `--snapshot-on`, `restore` and `snapshot`, as a user has them.

mod common;

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use common::{Files, KERNEL, read, run, run_with_input, word};

/// Prints `ready`, then answers each typed line with `ok`; `q` (113) ends it with 7. Hart 0 alone, in S-mode.
const ECHO: &str = "
        li   s0, 0x10000000
        la   s1, text
        call print
    1:  lb   t1, 5(s0)
        andi t1, t1, 1
        beqz t1, 1b
        lbu  t0, 0(s0)
        li   t1, 113
        beq  t0, t1, end
        li   t1, 10
        bne  t0, t1, 1b
        la   s1, answer
        call print
        j    1b
    end:
        li   t0, 0x100000
        li   t1, 0x73333
        sw   t1, 0(t0)
    2:  j    2b
    print:
        lb   t0, 0(s1)
        beqz t0, 3f
        sb   t0, 0(s0)
        addi s1, s1, 1
        j    print
    3:  ret
        .align 8
    text: .dword 0x0a7964616572
    answer: .dword 0x0a6b6f";

/// Saves the guest at its first line; gives the snapshot's name.
fn saved(files: &Files, extra: &[&str]) -> String {
    let kernel = files.program("guest", KERNEL, ECHO);
    let dir = word(&files.path("snap"));
    let args = ["run", "--mode", "s", "--memory", "16M", "--kernel", &kernel];
    let snapshot = ["--snapshot-on", "ready\n", "--snapshot-dir", &dir];
    let (code, out, err) = read(&run(&[&args[..], &snapshot, extra].concat()));
    assert_eq!((code, out.as_str()), (Some(0), "ready\n"), "{err}");
    dir
}

/// Checks that `restore` ends with 1 and starts nothing, and what it says.
fn refused(dir: &str, extra: &[&str], parts: &[&str]) {
    let (code, out, err) = read(&run(&[&["restore", dir][..], extra].concat()));
    assert_eq!((code, out.as_str()), (Some(1), ""), "{err}");
    for part in parts {
        assert!(err.contains(part), "expected {part:?} in {err:?}");
    }
    assert!(!err.contains("panicked"), "{err}");
}

#[test]
fn a_guest_saved_at_its_first_line_answers_again_and_again() {
    let files = Files::new();
    let dir = saved(&files, &[]);
    for jit in ["on", "off", "on,threshold=1,quick=1"] {
        let args = ["restore", &dir, "--jit", jit];
        let (code, out, err) = read(&run_with_input(&args, b"one\ntwo\nq"));
        assert_eq!((code, out.as_str()), (Some(7), "ok\nok\n"), "{jit}: {err}");
    }
    let (code, out, _) = read(&run(&["snapshot", "list", &word(files.path("snap").parent().unwrap())]));
    assert_eq!(code, Some(0));
    assert!(out.lines().nth(1).is_some_and(|line| line.contains("snap") && line.ends_with("whole")), "{out}");
    let (code, out, _) = read(&run(&["snapshot", "inspect", &dir]));
    assert_eq!(code, Some(0));
    for part in ["memory   16 MiB", "harts    1", "guest", "device   plic@c000000", "ram      sealed"] {
        assert!(out.contains(part), "{out}");
    }
    let (code, out, _) = read(&run(&["snapshot", "verify", &dir]));
    assert_eq!((code, out.contains("whole")), (Some(0), true), "{out}");
}

#[test]
fn what_is_damaged_foreign_or_gone_is_refused_by_name() {
    let files = Files::new();
    let dir = saved(&files, &[]);
    let path = |name: &str| Path::new(&dir).join(name);
    let flip = |name: &str, at: u64| {
        let file = File::options().read(true).write(true).open(path(name)).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 4], at).unwrap();
    };
    let state = fs::read(path("state")).unwrap();
    for (at, part) in [
        (0, "header: is no snapshot of vm-boot"),
        (8, "newer vm-boot: it has format 5, this one reads up to 2"),
        (12, "header: is damaged"),
        (20, "header: is damaged"),
        (70, "header: is damaged"),
        (48 + 5 * 64, "machine: is damaged"),
        (state.len() as u64 - 1, "disks: is damaged"),
    ] {
        flip("state", at);
        refused(&dir, &[], &["snap", part]);
        fs::write(path("state"), &state).unwrap();
    }
    fs::write(path("state"), &state[..state.len() - 9]).unwrap();
    refused(&dir, &[], &["memory: is damaged: expected", "bytes, found"]);
    fs::write(path("state"), &state).unwrap();
    // Memory: in a page that is there, in one that is not, at the end.
    for at in [0x20_0001, 0x90_0000, (16 << 20) - 1] {
        flip("ram", at);
        refused(&dir, &[], &["ram: is damaged: the pages from 0x80"]);
        let (code, _, err) = read(&run(&["snapshot", "verify", &dir]));
        assert_eq!((code, err.contains("ram: is damaged")), (Some(1), true), "{err}");
        flip("ram", at);
    }
    File::options().write(true).open(path("ram")).unwrap().set_len(8 << 20).unwrap();
    refused(&dir, &[], &["ram: is damaged: expected 16777216 bytes, found 8388608"]);
    fs::remove_file(path("ram")).unwrap();
    refused(&dir, &[], &["ram: is missing"]);
    fs::remove_file(path("state")).unwrap();
    refused(&dir, &[], &["state: is missing"]);
    fs::write(path("state"), "#!/bin/sh").unwrap();
    refused(&dir, &[], &["header: is no snapshot of vm-boot: expected the mark VMBSNAP"]);
}

#[test]
fn another_snapshots_memory_is_refused() {
    let (files, others) = (Files::new(), Files::new());
    let (dir, other) = (saved(&files, &[]), saved(&others, &["--append", "console=none", "--cpus", "2"]));
    fs::copy(Path::new(&other).join("ram"), Path::new(&dir).join("ram")).unwrap();
    fs::copy(Path::new(&other).join("seal"), Path::new(&dir).join("seal")).unwrap();
    refused(&dir, &[], &["ram: is damaged"]);
    fs::copy(Path::new(&other).join("state"), Path::new(&dir).join("state")).unwrap();
    // All three together are the other one, which needs checking once.
    let (code, out, err) = read(&run_with_input(&["restore", &dir], b"\nq"));
    assert_eq!((code, out.as_str()), (Some(7), "ok\n"), "{err}");
}

#[test]
fn another_machine_than_the_saved_one_is_refused() {
    let files = Files::new();
    let disk = files.write("disk", [7; 4096]);
    let dir = saved(&files, &["--disk", &disk]);
    refused(&dir, &["--memory", "32M"], &["memory: does not fit: expected 33554432, found 16777216"]);
    refused(&dir, &["--cpus", "2"], &["cpus: does not fit: expected 2, found 1"]);
    refused(&dir, &["--cpu", "rva22"], &["cpu: does not fit"]);
    refused(&dir, &["--disk", "x", "--disk", "y"], &["disks: does not fit: expected 2, found 1"]);
    refused(&dir, &["--disk", "nowhere"], &["disk nowhere: cannot be read"]);
    refused(&dir, &["--disk", &format!("file={disk},id=other")], &["does not fit: expected id other"]);
    refused(&dir, &["--virtio-console", "pty"], &["devices: does not fit"]);
    let moved = word(&files.path("moved"));
    let status = std::process::Command::new("cp").args(["-p", &disk, &moved]).status().unwrap();
    assert!(status.success());
    fs::write(&disk, [8; 4096]).unwrap();
    refused(&dir, &[], &["disk", "has been written to since the snapshot was taken"]);
    fs::write(&disk, [8; 8192]).unwrap();
    refused(&dir, &[], &["is damaged: expected 4096 bytes, found 8192"]);
    let (code, out, err) = read(&run_with_input(&["restore", &dir, "--disk", &moved], b"\nq"));
    assert_eq!((code, out.as_str()), (Some(7), "ok\n"), "{err}");
}

#[test]
fn clones_have_consoles_of_their_own_and_leave_the_disk_alone() {
    let files = Files::new();
    let disk = files.write("disk", [7; 4096]);
    let dir = saved(&files, &["--disk", &format!("file={disk},overlay")]);
    let (code, out, err) = read(&run_with_input(&["restore", &dir, "--clone", "1"], b"\nq"));
    assert_eq!((code, out.as_str()), (Some(7), "ok\n"), "{err}");
    // Three at once, each on a pseudo-terminal that it tells.
    let mut command = common::vm_boot();
    let command = command.args(["restore", &dir, "--clone", "3", "--serial", "pty"]);
    let mut all = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
    let mut said = std::io::BufRead::lines(std::io::BufReader::new(all.stderr.take().unwrap()));
    for _ in 0..3 {
        let line = said.next().unwrap().unwrap();
        let (clone, path) = line.split_once(": console on ").unwrap();
        assert!(clone.starts_with("vm-boot: clone "), "{line}");
        let mut console = File::options().read(true).write(true).open(path).unwrap();
        std::io::Write::write_all(&mut console, b"\nq").unwrap();
    }
    assert_eq!(common::wait(&mut all).code(), Some(7));
    let (code, _, err) = read(&run(&["restore", &dir, "--clone", "0"]));
    assert_eq!((code, err.contains("--clone")), (Some(2), true), "{err}");
}

#[test]
fn a_save_that_fails_ends_with_its_reason() {
    let files = Files::new();
    let kernel = files.program("guest", KERNEL, ECHO);
    let occupied = files.write("letter", "dear");
    let args = ["run", "--mode", "s", "--memory", "16M", "--kernel", &kernel];
    let (code, _, err) =
        read(&run(&[&args[..], &["--snapshot-on", "ready", "--snapshot-dir", &occupied]].concat()));
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("letter: expected a snapshot to replace"), "{err}");
    let (code, _, err) = read(&run(&[&args[..], &["--snapshot-on", ""]].concat()));
    assert_eq!((code, err.contains("--snapshot-on: expected a text")), (Some(2), true), "{err}");
}
