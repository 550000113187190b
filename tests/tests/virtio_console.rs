//! Linux on a virtio console beside the serial port: boot messages on both, a shell on the virtio console, in both
//! register layouts.

use std::process::Command;
use std::time::Duration;

use tests::host::{linux_busybox, vm_boot};
use tests::session::Session;

const LIMIT: Duration = Duration::from_secs(120);
const PROMPT: &str = "~ # ";
/// Some hundred KiB, which no queue or pipe holds at once.
const NUMBERS: u32 = 30_000;

fn shell_on_hvc0(virtio: &str) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let log = directory.path().join("serial");
    let mut command = Command::new(vm_boot());
    command.args(["run", "--memory", "256M", "--append", "console=ttyS0 console=hvc0"]);
    command.args(["--virtio", virtio, "--virtio-console", "stdio", "--serial"]);
    command.arg(format!("file={}", log.display()));
    command.arg("--kernel").arg(linux_busybox("Image")).arg("--initrd").arg(linux_busybox("initramfs.cpio"));
    let mut session = Session::start(&mut command);
    session.expect(PROMPT, LIMIT);
    session.send("tty; cat /proc/consoles\n");
    let consoles = session.expect(PROMPT, LIMIT);
    assert!(consoles.contains("/dev/hvc0") && consoles.contains("ttyS0"), "{consoles}");
    session.send(&format!("seq {NUMBERS}\n"));
    let numbers = session.expect(PROMPT, LIMIT);
    let numbers: Vec<u32> = numbers.lines().filter_map(|line| line.trim().parse().ok()).collect();
    assert_eq!(numbers, (1..=NUMBERS).collect::<Vec<_>>());
    session.send("poweroff\n");
    let (code, last) = session.end(LIMIT);
    assert_eq!(code, Some(0), "{last}");
    let log = std::fs::read_to_string(log).expect("the serial port's file");
    assert!(log.contains("Linux version") && log.contains("Power down"), "{log}");
}

#[test]
fn linux_has_a_shell_on_a_virtio_console() {
    shell_on_hvc0("v2");
}

#[test]
fn linux_has_a_shell_on_a_legacy_virtio_console() {
    shell_on_hvc0("v1");
}
