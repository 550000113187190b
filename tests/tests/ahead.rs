//! Linux twice: what the first boot executed is translated, and the second runs it, step by step with the
//! interpreter; so does a machine with other memory and harts. An image that was changed is not run.

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tests::ahead::Ahead;
use tests::host::{linux_busybox, vm_boot};
use tests::session::Session;

/// Far more than a boot takes.
const LIMIT: Duration = Duration::from_secs(600);

/// Boots to the shell and powers off there; the metrics, and what was logged.
fn boot(options: &[&str], stats: &Path) -> (Value, String) {
    let log = stats.with_extension("log");
    let mut command = Command::new(vm_boot());
    command.args(["run", "--append", "console=ttyS0"]).args(options).arg("--stats-file").arg(stats);
    command.arg("--kernel").arg(linux_busybox("Image")).arg("--initrd").arg(linux_busybox("initramfs.cpio"));
    command.stderr(File::create(&log).expect("a temporary file"));
    let mut session = Session::start(&mut command);
    session.expect("~ # ", LIMIT);
    session.send("poweroff\n");
    let (code, last) = session.end(LIMIT);
    assert_eq!(code, Some(0), "{last}");
    let stats = std::fs::read(stats).expect("statistics");
    let log = std::fs::read_to_string(log).expect("a log");
    (serde_json::from_slice(&stats).expect("JSON"), log)
}

/// Sum over the harts.
fn sum(stats: &Value, name: &str) -> u64 {
    let harts = stats["harts"].as_array().expect("harts");
    harts.iter().map(|hart| hart[name].as_u64().expect("a count")).sum()
}

#[test]
fn what_one_boot_executed_the_next_runs_from_an_image() {
    let ahead = Ahead::default();
    let (profile, stats) = (ahead.profile(), ahead.trust().join("stats"));
    let (first, _) = boot(&["--profile", profile.to_str().expect("text")], &stats);
    assert_eq!(sum(&first, "ahead"), 0);
    assert!(ahead.build(32) > 1000, "a kernel has more code than that");
    let image = ahead.options();
    let image = image.each_ref().map(String::as_str);

    let (second, _) = boot(&[&image[..], &["--jit", "on,lockstep=chains"]].concat(), &stats);
    let (from_it, all) = (sum(&second, "ahead"), sum(&second, "instructions"));
    assert!(from_it > all / 10 * 9, "{from_it} of {all} instructions were executed from the image");
    let compared = sum(&second, "lockstep_instructions");
    assert!(compared > all / 2, "{compared} of {all} instructions were compared");

    let (other, _) = boot(&[&image[..], &["--cpus", "2", "--memory", "300M"]].concat(), &stats);
    let (from_it, all) = (sum(&other, "ahead"), sum(&other, "instructions"));
    assert!(from_it > all / 10 * 8, "{from_it} of {all} instructions were executed from the image");

    let mut file = std::fs::read(ahead.image()).expect("an image");
    let middle = file.len() / 2;
    file[middle] ^= 1;
    std::fs::write(ahead.image(), file).expect("a temporary file");
    let (refused, log) = boot(&image, &stats);
    assert_eq!(sum(&refused, "ahead"), 0);
    assert!(log.contains("no code from the image"), "{log}");
}
