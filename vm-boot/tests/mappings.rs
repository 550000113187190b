//! The mappings of a running machine: while code is compiled, published, swept and thrown away, no page is writable
//! and executable, and none of the code's memory is writable anywhere.

mod common;

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::{Files, RAM, kill, vm_boot, wait};

/// Writes functions one after the other over a MiB, calls each some hundred times, and begins anew with others.
const GUEST: &str = "
        li   s0, 0
    again:
        la   s1, room
        li   s2, 4096
    next:
        slli t0, s0, 20            # addi a0, a0, s0
        li   t1, 0x00050513
        or   t0, t0, t1
        sw   t0, 0(s1)
        li   t0, 0xfff58593        # addi a1, a1, -1
        sw   t0, 4(s1)
        li   t0, 0xfe059ce3        # bnez a1, -8
        sw   t0, 8(s1)
        li   t0, 0x00008067        # ret
        sw   t0, 12(s1)
        fence.i
        li   a1, 300
        jalr s1
        addi s1, s1, 256
        addi s2, s2, -1
        bnez s2, next
        addi s0, s0, 1
        andi s0, s0, 0x3ff
        j    again
    .align 12
    room:";

/// A line of `/proc/PID/maps`: permissions, and what is mapped.
fn mappings(pid: u32) -> Vec<(String, String)> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let parse = |line: &str| {
        let mut words = line.split_whitespace();
        let permissions = words.nth(1).unwrap().to_owned();
        (permissions, words.skip(3).collect::<Vec<_>>().join(" "))
    };
    maps.lines().map(parse).collect()
}

#[test]
fn nothing_is_writable_and_executable_while_code_comes_and_goes() {
    let files = Files::new();
    let kernel = files.program("guest", RAM, GUEST);
    let mut command = vm_boot();
    command.args(["run", "--mode", "m", "--memory", "8M", "--kernel", &kernel, "--serial", "none"]);
    command.args(["--jit", "on,threshold=50,short=1M,long=1M"]);
    let mut child = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let (start, mut arenas, mut looks) = (Instant::now(), BTreeSet::new(), 0);
    while start.elapsed() < Duration::from_secs(3) {
        let found = mappings(child.id());
        for (permissions, what) in &found {
            assert!(!(permissions.contains('w') && permissions.contains('x')), "{permissions} {what}");
            if permissions.contains('x') && what.contains("memfd") {
                arenas.insert(what.clone());
            }
        }
        for (permissions, what) in found {
            assert!(
                !(arenas.contains(&what) && permissions.contains('w')),
                "{permissions} {what}: an alias of code"
            );
        }
        looks += 1;
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(looks > 100 && arenas.len() == 1, "{looks} looks saw {arenas:?}");
    kill(child.id(), "TERM");
    wait(&mut child);
}
