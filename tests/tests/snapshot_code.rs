//! The code of a snapshot: a machine that goes on runs it at once, if this user made it and it is what was written.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tests::host::{linux_busybox, vm_boot};
use tests::session::Session;

const LIMIT: Duration = Duration::from_secs(120);
const PROMPT: &str = "~ # ";
/// Computes in the background, then prints the text at which the machine is saved.
const COMPUTE: &str = "(i=1; while :; do i=$(( (i * 31 + 7) % 65521 )); done) & sleep 1; echo sa''ve me\n";

/// A user's files.
struct User {
    dir: tempfile::TempDir,
}

impl User {
    fn new() -> User {
        User { dir: tempfile::tempdir().expect("temporary directory") }
    }

    fn vm_boot(&self) -> Command {
        let mut command = Command::new(vm_boot());
        command.env("XDG_DATA_HOME", self.dir.path());
        command
    }

    /// Saves a machine that computes.
    fn save(&self) -> PathBuf {
        let dir = self.dir.path().join("snap");
        let mut command = self.vm_boot();
        command.args(["run", "--memory", "256M", "--append", "console=ttyS0", "--jit", "on,threshold=2000"]);
        command.arg("--kernel").arg(linux_busybox("Image"));
        command.arg("--initrd").arg(linux_busybox("initramfs.cpio"));
        command.args(["--snapshot-on", "save me", "--snapshot-dir"]).arg(&dir);
        let mut session = Session::start(&mut command);
        session.expect(PROMPT, LIMIT);
        session.send(COMPUTE);
        let (code, last) = session.end(LIMIT);
        assert_eq!(code, Some(0), "{last}");
        dir
    }

    /// Goes on for a second: the share of instructions from the snapshot's code, and what was said.
    fn go_on(&self, dir: &Path, options: &[&str]) -> (f64, String) {
        let stats = self.dir.path().join("stats");
        let mut command = self.vm_boot();
        command.arg("restore").arg(dir).args(options).arg("--stats-file").arg(&stats);
        let mut session = Session::start(&mut command);
        session.send("sleep 1; poweroff\n");
        let (code, said) = session.end(LIMIT);
        assert_eq!(code, Some(0), "{said}");
        let stats = fs::read(&stats).expect("figures");
        let figures: serde_json::Value = serde_json::from_slice(&stats).expect("JSON");
        let hart = |name: &str| figures["harts"][0][name].as_f64().expect("a number");
        (hart("ahead") / hart("instructions"), said)
    }
}

#[test]
fn a_restored_machine_runs_the_code_that_its_user_saved() {
    let (user, other) = (User::new(), User::new());
    let dir = user.save();
    let (share, said) = user.go_on(&dir, &[]);
    assert!(share > 0.5, "{share} of the instructions are from it: {said}");
    let (share, _) = user.go_on(&dir, &["--snapshot-code", "off"]);
    assert_eq!(share, 0.0);
    // Merged, it is as it was.
    let merged = user.dir.path().join("merged");
    let done = user.vm_boot().args(["snapshot", "merge"]).arg(&dir).arg("--into").arg(&merged).output();
    assert!(done.expect("vm-boot").status.success());
    assert_eq!(fs::read(merged.join("code")).expect("code"), fs::read(dir.join("code")).expect("code"));
    // Who does not trust the key goes on without.
    let (share, _) = other.go_on(&dir, &[]);
    assert_eq!(share, 0.0);
}

#[test]
fn code_that_is_not_what_was_written_is_refused_by_name() {
    let user = User::new();
    let dir = user.save();
    let code = dir.join("code");
    let good = fs::read(&code).expect("code");
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    for (bad, reason) in
        [(Some(&flipped[..]), "is damaged"), (Some(&good[1..]), "expected"), (None, "is missing")]
    {
        match bad {
            Some(bad) => fs::write(&code, bad).expect("written"),
            None => fs::remove_file(&code).expect("removed"),
        }
        for words in [&["restore"][..], &["snapshot", "verify"]] {
            let output = user.vm_boot().args(words).arg(&dir).output().expect("vm-boot");
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{said}");
            assert!(said.contains("code") && said.contains(reason), "{words:?}: {said}");
        }
    }
}
