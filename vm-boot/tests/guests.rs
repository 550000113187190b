//! Small guests in assembly, run by the program: how they start, how they end, and that nothing they
//! do ends the machine but what is meant to.

mod common;

use std::process::Stdio;

use common::{Files, KERNEL, RAM, read, run, run_with_input};

/// Ends the machine with the code in a0, by the test device.
const EXIT: &str = "
    exit:   li   t0, 0x100000
            li   t1, 0x5555
            beqz a0, 1f
            slli a0, a0, 16
            li   t1, 0x3333
            or   t1, t1, a0
    1:      sw   t1, 0(t0)
    2:      wfi
            j    2b
";

/// Runs a guest that starts at the beginning of RAM in M-mode; returns exit code and output.
fn machine_mode(source: &str, args: &[&str]) -> (Option<i32>, String) {
    let files = Files::new();
    let kernel = files.program("guest", RAM, &format!("{source}\n{EXIT}"));
    let fixed = ["run", "--mode", "m", "--memory", "8M", "--kernel", &kernel];
    let (code, out, err) = read(&run(&[&fixed[..], args].concat()));
    assert!(!err.contains("panicked"), "{err}");
    (code, out)
}

/// The same in S-mode on the built-in SBI.
fn supervisor(source: &str, args: &[&str]) -> (Option<i32>, String) {
    let files = Files::new();
    let kernel = files.program("guest", KERNEL, &format!("{source}\n{EXIT}"));
    let fixed = ["run", "--mode", "s", "--memory", "8M", "--kernel", &kernel];
    let (code, out, err) = read(&run(&[&fixed[..], args].concat()));
    assert!(!err.contains("panicked"), "{err}");
    (code, out)
}

#[test]
fn the_exit_code_is_the_guests() {
    for (code, expected) in [(0, 0), (1, 1), (42, 42), (256, 1), (258, 2)] {
        assert_eq!(machine_mode(&format!("li a0, {code}\n j exit"), &[]).0, Some(expected));
    }
}

#[test]
fn a_machine_mode_guest_gets_hart_id_and_device_tree() {
    // All harts start; the last one checks and ends the machine.
    let source = "
            li   t0, 2
            bne  a0, t0, 2f
            lwu  t1, 0(a1)
            li   t2, 0xedfe0dd0        # 0xd00dfeed, as the bytes lie
            li   a0, 7
            bne  t1, t2, exit
            li   a0, 0
            j    exit
        2:  wfi
            j    2b";
    assert_eq!(machine_mode(source, &["--cpus", "3"]).0, Some(0));
}

#[test]
fn jumping_into_devices_is_the_guests_own_trap() {
    for target in ["0x10000000", "0x2000000", "0", "0xffffffffffffff00", "0x90000000"] {
        let source = format!(
            "
                la   t0, trap
                csrw mtvec, t0
                li   t0, {target}
                jr   t0
            .align 4
            trap: csrr a0, mcause
                addi a0, a0, 40
                j    exit"
        );
        // Instruction access fault.
        assert_eq!(machine_mode(&source, &[]).0, Some(41), "{target}");
    }
}

#[test]
fn noise_in_every_csr_ends_nothing() {
    // Writes a pattern to each CSR number by patching the instruction, and skips what traps.
    let source = "
            la   t0, trap
            csrw mtvec, t0
            li   s0, 0                 # csr number
            li   s1, 0x5a5a5a5aa5a5a5a5
        loop: slli t1, s0, 20
            li   t2, 0x49073           # csrrw x0, 0, s1
            or   t1, t1, t2
            la   t3, patch
            sw   t1, 0(t3)
            fence.i
        patch: nop
        next: addi s0, s0, 1
            li   t4, 0x305             # mtvec would send traps elsewhere
            beq  s0, t4, next
            li   t4, 4096
            blt  s0, t4, loop
            li   a0, 0
            j    exit
        .align 4
        trap: la   t5, next
            csrw mepc, t5
            li   t5, 0x1800            # stay in M-mode
            csrs mstatus, t5
            li   t5, 0x20000           # but with plain loads and stores
            csrc mstatus, t5
            mret";
    assert_eq!(machine_mode(source, &[]).0, Some(0));
}

