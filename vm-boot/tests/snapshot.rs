//! Machines are saved and go on: in another process's place, in their own, and after a reset.

mod common;

use std::io::sink;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Files, RAM};
use vm_boot::cli::{DemoArgs, Mode};
use vm_boot::config::MachineConfig;
use vm_boot::console::{Console, Consoles};
use vm_boot::loader::{Blob, Payload};
use vm_boot::runtime::{Command, Event, Runtime, RuntimeError, State};
use vm_boot::snapshot::{Asked, Opened, Refusal, SaveError};
use vm_cpu::isa::asm::assemble;

const LIMIT: Duration = Duration::from_secs(60);
/// Engines that a machine is saved and restored in.
const ENGINES: [&str; 2] = ["off", "on,threshold=20,quick=1"];

/// Each hart counts in a register and stores the count at its place, for ever.
const COUNT: &str = "
        la   t0, counts
        slli t1, a0, 3
        add  t0, t0, t1
    1:  addi s0, s0, 1
        sd   s0, 0(t0)
        j    1b
        .align 8
    counts: .dword 0, 0, 0, 0";

fn consoles() -> Consoles {
    Consoles { serial: Arc::new(Console::new(Box::new(sink())).unwrap()), virtio: None }
}

fn config(files: &Files, source: &str, cpus: usize, jit: &str) -> MachineConfig {
    let kernel = Some(Blob::File(files.program("guest", RAM, source).into()));
    let payload = Payload { kernel, initrd: None, firmware: None, mode: Mode::M };
    let jit = jit.parse::<vm_boot::cli::value::Jit>().unwrap().0;
    MachineConfig { payload, cpus, jit, ..MachineConfig::demo(DemoArgs::default()).unwrap() }
}

fn started(config: MachineConfig) -> Runtime {
    let mut runtime = Runtime::new(config, consoles()).unwrap();
    runtime.start().unwrap();
    runtime
}

fn restored(dir: &Path, jit: &str) -> Runtime {
    let opened = Opened::open(dir).unwrap();
    let jit = jit.parse::<vm_boot::cli::value::Jit>().unwrap().0;
    let config = MachineConfig { jit, ..opened.config(&Asked::default()).unwrap() };
    let mut runtime = Runtime::new(config, consoles()).unwrap();
    runtime.restore(&opened).unwrap();
    runtime
}

fn word(runtime: &Runtime, source: &str, label: &str, at: usize) -> u64 {
    let place = assemble(RAM, source).unwrap().label(label).unwrap() + 8 * at as u64;
    runtime.machine().memory().read_u64(place).unwrap()
}

