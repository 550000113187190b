//! Linux saved under load and gone on with: the shell answers, its jobs run, its timers fire; Debian cloned, with
//! a disk that stays as it is.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tests::debian::{self, Debian, Disk, disk_option};
use tests::host::{repository, vm_boot};
use tests::session::Session;
use vm_boot::snapshot::Opened;

const LIMIT: Duration = Duration::from_secs(120);
/// What the shell prints when it is ready.
const PROMPT: &str = "~ # ";
/// Jobs that keep four harts busy, with pipes, timers and system calls; then the text at which it is saved. In
/// two parts, so that what is typed is not taken for what is printed.
const LOAD: &str = "for i in 1 2; do (while :; do echo $i; done | cat >/dev/null) & jobs=\"$jobs $!\"; done; \
    for i in 3 4; do (while :; do usleep 300; done) & jobs=\"$jobs $!\"; done; sleep 1; echo sa''ve me\n";

/// Boots with `cpus` harts, and is saved to `dir` under load.
fn save(cpus: &str, dir: &Path) {
    let image = repository("images/out/linux-busybox");
    let file = |name: &str| {
        let path = image.join(name);
        assert!(
            path.exists(),
            "expected {}: `cargo run -p images -- linux-busybox` puts it there",
            path.display()
        );
        path
    };
    let mut command = Command::new(vm_boot());
    command.args(["run", "--memory", "512M", "--append", "console=ttyS0", "--cpus", cpus]);
    command.arg("--kernel").arg(file("Image")).arg("--initrd").arg(file("initramfs.cpio"));
    command.args(["--snapshot-on", "save me", "--snapshot-dir"]).arg(dir);
    let mut session = Session::start(&mut command);
    session.expect(PROMPT, LIMIT);
    session.send(LOAD);
    let (code, last) = session.end(LIMIT);
    assert_eq!(code, Some(0), "{last}");
}

/// Goes on from `dir`, and looks whether all is there.
fn go_on(dir: &Path, cpus: &str, jit: &str) {
    let mut session = Session::start(Command::new(vm_boot()).arg("restore").arg(dir).args(["--jit", jit]));
    session.send("\n");
    session.expect(PROMPT, LIMIT);
    let mut ask = |command: &str, answer: &str| {
        session.send(&format!("{command}\n"));
        session.expect(answer, LIMIT);
        session.expect(PROMPT, LIMIT);
    };
    ask("echo $((6 * 7))x", "42x");
    ask("kill -0 $jobs && echo all $(echo $jobs | wc -w) ru''n", "all 4 run");
    ask("echo harts: $(grep -c processor /proc/cpuinfo)", &format!("harts: {cpus}"));
    ask("sleep 1; echo sle''pt", "slept");
    ask("dmesg | grep -iE 'BUG|stall|oops' || echo no''thing", "nothing");
    // The real-time clock has the host's time; the kernel's own goes on from where it was.
    let host = Command::new("date").args(["-u", "+%Y-%m-%d"]).output().expect("date").stdout;
    ask("hwclock -u -s; date -u +%Y-%m-%d", String::from_utf8_lossy(&host).trim());
    session.send("poweroff\n");
    let (code, last) = session.end(LIMIT);
    assert_eq!(code, Some(0), "{last}");
}

#[test]
fn linux_goes_on_from_a_snapshot_under_load_in_every_engine() {
    for cpus in ["1", "4"] {
        let files = tempfile::tempdir().expect("temporary directory");
        let dir = files.path().join("snap");
        save(cpus, &dir);
        for jit in ["on", "off", "on,threshold=1,quick=1"] {
            go_on(&dir, cpus, jit);
        }
    }
}

/// Debian from a snapshot, at its prompt.
fn debian_from(dir: &Path, options: &[&str]) -> Debian {
    let mut session = Session::start(Command::new(vm_boot()).arg("restore").arg(dir).args(options));
    // Past the prompt that was under way when it was saved.
    session.send("echo he''re\r");
    session.expect("here", LIMIT);
    session.expect(debian::PROMPT, LIMIT);
    Debian(session)
}

#[test]
fn clones_of_debian_write_at_once_and_the_disk_stays_as_it_is() {
    let disk = Disk::new();
    let files = tempfile::tempdir().expect("temporary directory");
    let (first, second) = (files.path().join("first"), files.path().join("second"));
    let before = std::fs::metadata(disk.path()).expect("disk").modified().expect("time");
    let layered = format!("{},overlay", disk_option(&disk.path()));
    let snapshot = ["--snapshot-on", "save me", "--snapshot-dir", first.to_str().expect("a path")];
    let mut debian = Debian::boot_with(&layered, "2", &snapshot);
    // Something in its caches and something under way.
    debian.ask("dd if=/dev/urandom of=kept bs=64k count=64 2>/dev/null; sha256sum kept > sum");
    debian.0.send("(while :; do dd if=/dev/zero of=busy bs=64k count=9 conv=fsync 2>/dev/null; done) & echo sa''ve me\r");
    let (code, last) = debian.0.end(LIMIT);
    assert_eq!(code, Some(0), "{last}");

    let mut clones = [debian_from(&first, &["--clone", "1"]), debian_from(&first, &["--clone", "1"])];
    let random = clones.each_mut().map(|clone| clone.ask("head -c 16 /dev/urandom | sha256sum"));
    assert_ne!(random[0], random[1], "the same random numbers in both");
    for (number, clone) in clones.iter_mut().enumerate() {
        let sum = clone.ask("sha256sum -c sum");
        assert!(sum.contains("kept: OK"), "{sum}");
        clone.ask(&format!("kill %1; echo {number} > mine; sync; echo 3 > /proc/sys/vm/drop_caches"));
        let sum = clone.ask("sha256sum -c sum; cat mine");
        assert!(sum.contains(&format!("kept: OK\r\n{number}")), "{sum}");
    }
    let [one, other] = clones;
    one.power_off();
    other.0.kill();

    // What a clone wrote goes on in a snapshot of it, which holds no more than that.
    let snapshot = ["--clone", "1", "--snapshot-on", "save me", "--snapshot-dir"];
    let base = first.to_str().expect("a path");
    let words = [&snapshot[..], &[second.to_str().expect("a path"), "--snapshot-base", base]].concat();
    let mut debian = debian_from(&first, &words);
    debian.ask("echo third > mine; rm kept; sync");
    debian.0.send("echo sa''ve me\r");
    assert_eq!(debian.0.end(LIMIT).0, Some(0));
    let held = |dir: &Path| {
        let opened = Opened::open(dir).expect("a snapshot");
        (opened.ram().map().held(), opened.disks()[0].as_ref().expect("a layer").map().held())
    };
    let (whole, more) = (held(&first), held(&second));
    assert!(more.0 < whole.0 / 2 && more.1 < whole.1 / 2, "{more:?} on top of {whole:?}");
    let mut debian = debian_from(&second, &[]);
    assert!(debian.ask("echo 3 > /proc/sys/vm/drop_caches; cat mine; ls kept").contains("third"));
    debian.power_off();
    assert_eq!(std::fs::metadata(disk.path()).expect("disk").modified().expect("time"), before);
}
