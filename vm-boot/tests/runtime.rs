//! The runtime's states, commands and events, on a real machine.

mod common;

use std::io::sink;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use common::{Files, RAM};
use vm_boot::cli::{DemoArgs, Mode};
use vm_boot::config::MachineConfig;
use vm_boot::console::{Console, Consoles};
use vm_boot::loader::{Blob, Payload};
use vm_boot::runtime::{Command, Event, Illegal, Runtime, RuntimeError, State};

const LIMIT: Duration = Duration::from_secs(60);

fn runtime(files: &Files, source: &str, cpus: usize) -> (Runtime, Receiver<Event>) {
    let kernel = Some(Blob::File(files.program("guest", RAM, source).into()));
    let config = MachineConfig::demo(DemoArgs::default()).unwrap();
    let payload = Payload { kernel, initrd: None, firmware: None, mode: Mode::M };
    let serial = Arc::new(Console::new(Box::new(sink())).unwrap());
    let consoles = Consoles { serial, virtio: None };
    let mut runtime = Runtime::new(MachineConfig { payload, cpus, ..config }, consoles).unwrap();
    let events = runtime.subscribe();
    (runtime, events)
}

/// Polls until `done`, within the limit.
fn poll_until(runtime: &mut Runtime, mut done: impl FnMut(&mut Runtime) -> bool) {
    let start = Instant::now();
    while !done(runtime) {
        assert!(start.elapsed() < LIMIT, "still {:?}", runtime.state());
        runtime.poll_events().unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn changed(from: State, to: State) -> Event {
    Event::State { from, to }
}

/// Counts up in memory on every hart.
const BUSY: &str =
    "la t0, count\n 1: ld t1, 0(t0)\n addi t1, t1, 1\n sd t1, 0(t0)\n j 1b\n .align 8\n count: .dword 0";

#[test]
fn every_change_of_state_is_an_event() {
    let files = Files::new();
    let (mut runtime, events) = runtime(&files, BUSY, 2);
    assert_eq!(runtime.state(), State::Stopped);
    runtime.start().unwrap();
    assert!(matches!(runtime.start(), Err(RuntimeError::NotStopped(State::Running))));
    for command in [Command::Pause, Command::Resume, Command::Reset, Command::Shutdown] {
        assert_eq!(runtime.command(command).unwrap(), Ok(()));
    }
    let refused = runtime.command(Command::Resume).unwrap();
    assert_eq!(refused, Err(Illegal { command: Command::Resume, state: State::ShuttingDown }));
    runtime.poll_events().unwrap();
    let seen: Vec<Event> = events.try_iter().collect();
    assert_eq!(
        seen,
        [
            changed(State::Stopped, State::Running),
            changed(State::Running, State::Paused),
            changed(State::Paused, State::Running),
            Event::Restarted,
            changed(State::Running, State::ShuttingDown),
            changed(State::ShuttingDown, State::Stopped),
        ]
    );
    runtime.start().unwrap();
    assert_eq!(runtime.command(Command::Stop).unwrap(), Ok(()));
    assert_eq!(runtime.state(), State::Stopped);
}

#[test]
fn a_paused_machine_executes_nothing_and_goes_on_where_it_was() {
    let files = Files::new();
    let (mut runtime, _events) = runtime(&files, BUSY, 2);
    runtime.start().unwrap();
    let count = |runtime: &Runtime| {
        let counter = vm_cpu::isa::asm::assemble(RAM, BUSY).unwrap().label("count").unwrap();
        runtime.machine().memory().read_u64(counter).unwrap()
    };
    poll_until(&mut runtime, |runtime| count(runtime) > 1000);
    // The clock may go on until the machine has paused and from when it is resumed, not between.
    let (pause, clock) = (Instant::now(), runtime.machine().cluster().clock().now());
    runtime.command(Command::Pause).unwrap().unwrap();
    let (pausing, at) = (pause.elapsed(), count(&runtime));
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(count(&runtime), at);
    let resume = Instant::now();
    runtime.command(Command::Resume).unwrap().unwrap();
    let ticks = runtime.machine().cluster().clock().now() - clock;
    let running = pausing + resume.elapsed();
    // A tick is rounded off at each end.
    assert!(u128::from(ticks) <= running.as_nanos() / 100 + 2, "{ticks} ticks while it ran for {running:?}");
    poll_until(&mut runtime, |runtime| count(runtime) > at + 1000);
    runtime.command(Command::Reset).unwrap().unwrap();
    runtime.command(Command::Pause).unwrap().unwrap();
    runtime.command(Command::Stop).unwrap().unwrap();
}

#[test]
fn a_reboot_begins_with_clean_memory_and_devices() {
    // Leaves a mark in memory and in the serial port's scratch register, then reboots; a second life
    // that finds either ends with a failure.
    let source = "
            la   t0, mark
            li   t1, 0x10000000
            ld   t2, 0(t0)
            lbu  t3, 7(t1)
            or   t2, t2, t3
            li   t4, 0x100000
            bnez t2, bad
            li   t2, 1
            sd   t2, 0(t0)
            sb   t2, 7(t1)
            li   t2, 0x7777
            sw   t2, 0(t4)
        1:  wfi
            j    1b
        bad: li  t2, 0x13333
            sw   t2, 0(t4)
            j    1b
            .align 8
        mark: .dword 0";
    let files = Files::new();
    let (mut runtime, events) = runtime(&files, source, 1);
    runtime.start().unwrap();
    let mut lives = 0;
    poll_until(&mut runtime, |runtime| {
        assert_eq!(runtime.state(), State::Running, "a mark was left");
        lives += events.try_iter().filter(|event| *event == Event::Restarted).count();
        lives >= 3
    });
}

#[test]
fn other_threads_command_by_mail() {
    let files = Files::new();
    let (mut runtime, _events) = runtime(&files, BUSY, 1);
    runtime.start().unwrap();
    let mailbox = runtime.mailbox().clone();
    let asked = std::thread::spawn(move || {
        let (reply, answer) = std::sync::mpsc::channel();
        for command in [Command::Pause, Command::Pause, Command::Stop] {
            mailbox.post(vm_boot::runtime::Message::Command(command, Some(reply.clone())));
        }
        drop(reply);
        answer.iter().collect::<Vec<_>>()
    });
    poll_until(&mut runtime, |runtime| runtime.state() == State::Stopped);
    let refused = Illegal { command: Command::Pause, state: State::Paused };
    assert_eq!(asked.join().unwrap(), [Ok(()), Err(refused), Ok(())]);
}

#[test]
fn a_kernel_that_is_gone_at_a_reboot_is_an_error_not_a_panic() {
    let files = Files::new();
    let (mut runtime, _events) = runtime(&files, BUSY, 1);
    runtime.start().unwrap();
    std::fs::remove_file(files.path("guest")).unwrap();
    let error = runtime.command(Command::Reset).unwrap_err().to_string();
    assert!(error.contains("guest") && error.contains("cannot be opened"), "{error}");
}
