//! What `--stats`, `--stats-file` and SIGUSR1 tell, held against what the guest did.

mod common;

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::{Files, RAM, kill, read, run, vm_boot, wait, word};
use serde_json::Value;

/// Two million instructions in a loop with a store, a call that traps, and the end.
const GUEST: &str = "
        la   t0, trap
        csrw mtvec, t0
        la   t1, data
        li   t2, 500000
    1:  sd   t2, 0(t1)
        addi t2, t2, -1
        addi t3, t3, 1
        bnez t2, 1b
        ecall
    .align 4
    trap:
        li   t0, 0x100000
        li   t1, 0x5555
        sw   t1, 0(t0)
    2:  wfi
        j    2b
    .align 6
    .zero 64
    data: .zero 8";

fn figures(files: &Files, jit: &str) -> (Value, String) {
    let (kernel, file) = (files.program("guest", RAM, GUEST), word(&files.path("stats.json")));
    let fixed =
        ["run", "--mode", "m", "--memory", "8M", "--kernel", &kernel, "--stats", "--stats-file", &file];
    let (code, out, err) = read(&run(&[&fixed[..], &["--jit", jit]].concat()));
    assert_eq!((code, out.as_str()), (Some(0), ""), "{err}");
    (serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap(), err)
}

fn number(of: &Value, path: &str) -> u64 {
    let value = of.pointer(path).unwrap_or_else(|| panic!("{path} is missing in {of:#}"));
    value.as_u64().unwrap_or_else(|| panic!("{path} is {value}"))
}

#[test]
fn figures_are_what_the_guest_did() {
    let (all, table) = figures(&Files::new(), "on,threshold=100,quick=off,wait=on");
    let hart = &all["harts"][0];
    assert_eq!(all["harts"].as_array().unwrap().len(), 1);
    let instructions = number(hart, "/instructions");
    assert!((2_000_000..2_100_000).contains(&instructions), "{instructions}");
    assert_eq!(number(hart, "/compiled") + number(hart, "/interpreted"), instructions);
    assert!(number(hart, "/compiled") > 1_900_000, "{hart:#}");
    assert_eq!(number(hart, "/exceptions/ecall_m"), 1);
    assert!(number(hart, "/device_accesses") > 0, "{hart:#}");
    assert!(number(hart, "/entries") > 0, "{hart:#}");
    let left: u64 = hart["leaves"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum();
    assert_eq!(left, number(hart, "/entries"));
    assert!(number(&all, "/compiler/regions") > 0);
    assert_eq!(number(&all, "/memory/guest"), 8 << 20);
    for zone in ["short", "long", "stable"] {
        let [size, used, max, free] =
            ["size", "used", "max_used", "free"].map(|name| number(&all, &format!("/cache/{zone}/{name}")));
        assert!(size > 0 && used + free == size && (used..=size).contains(&max), "{zone}");
    }
    for name in ["uptime_ns", "cold_start_ns", "cpu_ns", "cache/pauses/p999", "cache/regretted_bytes"] {
        number(&all, &format!("/{name}"));
    }
    for subject in ["machine", "instructions", "exceptions", "compiler", "queue", "zone long", "pauses"] {
        assert!(table.lines().any(|line| line.starts_with(subject)), "{subject}: {table}");
    }
}

#[test]
fn without_a_compiler_all_is_interpreted() {
    let (all, table) = figures(&Files::new(), "off");
    assert_eq!(number(&all, "/harts/0/compiled"), 0);
    assert!(all["compiler"].is_null() && all["cache"].is_null());
    assert!(table.contains("compiler     off"), "{table}");
}

#[test]
fn a_signal_asks_for_the_figures_of_now() {
    let files = Files::new();
    let (kernel, file) = (files.program("guest", RAM, "1: addi t0, t0, 1\n j 1b"), files.path("stats.json"));
    let mut command = vm_boot();
    command.args(["run", "--mode", "m", "--memory", "8M", "--kernel", &kernel, "--stats", "--stats-file"]);
    command.arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    let start = Instant::now();
    // It listens for the signal from some moment on; before that it would end by it.
    while !listens(child.id()) {
        assert!(start.elapsed() < Duration::from_secs(30), "it never listened for the signal");
        std::thread::sleep(Duration::from_millis(10));
    }
    let (mut before, mut grown) = (0, 0);
    while grown < 2 {
        kill(child.id(), "USR1");
        let line = said.by_ref().map(Result::unwrap).find(|line| line.starts_with("instructions"));
        assert!(line.is_some(), "a table");
        let all: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        let now = number(&all, "/harts/0/instructions");
        // It may listen before its hart has begun.
        grown += u32::from(now > before);
        assert!(start.elapsed() < Duration::from_secs(60), "{now} after {before}: the guest goes on");
        before = now;
    }
    kill(child.id(), "TERM");
    assert_eq!(wait(&mut child).code(), Some(143));
}

/// Whether a process catches SIGUSR1.
fn listens(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    caught.is_some_and(|mask| u64::from_str_radix(mask.trim(), 16).is_ok_and(|mask| mask >> 9 & 1 == 1))
}

#[test]
fn a_place_that_takes_no_figures_is_named() {
    let files = Files::new();
    let kernel = files.program("guest", RAM, GUEST);
    let nowhere = word(&files.path("no/where"));
    let (code, _, err) =
        read(&run(&["run", "--mode", "m", "--memory", "8M", "--kernel", &kernel, "--stats-file", &nowhere]));
    assert_eq!(code, Some(1));
    assert!(err.contains("--stats-file") && err.contains("no/where"), "{err}");
}