#[test]
fn unknown_sbi_calls_are_answered() {
    let source = "
            li   s0, 0
            li   s1, 64
        1:  li   a7, 0x0a000000
            add  a7, a7, s0
            mv   a6, s0
            ecall
            li   t0, -2
            bne  a0, t0, bad
            addi s0, s0, 1
            blt  s0, s1, 1b
            li   a7, 0x08              # legacy shutdown
            ecall
        bad: li  a0, 9
            j    exit";
    assert_eq!(supervisor(source, &[]).0, Some(0));
}

#[test]
fn the_debug_console_prints_and_reads() {
    let files = Files::new();
    let source = "
            li   a7, 0x4442434e
            li   a6, 0
            li   a0, 6
            la   a1, text
            li   a2, 0
            ecall
        1:  li   a7, 0x4442434e
            li   a6, 1
            li   a0, 1
            la   a1, text
            li   a2, 0
            ecall
            beqz a1, 1b
            lbu  a0, text
            li   t0, 120               # x
            sub  a0, a0, t0
            j    exit
        text: .byte 104, 101, 108, 108, 111, 10";
    let source = source.replace("lbu  a0, text", "la t0, text\n lbu a0, 0(t0)");
    let kernel = files.program("guest", KERNEL, &format!("{source}\n{EXIT}"));
    let args = ["run", "--mode", "s", "--memory", "8M", "--kernel", &kernel];
    let (code, out, _) = read(&run_with_input(&args, b"z"));
    assert_eq!((code, out.as_str()), (Some(2), "hello\n"));
}

#[test]
fn harts_start_stop_and_are_woken() {
    // Hart 0 starts hart 1, which suspends itself until an IPI comes, then ends the machine.
    let source = "
            la   s0, flag
            li   a7, 0x48534d
            li   a6, 0
            li   a0, 1
            la   a1, second
            li   a2, 99
            ecall
            bnez a0, bad
        1:  ld   t0, 0(s0)
            beqz t0, 1b
            li   a7, 0x735049          # wake it
            li   a6, 0
            li   a0, 2
            li   a1, 0
            ecall
        2:  wfi
            j    2b
        second: li t0, 99
            bne  a1, t0, bad
            li   t0, 2
            csrw sie, t0
            la   s0, flag
            li   t0, 1
            sd   t0, 0(s0)
            li   a7, 0x48534d          # suspend, keeping registers
            li   a6, 3
            li   a0, 0
            ecall
            bnez a0, bad
            csrr t0, sip
            andi t0, t0, 2
            li   a0, 5
            bnez t0, exit
        bad: li  a0, 9
            j    exit
        .align 8
        flag: .dword 0";
    assert_eq!(supervisor(source, &["--cpus", "2"]).0, Some(5));
}

#[test]
fn a_suspension_that_forgets_goes_on_at_its_address() {
    let source = "
            li   t0, 32                # supervisor timer
            csrw sie, t0
            rdtime a0
            li   t0, 20000
            add  a0, a0, t0
            li   a7, 0x54494d45
            li   a6, 0
            ecall
            li   a7, 0x53555350        # suspend the system
            li   a6, 0
            li   a0, 0
            la   a1, again
            li   a2, 33
            ecall
            li   a0, 9
            j    exit
        again: csrr t0, satp
            mv   a0, a1
            beqz t0, exit
            li   a0, 9
            j    exit";
    assert_eq!(supervisor(source, &[]).0, Some(33));
    assert_eq!(supervisor(source, &["--cpu", "rv64gc,sstc=off"]).0, Some(33));
}

