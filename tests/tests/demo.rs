//! The demo guest on `vm-boot demo`: at its prompt in a second, without a file or a network, and everything it
//! offers there.

use std::process::Command;
use std::time::Duration;
use tests::bench::demo::parse;
use tests::host::{Outcome, run_limited, vm_boot};
use tests::session::Session;

const PROMPT: &str = "demo> ";
const LIMIT: Duration = Duration::from_secs(60);

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(vm_boot());
    command.arg("demo").args(arguments);
    command
}

/// At the prompt; gives what was printed before it, too.
fn at_prompt(arguments: &[&str]) -> (Session, String) {
    let mut session = Session::start(&mut command(arguments));
    let before = session.expect(PROMPT, LIMIT);
    (session, before)
}

/// Types a line and gives what it printed.
fn ask(session: &mut Session, line: &str) -> String {
    session.send(&format!("{line}\r"));
    session.expect(&format!("{line}\r\n"), LIMIT);
    session.expect(PROMPT, LIMIT)
}

fn script(commands: &str, arguments: &[&str]) -> Outcome {
    run_limited(command(arguments).args(["--append", &format!("run={commands}")]), LIMIT)
}

#[test]
fn the_prompt_comes_within_a_second() {
    vm_boot();
    let fastest = (0..3).map(|_| at_prompt(&[]).0.elapsed()).min();
    assert!(fastest < Some(Duration::from_secs(1)), "{fastest:?}");
}

#[test]
fn it_says_what_machine_it_found() {
    let (_, said) = at_prompt(&["--memory", "16M", "--cpus", "3"]);
    for line in
        ["harts      3, booted on hart 0", "000080000000, 16384 KiB", "ns16550a, irq 10", "sifive,clint0"]
    {
        assert!(said.contains(line), "expected `{line}`:\n{said}");
    }
}

#[test]
fn eight_mebibytes_are_enough() {
    let outcome = script("info;harts;exit 0", &["--memory", "8M", "--cpus", "4"]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.output);
    for hart in 1..4 {
        assert!(outcome.output.contains(&format!("hart {hart}  hello")), "{}", outcome.output);
    }
}

#[test]
fn a_line_can_be_edited() {
    let (mut session, _) = at_prompt(&[]);
    session.send("echo one\x08\x08\x08two\r");
    session.expect("\r\ntwo\r\n", LIMIT);
    session.send("rubbish\x15echo three\r");
    session.expect("\r\nthree\r\n", LIMIT);
    session.send("poweroff\x03");
    session.expect("^C\r\ndemo> ", LIMIT);
    session.send("echo \x1b[A\x1b[1;5Cfour\r");
    session.expect("\r\nfour\r\n", LIMIT);
}

#[test]
fn memory_can_be_read_and_written_and_faults_are_told() {
    let (mut session, _) = at_prompt(&[]);
    ask(&mut session, "poke 0x80700000 0x1122334455667788 64");
    assert_eq!(ask(&mut session, "peek 0x80700002 16"), "0x80700002: 0x5566\r\n");
    assert_eq!(ask(&mut session, "peek 0x18000000"), "load access fault at 0x18000000\r\n");
    assert_eq!(ask(&mut session, "poke 0x4000000000000000 1"), "store page fault at 0x4000000000000000\r\n");
    assert_eq!(ask(&mut session, "peek one"), "'one' is not a number\r\n");
    assert!(ask(&mut session, "nonsense").starts_with("no command 'nonsense'"));
}

#[test]
fn it_ends_with_the_code_it_was_told() {
    let (mut session, _) = at_prompt(&[]);
    session.send("exit 7\r");
    assert_eq!(session.end(LIMIT).0, Some(7));
    assert_eq!(script("poweroff", &[]).code, Some(0));
}

#[test]
fn a_reboot_starts_it_again() {
    let (mut session, first) = at_prompt(&[]);
    ask(&mut session, "poke 0x80700000 5");
    session.send("reboot\r");
    let again = session.expect(PROMPT, LIMIT);
    assert!(first.contains("machine    ") && again.contains("machine    "), "{again}");
    session.send("poweroff\r");
    assert_eq!(session.end(LIMIT).0, Some(0));
}

#[test]
fn every_micro_benchmark_gives_a_figure() {
    let outcome = script("bench;exit 0", &["--cpus", "2"]);
    assert_eq!(outcome.code, Some(0), "{}", outcome.output);
    let rows: Vec<&str> = outcome.output.lines().filter(|line| line.starts_with("bench: ")).collect();
    assert!(rows.len() >= 30, "{rows:?}");
    for row in rows {
        assert!(parse(row).is_some(), "{row}");
    }
}
