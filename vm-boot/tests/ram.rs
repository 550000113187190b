//! Guest memory on the host: at once, when touched, in a file; and what is touched first after a restore.

mod common;

use std::path::Path;
use std::time::{Duration, Instant};

use common::{Files, KERNEL, read, run, run_with_input, word};

/// Stores to a page in the middle of memory, prints a line, and ends with the next typed byte.
const GUEST: &str = "
        li   t0, 0x80800000
        sd   t0, 0(t0)
        li   s0, 0x10000000
        li   t0, 0x0a6f68
    1:  sb   t0, 0(s0)
        srli t0, t0, 8
        bnez t0, 1b
    2:  lb   t1, 5(s0)
        andi t1, t1, 1
        beqz t1, 2b
        lbu  a0, 0(s0)
        li   t0, 0x100000
        li   t1, 0x3333
        slli a0, a0, 16
        or   t1, t1, a0
        sw   t1, 0(t0)
    3:  j    3b";

/// Runs it to its end; gives its region of memory in the figures.
fn region(command: &[&str], more: &[&str], files: &Files) -> serde_json::Value {
    let figures = word(&files.path("figures"));
    let words = [command, more, &["--stats-file", &figures]].concat();
    let (code, _, err) = read(&run_with_input(&words, b"\x07"));
    assert_eq!(code, Some(7), "{words:?}: {err}");
    let all: serde_json::Value = serde_json::from_slice(&std::fs::read(figures).unwrap()).unwrap();
    assert!(all["memory"]["minor_faults"].as_u64().unwrap() > 100);
    all["memory"]["regions"][0].clone()
}

fn bytes(region: &serde_json::Value, name: &str) -> u64 {
    region[name].as_u64().unwrap()
}

#[test]
fn memory_is_taken_as_asked_for() {
    let files = Files::new();
    let kernel = files.program("guest", KERNEL, GUEST);
    let command = ["run", "--mode", "s", "--memory", "64M", "--kernel", &kernel];
    let lazy = region(&command, &["--ram", "lazy,huge=off"], &files);
    assert_eq!((lazy["backend"].as_str(), bytes(&lazy, "size")), (Some("linear"), 64 << 20));
    assert!(bytes(&lazy, "resident") < 1 << 20, "{lazy}");
    for eager in ["eager", "eager,threads=3,huge=off"] {
        let eager = region(&command, &["--ram", eager], &files);
        assert_eq!(bytes(&eager, "resident"), 64 << 20, "{eager}");
    }
    let dir = format!("file={}", word(files.path("x").parent().unwrap()));
    for file in ["file", &dir] {
        let file = region(&command, &["--ram", file, "--ksm"], &files);
        assert_eq!(file["backend"], "file_shared");
        assert!(bytes(&file, "touched") < 1 << 20 && bytes(&file, "faults") > 0, "{file}");
    }
    let (code, _, err) = read(&run(&[&command[..], &["--ram", "file=/nowhere"]].concat()));
    assert_eq!((code, err.contains("--ram file: a temporary file")), (Some(1), true), "{err}");
}

#[test]
fn a_restored_machine_has_its_memory_in_the_snapshot() {
    let files = Files::new();
    let kernel = files.program("guest", KERNEL, GUEST);
    let dir = word(&files.path("snap"));
    // Saved from a file, too.
    for from in ["lazy", "file"] {
        let command = ["run", "--mode", "s", "--memory", "64M", "--kernel", &kernel, "--ram", from];
        let (code, _, err) =
            read(&run(&[&command[..], &["--snapshot-on", "ho\n", "--snapshot-dir", &dir]].concat()));
        assert_eq!(code, Some(0), "{err}");
        let restored = region(&["restore", &dir], &[], &files);
        assert_eq!(restored["backend"], "file_private");
        assert!(bytes(&restored, "touched") < 1 << 20, "{restored}");
        let eager = region(&["restore", &dir], &["--ram", "eager"], &files);
        assert_eq!(bytes(&eager, "resident"), 64 << 20, "{eager}");
    }
    let (code, _, err) = read(&run(&["restore", &dir, "--ram", "file"]));
    assert_eq!((code, err.contains("--ram file: a machine that goes on")), (Some(1), true), "{err}");
}

#[test]
fn what_is_touched_first_is_noted_once() {
    let files = Files::new();
    let kernel = files.program("guest", KERNEL, GUEST);
    let dir = word(&files.path("snap"));
    let command = ["run", "--mode", "s", "--memory", "64M", "--kernel", &kernel];
    let (code, _, err) =
        read(&run(&[&command[..], &["--snapshot-on", "ho\n", "--snapshot-dir", &dir]].concat()));
    assert_eq!(code, Some(0), "{err}");
    let noted = Path::new(&dir).join("working-set");
    let mut running = common::vm_boot();
    let running = running.args(["restore", &dir]).stdin(std::process::Stdio::piped());
    let mut child = running.spawn().unwrap();
    let start = Instant::now();
    while !noted.exists() {
        assert!(start.elapsed() < Duration::from_secs(60), "nothing is noted");
        std::thread::sleep(Duration::from_millis(10));
    }
    common::kill(child.id(), "TERM");
    common::wait(&mut child);
    let set = std::fs::read(&noted).unwrap();
    for bytes in [set, b"broken".to_vec()] {
        std::fs::write(&noted, &bytes).unwrap();
        let (code, _, err) = read(&run_with_input(&["restore", &dir], b"\x05"));
        assert_eq!(code, Some(5), "{err}");
        assert!(std::fs::read(&noted).unwrap() == bytes, "noted again");
    }
    let (code, out, _) = read(&run(&["snapshot", "verify", &dir]));
    assert_eq!((code, out.contains("whole")), (Some(0), true));
}
