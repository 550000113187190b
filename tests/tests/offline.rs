//! What belongs to the builder of images stays out of the program that runs them, and a profile is one image.

use std::process::Command;
use std::time::Duration;

use tests::host::{aot_builder, program, repository, vm_boot};
use tests::session::Session;

/// What a command prints that succeeds.
fn told(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn is_llvm(line: &str) -> bool {
    let line = line.to_lowercase();
    ["llvm", "inkwell", "clang", "libpolly"].iter().any(|name| line.contains(name))
}

#[test]
fn vm_boot_has_no_llvm() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut tree = Command::new(cargo);
    tree.args(["tree", "--offline", "--package", "vm-boot", "--edges", "normal,build", "--prefix", "none"]);
    let tree = told(tree.current_dir(repository("")));
    assert!(tree.contains("cranelift-codegen"), "the list is of what it is made from: {tree}");
    let llvm: Vec<&str> = tree.lines().filter(|line| is_llvm(line)).collect();
    assert!(llvm.is_empty(), "{llvm:?}");
    let libraries = told(program("ldd", "libc-bin").arg(vm_boot()));
    assert!(libraries.contains("libc.so"), "the list is of what it loads: {libraries}");
    assert!(!libraries.lines().any(is_llvm), "{libraries}");
}

#[test]
fn a_profile_is_the_same_image_wherever_and_by_however_many_threads_it_is_built() {
    const LIMIT: Duration = Duration::from_secs(120);
    let (one, two) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let profile = one.path().join("demo.profile");
    let mut demo = Command::new(vm_boot());
    demo.args(["run", "--memory", "16M", "--kernel"]).arg(repository("images/demo/demo.bin"));
    let mut session = Session::start(demo.arg("--profile").arg(&profile));
    session.expect("demo> ", LIMIT);
    session.send("exit 0\r");
    assert_eq!(session.end(LIMIT).0, Some(0));
    let builder = aot_builder();
    told(Command::new(&builder).args(["keygen", "mine"]).current_dir(one.path()));
    let key = one.path().join("mine.key");
    let image = |dir: &std::path::Path, threads: &str| {
        let mut build = Command::new(&builder);
        build.current_dir(dir).args(["build", "-o", "image.aot", "--least", "1", "--jobs", threads]);
        told(build.arg(&profile).arg("--key").arg(&key));
        std::fs::read(dir.join("image.aot")).expect("an image")
    };
    let (first, second) = (image(one.path(), "1"), image(two.path(), "3"));
    assert!(first.len() > 16 << 10, "the demo has more code than that");
    assert!(first == second, "two images of one profile differ");
}
