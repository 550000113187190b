//! The loop by itself: what runs show of an image decides whether it is used, and makes the next one.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use tests::ahead::{Ahead, LIMIT, boot, sum};
use tests::host::aot_builder;
use vm_cpu::isa::Op;

#[test]
fn a_new_image_that_is_wrong_is_quarantined_and_the_guest_unharmed() {
    let ahead = Ahead::default();
    let (profile, home) = (ahead.profile(), ahead.trust());
    boot(&["--profile", profile.to_str().expect("text")], home);
    let image = ahead.options();
    let options = [&image.each_ref().map(String::as_str)[..], &["--aot-canary", "64"]].concat();
    let beside = |ending: &str| PathBuf::from(format!("{}.{ending}", ahead.image().display()));

    assert!(ahead.build_with(32, Some((Op::sub, Op::add))) > 1000);
    let (wrong, log) = boot(&options, home);
    assert!(log.contains("it is used no more, the guest is unharmed"), "{log}");
    let report = fs::read_to_string(beside("quarantined")).expect("a report");
    assert!(report.contains("and the interpreter differ") && report.contains("sub"), "{report}");
    let (from_it, all) = (sum(&wrong, "ahead"), sum(&wrong, "instructions"));
    assert!(from_it < all / 10, "{from_it} of {all} instructions were executed from the image");
    assert!(sum(&wrong, "compiled") > all / 10 * 9, "the JIT takes its place");

    let (refused, log) = boot(&options, home);
    assert_eq!(sum(&refused, "ahead"), 0);
    assert!(log.contains("was quarantined: lock-step: the unit at"), "{log}");

    ahead.build(32);
    let (right, log) = boot(&options, home);
    assert!(beside("proven").exists(), "another image begins anew: {log}");
    let (from_it, all) = (sum(&right, "ahead"), sum(&right, "instructions"));
    assert!(from_it > all / 10 * 8, "{from_it} of {all} instructions were executed from the image");
    assert!(sum(&right, "lockstep_steps") > 1000, "each unit was compared when it was new");
}

/// The images of a user.
fn images(home: &Path) -> Vec<PathBuf> {
    let guests = fs::read_dir(home.join("vm-boot/aot")).into_iter().flatten().flatten();
    let files = guests.filter_map(|guest| fs::read_dir(guest.path()).ok()).flatten().flatten();
    files.map(|file| file.path()).filter(|path| path.extension().is_some_and(|end| end == "aot")).collect()
}

#[test]
fn with_auto_the_second_boot_hits_and_the_third_trusts_what_the_second_compared() {
    aot_builder();
    let home = tempfile::tempdir().expect("a temporary directory");
    let home = home.path();
    let (first, log) = boot(&["--aot", "auto"], home);
    assert_eq!(sum(&first, "ahead"), 0, "{log}");
    let start = Instant::now();
    while images(home).is_empty() {
        assert!(start.elapsed() < LIMIT, "no image was made in the background: {log}");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let key = fs::metadata(home.join("vm-boot/keys/own.key")).expect("a key of the user's own");
    assert_eq!(key.permissions().mode() & 0o777, 0o600);

    let share = |boot: &serde_json::Value| sum(boot, "ahead") * 100 / sum(boot, "instructions");
    let (second, log) = boot(&["--aot", "auto"], home);
    assert!(share(&second) > 80, "{} %: {log}", share(&second));
    assert!(sum(&second, "lockstep_steps") > 1000, "it was new");
    let (third, log) = boot(&["--aot", "auto"], home);
    assert!(share(&third) > 80, "{} %: {log}", share(&third));
    assert_eq!(sum(&third, "lockstep_steps"), 0, "it is proven");
}