#[test]
fn a_system_reset_has_a_reason() {
    for (reason, code) in [(0, 0), (1, 1)] {
        let source =
            format!("li a7, 0x53525354\n li a6, 0\n li a0, 0\n li a1, {reason}\n ecall\n li a0, 9\n j exit");
        assert_eq!(supervisor(&source, &[]).0, Some(code));
    }
}

#[test]
fn output_goes_to_the_file_that_was_named() {
    let files = Files::new();
    let print = "li t0, 0x10000000\n li t1, 107\n sb t1, 0(t0)\n li a0, 0\n j exit\n";
    let kernel = files.program("guest", RAM, &format!("{print}{EXIT}"));
    let serial = format!("file={}", common::word(&files.path("log")));
    let (code, out, _) = read(&run(&["run", "--mode", "m", "--kernel", &kernel, "--serial", &serial]));
    assert_eq!((code, out.as_str()), (Some(0), ""));
    assert_eq!(std::fs::read(files.path("log")).unwrap(), b"k");
}

#[test]
fn logs_never_mix_with_the_console() {
    let files = Files::new();
    let print = "li t0, 0x10000000\n li t1, 107\n sb t1, 0(t0)\n li a0, 0\n j exit\n";
    let kernel = files.program("guest", RAM, &format!("{print}{EXIT}"));
    let args = ["run", "--mode", "m", "--kernel", &kernel, "-vv", "--log", "json"];
    let (code, out, err) = read(&run(&args));
    assert_eq!((code, out.as_str()), (Some(0), "k"));
    assert!(err.lines().count() > 1);
    for line in err.lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(value["level"].is_string(), "{line}");
    }
}

#[test]
fn a_log_that_nobody_reads_any_more_ends_nothing() {
    let mut command = common::vm_boot();
    command.args(["demo", "-vvv", "--append", "run=exit 3"]).stdin(Stdio::null()).stdout(Stdio::null());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stderr.take());
    assert_eq!(common::wait(&mut child).code(), Some(3));
    let mut command = common::vm_boot();
    let mut child = command.args(["run", "--kernel", "/"]).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stderr.take());
    assert_eq!(common::wait(&mut child).code(), Some(1), "the message has no reader");
}

#[test]
fn the_device_tree_is_dumped_and_taken_back() {
    let files = Files::new();
    let kernel = files.program("guest", RAM, &format!("lwu a0, 4(a1)\n snez a0, a0\n j exit\n{EXIT}"));
    let dtb = common::word(&files.path("vm.dtb"));
    let base = ["run", "--mode", "m", "--kernel", &kernel, "--append", "first words", "--cpus", "2"];
    assert_eq!(read(&run(&[&base[..], &["--dump-dtb", &dtb]].concat())).0, Some(0));
    let dumped = std::fs::read(&dtb).unwrap();
    let has = |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(has(&dumped, "first words") && has(&dumped, "cpu@1") && !has(&dumped, "cpu@2"));
    let again = common::word(&files.path("again.dtb"));
    let args = ["run", "--mode", "m", "--kernel", &kernel, "--dtb", &dtb, "--append", "other", "--dump-dtb"];
    assert_eq!(read(&run(&[&args[..], &[&again]].concat())).0, Some(0));
    let second = std::fs::read(&again).unwrap();
    assert!(has(&second, "other") && has(&second, "cpu@1") && !has(&second, "first words"));
    assert_eq!(read(&run(&["run", "--mode", "m", "--kernel", &kernel, "--dtb", &dtb])).0, Some(1));
}

#[test]
fn the_demo_runs_from_a_pipe() {
    let (code, out, err) = read(&run_with_input(&["demo", "--cpus", "2"], b"harts\rexit 7\r"));
    assert_eq!(code, Some(7), "{out}{err}");
    assert!(out.contains("demo>"), "{out}");
    let (code, _, _) = read(&run_with_input(&[], b"poweroff\r"));
    assert_eq!(code, Some(0), "without a word it is the demo too");
}