fn poll_until(runtime: &mut Runtime, mut done: impl FnMut(&mut Runtime) -> bool) {
    let start = Instant::now();
    while !done(runtime) {
        assert!(start.elapsed() < LIMIT, "still {:?}", runtime.state());
        runtime.poll_events().unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn counts_go_on_where_they_were_in_every_engine_with_one_to_four_harts() {
    for (engine, cpus) in ENGINES.into_iter().flat_map(|engine| [(engine, 1), (engine, 2), (engine, 4)]) {
        let files = Files::new();
        let count = |runtime: &Runtime| -> Vec<u64> {
            (0..cpus).map(|hart| word(runtime, COUNT, "counts", hart)).collect()
        };
        let mut first = started(config(&files, COUNT, cpus, engine));
        poll_until(&mut first, |runtime| count(runtime).iter().all(|&n| n > 10_000));
        first.command(Command::Pause).unwrap().unwrap();
        let at = count(&first);
        first.save(&files.path("snap")).unwrap();
        assert_eq!(first.state(), State::Paused);
        first.command(Command::Resume).unwrap().unwrap();
        poll_until(&mut first, |runtime| count(runtime)[0] > at[0] + 10_000);
        drop(first);
        // The count is in a register too: a hart that had begun anew would store small numbers.
        let mut second = restored(&files.path("snap"), engine);
        poll_until(&mut second, |runtime| count(runtime).iter().zip(&at).all(|(n, at)| *n > at + 1000));
        second.save(&files.path("again")).unwrap();
        let later = count(&second);
        drop(second);
        let mut third = restored(&files.path("again"), engine);
        poll_until(&mut third, |runtime| count(runtime).iter().zip(&later).all(|(n, at)| *n > at + 1000));
    }
}

#[test]
fn a_machine_goes_back_in_its_own_place() {
    let files = Files::new();
    let mut runtime = started(config(&files, COUNT, 2, ENGINES[1]));
    let events = runtime.subscribe();
    poll_until(&mut runtime, |runtime| word(runtime, COUNT, "counts", 1) > 1000);
    runtime.command(Command::Pause).unwrap().unwrap();
    let dir = files.path("snap");
    runtime.save(&dir).unwrap();
    let at = word(&runtime, COUNT, "counts", 1);
    runtime.command(Command::Resume).unwrap().unwrap();
    poll_until(&mut runtime, |runtime| word(runtime, COUNT, "counts", 1) > at + 1_000_000);
    runtime.command(Command::Pause).unwrap().unwrap();
    let opened = Opened::open(&dir).unwrap();
    runtime.restore(&opened).unwrap();
    assert_eq!((runtime.state(), word(&runtime, COUNT, "counts", 1)), (State::Paused, at));
    let begun = Instant::now();
    runtime.command(Command::Resume).unwrap().unwrap();
    let ticks = runtime.machine().cluster().clock().now() - opened.content().harts.clock;
    assert!(u128::from(ticks) * 100 <= begun.elapsed().as_nanos(), "the clock stood still: {ticks} ticks");
    poll_until(&mut runtime, |runtime| word(runtime, COUNT, "counts", 1) > at + 1000);
    let told: Vec<Event> = events.try_iter().filter(|event| !matches!(event, Event::State { .. })).collect();
    assert_eq!(told, [Event::Saved { dir }, Event::Restored]);
}

#[test]
fn a_reset_after_a_restore_begins_with_clean_memory() {
    let files = Files::new();
    let source = "
            la   t0, mark
            ld   t2, 0(t0)
            bnez t2, bad
            li   t2, 1
            sd   t2, 0(t0)
            la   t0, scribble
            sd   t2, 0(t0)
        1:  wfi
            j    1b
        bad: li  t4, 0x100000
            li   t2, 0x13333
            sw   t2, 0(t4)
            j    1b
            .align 8
        mark: .dword 0
        scribble: .dword 0";
    let mut runtime = started(config(&files, source, 1, "off"));
    poll_until(&mut runtime, |runtime| word(runtime, source, "scribble", 0) == 1);
    runtime.save(&files.path("snap")).unwrap();
    drop(runtime);
    let mut runtime = restored(&files.path("snap"), "off");
    assert_eq!(word(&runtime, source, "scribble", 0), 1);
    for _ in 0..2 {
        runtime.command(Command::Reset).unwrap().unwrap();
        poll_until(&mut runtime, |runtime| word(runtime, source, "scribble", 0) == 1);
        assert_eq!(runtime.state(), State::Running, "a mark was left");
    }
}

#[test]
fn timers_and_their_interrupts_go_on() {
    // The CLINT's timer interrupts every millisecond; its handler counts and sets the next one.
    let source = "
            la   t0, handler
            csrw mtvec, t0
            li   s0, 0x2004000
            li   s1, 0x200bff8
            la   s2, ticks
            ld   t0, 0(s1)
            li   t1, 10000
            add  t0, t0, t1
            sd   t0, 0(s0)
            li   t0, 0x80
            csrw mie, t0
            csrsi mstatus, 8
        1:  wfi
            j    1b
            .align 4
        handler:
            ld   t0, 0(s1)
            li   t1, 10000
            add  t0, t0, t1
            sd   t0, 0(s0)
            ld   t0, 0(s2)
            addi t0, t0, 1
            sd   t0, 0(s2)
            mret
            .align 8
        ticks: .dword 0";
    for engine in ENGINES {
        let files = Files::new();
        let mut runtime = started(config(&files, source, 1, engine));
        for round in 1..20 {
            poll_until(&mut runtime, |runtime| word(runtime, source, "ticks", 0) >= 3 * round);
            runtime.save(&files.path("snap")).unwrap();
            runtime = restored(&files.path("snap"), engine);
        }
    }
}

#[test]
fn what_has_no_state_is_not_saved() {
    let files = Files::new();
    let dir = files.path("snap");
    let mut runtime = Runtime::new(config(&files, COUNT, 1, "off"), consoles()).unwrap();
    assert!(matches!(runtime.save(&dir), Err(SaveError::State(_))));
    // Ends by itself: what it asked for is on its way, or was heard.
    let end = "li t0, 0x100000\n li t1, 0x5555\n la t2, asked\n sw t1, 0(t0)\n sd t1, 0(t2)\n 1: wfi\n j 1b\n .align 8\n asked: .dword 0";
    let mut runtime = started(config(&files, end, 1, "off"));
    let start = Instant::now();
    while word(&runtime, end, "asked", 0) == 0 {
        assert!(start.elapsed() < LIMIT);
    }
    let refused = runtime.save(&dir).unwrap_err().to_string();
    assert!(refused.contains("about to end"), "{refused}");
    poll_until(&mut runtime, |runtime| runtime.state() == State::Stopped);
    assert!(!dir.exists());
}

#[test]
fn another_machine_refuses_by_name() {
    let files = Files::new();
    let dir = files.path("snap");
    started(config(&files, COUNT, 2, "off")).save(&dir).unwrap();
    let opened = Opened::open(&dir).unwrap();
    for (asked, expected) in [
        (
            Asked { memory: Some("64M".parse().unwrap()), ..Asked::default() },
            "memory: does not fit: expected 67108864",
        ),
        (
            Asked { cpus: Some("4".parse().unwrap()), ..Asked::default() },
            "cpus: does not fit: expected 4, found 2",
        ),
        (Asked { cpu: Some(vm_cpu::CpuConfig::rva22()), ..Asked::default() }, "cpu: does not fit"),
        (
            Asked { disks: vec!["x".parse().unwrap()], ..Asked::default() },
            "disks: does not fit: expected 1, found 0",
        ),
    ] {
        let refused: Refusal = opened.config(&asked).unwrap_err();
        let message = refused.to_string();
        assert!(message.contains(expected) && message.contains("snap"), "{message}");
    }
    // A machine that was put together in another way.
    let other = MachineConfig { rng: false, ..config(&files, COUNT, 2, "off") };
    let mut runtime = Runtime::new(other, consoles()).unwrap();
    let refused = runtime.restore(&opened).unwrap_err();
    assert!(matches!(&refused, RuntimeError::Refused(refusal) if refusal.part == "devices"), "{refused}");
}

#[test]
fn a_chain_of_a_hundred_comes_out_as_one_run() {
    // Scatters what a generator and a sum of floating point give over memory, then stores what the
    // counters and its registers are. Every instruction is one that gives the same in each run.
    let source = "
            li   t0, 0x6000
            csrs mstatus, t0
            la   s0, field
            li   s1, 88172645463325252
            li   s2, ROUNDS
            fcvt.d.l f0, s1
            li   s4, 0x3fff8
            la   s5, left
        1:  slli t0, s1, 13
            xor  s1, s1, t0
            srli t0, s1, 7
            xor  s1, s1, t0
            slli t0, s1, 17
            xor  s1, s1, t0
            and  t0, s1, s4
            add  t0, t0, s0
            ld   t1, 0(t0)
            add  t1, t1, s2
            sd   t1, 0(t0)
            fcvt.d.l f1, t1
            fdiv.d f0, f0, f1
            fadd.d f0, f0, f1
            addi s2, s2, -1
            sd   s2, 0(s5)
            bnez s2, 1b
            la   s0, result
            fsd  f0, 0(s0)
            csrr t0, fcsr
            sd   t0, 8(s0)
            sd   s1, 16(s0)
            csrr t0, minstret
            sd   t0, 24(s0)
            li   t0, 0x100000
            li   t1, 0x5555
            sw   t1, 0(t0)
        2:  j    2b
            .align 8
        result: .dword 0, 0, 0, 0
        left: .dword 0
        field: .dword 0";
    let memory = |runtime: &Runtime| {
        let mut bytes = vec![0; 1 << 20];
        runtime.machine().memory().read(RAM, &mut bytes).unwrap();
        bytes
    };
    for (engine, rounds) in ENGINES.into_iter().zip([16_000_000, 300_000_000]) {
        let files = Files::new();
        let source = &source.replace("ROUNDS", &rounds.to_string());
        let mut whole = started(config(&files, source, 1, engine));
        poll_until(&mut whole, |runtime| runtime.state() == State::Stopped);
        let expected = memory(&whole);
        for kind in [Chain::Whole, Chain::OnTop, Chain::InPlace] {
            let files = Files::new();
            let mut runtime = started(config(&files, source, 1, engine));
            let place = assemble(RAM, source).unwrap().label("left").unwrap();
            let (mut chain, mut next, mut last) = (0, rounds, None);
            while runtime.state() != State::Stopped {
                // 0 before its first round, too.
                let left = runtime.machine().memory().read_u64(place).unwrap();
                let dir = files.path(&format!("snap{}", if kind == Chain::Whole { 0 } else { chain }));
                let base = last.as_deref().filter(|_| kind != Chain::Whole);
                if (1..next).contains(&left) && chain < kind.saves() {
                    // One that runs on gets further while it is saved.
                    if chain % 4 != 0 {
                        let _ = runtime.command(Command::Pause).unwrap();
                    }
                    let saved = runtime.save_on(&dir, base).is_ok();
                    if saved && kind != Chain::InPlace {
                        drop(runtime);
                        runtime = restored(&dir, engine);
                    }
                    // It may have ended.
                    let _ = runtime.command(Command::Resume).unwrap();
                    if saved {
                        chain += 1;
                        next = left - left.min(rounds / 400);
                        last = Some(dir);
                    }
                }
                runtime.poll_events().unwrap();
            }
            assert_eq!(chain, kind.saves(), "{engine}, {kind:?}: saves before its end");
            assert_ne!(word(&runtime, source, "result", 3), 0);
            assert!(memory(&runtime) == expected, "{engine}, {kind:?}: differs after {chain} saves");
            // What was saved last, once more.
            let mut again = restored(&last.unwrap(), engine);
            poll_until(&mut again, |runtime| runtime.state() == State::Stopped);
            assert!(memory(&again) == expected, "{engine}, {kind:?}: the last save differs");
        }
    }
}

/// What the saves of a chain are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chain {
    /// Each stands alone; another machine goes on from it.
    Whole,
    /// Each on the one before; another machine goes on from it.
    OnTop,
    /// The same, and the machine itself goes on.
    InPlace,
}

impl Chain {
    fn saves(self) -> i32 {
        if self == Chain::InPlace { 25 } else { 100 }
    }
}
