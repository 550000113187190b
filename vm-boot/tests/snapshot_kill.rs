//! Saves that are killed: the snapshot that was there is there still, or the new one is, whole.
//!
//! `SNAPSHOT_KILLS=1000 cargo test --release -p vm-boot --test snapshot_kill` is the long form.

mod common;

use std::fs;
use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::{Files, KERNEL, kill, read, run_with_input, vm_boot, wait, word};
use vm_boot::snapshot::Opened;
use vm_cpu::isa::asm::assemble;

/// Adds 1 to a word for each typed byte, after filling much of memory with it, and prints a line.
const COUNT: &str = "
        li   s0, 0x10000000
        la   s2, count
    1:  ld   t3, 0(s2)
        addi t3, t3, 1
        li   t0, 0x80400000
        li   t1, 0x80a00000
    2:  sd   t3, 0(t0)
        addi t0, t0, 64
        bltu t0, t1, 2b
        sd   t3, 0(s2)
        la   s1, text
    3:  lb   t0, 0(s1)
        beqz t0, 4f
        sb   t0, 0(s0)
        addi s1, s1, 1
        j    3b
    4:  lb   t1, 5(s0)
        andi t1, t1, 1
        beqz t1, 4b
        lbu  t0, 0(s0)
        j    1b
        .align 8
    text: .dword 0x0a746e756f63
    count: .dword 0";

/// The count in a snapshot, which must be whole.
fn count(dir: &str) -> u64 {
    let opened = Opened::open(dir.as_ref()).unwrap();
    opened.verify().unwrap();
    let label = assemble(KERNEL, COUNT).unwrap().label("count").unwrap();
    let mut word = [0; 8];
    let ram = opened.ram().file();
    let mut read = |at: u64| {
        std::os::unix::fs::FileExt::read_exact_at(ram, &mut word, at - common::RAM).unwrap();
        u64::from_le_bytes(word)
    };
    let count = read(label);
    // All of one moment.
    assert_eq!((read(0x8040_0000), read(0x809f_ffc0)), (count, count));
    count
}

/// Saves a guest that counts to `dir`, by the command `again`, which goes on from there; all but the first and the
/// last time it is killed.
fn kill_saves(dir: &str, again: &[&str]) {
    let kills: u32 = std::env::var("SNAPSHOT_KILLS").map_or(25, |kills| kills.parse().unwrap());
    let mut before = count(dir);
    // As long as a restore with its save takes here.
    let begun = Instant::now();
    let (mut saved, mut killed) = (0, 0);
    let mut longest = Duration::ZERO;
    for round in 0..=kills {
        let mut child = vm_boot()
            .args(again)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let begun_here = Instant::now();
        // It may end before it reads.
        let _ = child.stdin.take().unwrap().write_all(b"+");
        if round == 0 {
            wait(&mut child);
            longest = begun_here.elapsed();
        } else {
            // Every moment of a save, in an order that jumps about.
            std::thread::sleep(longest * (round * 7919 % 1000) / 1000);
            kill(child.id(), "KILL");
            wait(&mut child);
        }
        let now = count(dir);
        assert!(now == before || now == before + 1, "from {before} to {now}");
        if now == before {
            killed += 1
        } else {
            saved += 1
        }
        before = now;
    }
    assert!(killed > kills / 10, "{killed} of {kills} killed before the end in {:?}", begun.elapsed());
    // A save that runs to its end removes what the killed ones left.
    let mut last = vm_boot().args(again).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    last.stdin.take().unwrap().write_all(b"+").unwrap();
    assert!(wait(&mut last).success());
    assert_eq!(count(dir), before + 1);
    assert!(saved > 0);
}

/// Runs `command` with `keys` typed, to its end.
fn typed(command: &[&str], keys: &[u8]) {
    let (code, _, err) = read(&run_with_input(command, keys));
    assert_eq!(code, Some(0), "{err}");
}

/// Saves a guest that has counted to 1.
fn begin(kernel: &str, dir: &str) {
    let run = ["run", "--mode", "s", "--memory", "16M", "--kernel", kernel];
    typed(&[&run[..], &["--snapshot-on", "count\n", "--snapshot-dir", dir]].concat(), b"");
}

fn names(files: &Files) -> usize {
    fs::read_dir(files.path("")).unwrap().count()
}

#[test]
fn a_killed_save_leaves_a_whole_snapshot() {
    let files = Files::new();
    let kernel = files.program("guest", KERNEL, COUNT);
    let dir = word(&files.path("snap"));
    begin(&kernel, &dir);
    kill_saves(&dir, &["restore", &dir, "--snapshot-on", "count\n", "--snapshot-dir", &dir]);
    assert_eq!(names(&files), 2, "the kernel and the snapshot");
}

#[test]
fn a_killed_save_on_top_of_another_leaves_both_whole() {
    let files = Files::new();
    let kernel = files.program("guest", KERNEL, COUNT);
    let (base, dir) = (word(&files.path("base")), word(&files.path("snap")));
    begin(&kernel, &base);
    let on_base = ["--snapshot-on", "count\n", "--snapshot-dir", &dir, "--snapshot-base", &base];
    typed(&[&["restore", &base][..], &on_base].concat(), b"+");
    kill_saves(&dir, &[&["restore", &dir][..], &on_base].concat());
    assert_eq!(count(&base), 1);
    assert_eq!(names(&files), 3, "the kernel and two snapshots");
}
