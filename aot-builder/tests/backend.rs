//! Which compilers `build` uses, and what becomes of children when it is interrupted.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use vm_cpu::aot::profile::{Profile, ProfileBlock, ProfilePage};

/// More than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A directory with a profile, a key, and tools that say they are of a version of LLVM; given input they do `then`.
fn place(version: &str, then: &str) -> TempDir {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    // `addi a0, a0, -1; bnez a0, -4`, and behind it `ret`.
    let code: [u32; 3] = [0xfff5_0513, 0xfe05_1ee3, 0x0000_8067];
    let mut bytes: Vec<u8> = code.iter().flat_map(|word| word.to_le_bytes()).collect();
    bytes.resize(64, 0);
    let block = |offset, bytes| ProfileBlock { offset, bytes, heat: 100_000, ..ProfileBlock::default() };
    let blocks = vec![block(0, 8), block(8, 4)];
    let page = ProfilePage { gpa: 0x8000_0000, known: 1, bytes, blocks, ..ProfilePage::default() };
    Profile { pages: vec![page] }.write(fs::File::create(path("profile")).unwrap()).unwrap();
    for tool in ["opt-19", "llc-19"] {
        let script = format!(
            "#!/bin/sh\nif [ \"$1\" = --version ]; then echo 'Debian LLVM version {version}'; else {then}; fi\n"
        );
        fs::write(path(tool), script).unwrap();
        fs::set_permissions(path(tool), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let made =
        Command::new(env!("CARGO_BIN_EXE_aot-builder")).arg("keygen").arg(path("mine")).output().unwrap();
    assert!(made.status.success());
    place
}

/// `build` with the tools of `place`.
fn builder(place: &Path, args: &[&str]) -> Command {
    let path = std::env::join_paths([place, Path::new("/usr/bin"), Path::new("/bin")]).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_aot-builder"));
    command.args(["build", "profile", "-o", "image.aot", "--key", "mine.key"]).args(args);
    command.env("PATH", path).current_dir(place);
    command
}

fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn another_version_is_left_alone_by_auto_and_refused_by_llvm() {
    let place = place("18.1.8", "exit 1");
    let output = builder(place.path(), &["--backend", "auto"]).output().unwrap();
    let (told, _) = texts(&output);
    assert!(output.status.success() && told.contains("all units by Cranelift"), "{told}");
    assert!(told.contains("expected LLVM 19, found 18.1.8"), "{told}");
    fs::remove_file(place.path().join("image.aot")).unwrap();

    let output = builder(place.path(), &["--backend", "llvm"]).output().unwrap();
    let (_, told) = texts(&output);
    assert_eq!(output.status.code(), Some(1));
    assert!(told.contains("expected LLVM 19, found 18.1.8"), "{told}");
    assert!(!place.path().join("image.aot").exists());

    let output = builder(place.path(), &["--backend", "cranelift"]).output().unwrap();
    assert!(output.status.success() && !texts(&output).0.contains("LLVM"));
}

#[test]
fn what_llvm_fails_at_is_compiled_by_cranelift() {
    let place = place("19.1.7", "echo 'no such thing' >&2; exit 1");
    let output = builder(place.path(), &["--backend", "llvm"]).output().unwrap();
    let (told, _) = texts(&output);
    assert!(
        output.status.success() && told.contains("1 units") && told.contains("0 units by LLVM"),
        "{told}"
    );
}

#[test]
fn the_same_profile_gives_the_same_image_whatever_the_threads() {
    let place = place("19.1.7", "exit 1");
    let image = |jobs: &str| {
        let mut command = builder(place.path(), &["--backend", "llvm", "--jobs", jobs]);
        // The real tools: a test without them fails, and says which package has them.
        command.env("PATH", "/usr/bin:/bin");
        let output = command.output().unwrap();
        let (told, complaint) = texts(&output);
        assert!(output.status.success() && told.contains("1 units by LLVM 19"), "{told}{complaint}");
        fs::read(place.path().join("image.aot")).unwrap()
    };
    assert_eq!(image("1"), image("2"));
}

#[test]
fn children_die_with_a_build_that_is_interrupted() {
    let place = place("19.1.7", "echo $$ > pid.new; mv pid.new pid; exec sleep 1000");
    let mut build = builder(place.path(), &["--backend", "llvm"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let start = Instant::now();
    let wait_for = |what: &str, done: &dyn Fn() -> bool| {
        while !done() {
            assert!(start.elapsed() < PATIENCE, "{what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    wait_for("no child was started", &|| place.path().join("pid").exists());
    let pid = fs::read_to_string(place.path().join("pid")).unwrap();
    let child = Path::new("/proc").join(pid.trim());
    assert!(child.exists());
    let signalled = Command::new("kill").args(["-INT", &build.id().to_string()]).status().unwrap();
    assert!(signalled.success());
    assert!(!build.wait().unwrap().success());
    // Nobody may be there to take leave of it.
    let gone = || fs::read_to_string(child.join("stat")).map_or(true, |stat| stat.contains(") Z"));
    wait_for("a child outlives the build", &gone);
    assert!(!place.path().join("image.aot").exists());
}
