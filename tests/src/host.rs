//! The host's side of a test: paths in the repository, external programs, the `vm-boot` binary, and running a
//! child process to its end or to a limit.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// A path in the repository.
pub fn repository(path: impl AsRef<Path>) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// Where compiled test guests go: beside everything else that cargo builds for this profile.
pub fn scratch(kind: &str) -> PathBuf {
    let path = profile_directory().join("guests").join(kind);
    std::fs::create_dir_all(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    path
}

/// `target/PROFILE`, of this very program.
fn profile_directory() -> PathBuf {
    let exe = std::env::current_exe().expect("path of the running program");
    let dir = exe.parent().expect("a directory");
    if dir.ends_with("deps") { dir.parent().expect("a directory").to_path_buf() } else { dir.to_path_buf() }
}

/// The `vm-boot` binary: `$VM_BOOT`, or built now in the profile of the running test, which has its libraries
/// already.
pub fn vm_boot() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| std::env::var_os("VM_BOOT").map_or_else(|| build("vm-boot"), PathBuf::from))
}

/// The `aot-builder` binary beside the `vm-boot` binary, where that one looks for it.
pub fn aot_builder() -> PathBuf {
    let beside = vm_boot().with_file_name("aot-builder");
    if std::env::var_os("VM_BOOT").is_some() { beside } else { build("aot-builder") }
}

/// Builds a program of the workspace; where it is.
fn build(program: &str) -> PathBuf {
    let directory = profile_directory();
    let profile = match directory.file_name().and_then(|n| n.to_str()) {
        Some("debug") | None => "dev",
        Some(other) => other,
    };
    let built = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--quiet", "-p", program, "--bin", program, "--profile", profile, "--target-dir"])
        .arg(directory.parent().expect("target directory"))
        .current_dir(repository(""))
        .status()
        .expect("cargo");
    assert!(built.success(), "cargo build -p {program} --profile {profile}: {built}");
    directory.join(program)
}

/// A command for a program of the host, which is in Debian's package `package`.
///
/// Tools for file systems live in sbin, which is not on everyone's path.
pub fn program(name: &str, package: &str) -> Command {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let sbin = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    let found =
        std::env::split_paths(&path).chain(sbin).map(|dir| dir.join(name)).find(|path| path.is_file());
    Command::new(
        found.unwrap_or_else(|| panic!("{name} is not installed: it is in Debian's package {package}")),
    )
}

/// How a child process ended.
pub struct Outcome {
    /// Exit code; `None` if a signal or the time limit ended it.
    pub code: Option<i32>,
    /// Standard output, then standard error.
    pub output: String,
    /// Whether it was killed at the limit.
    pub timed_out: bool,
}

/// Runs `command` with no input; kills it at `limit`.
pub fn run_limited(command: &mut Command, limit: Duration) -> Outcome {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let out = collect(child.stdout.take().expect("piped"));
    let err = collect(child.stderr.take().expect("piped"));
    let (code, timed_out) = wait(&mut child, limit);
    let output = [out, err].map(|reader| reader.join().expect("reader")).concat();
    Outcome { code, output, timed_out }
}

fn collect(mut from: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before an error is what there is to show.
        let _ = from.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// What a child prints, as it comes, read by a thread of its own: so silence can be told from the end, which is
/// the sender's.
pub fn chunks(mut from: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (to, output) = channel();
    std::thread::spawn(move || {
        let mut chunk = [0; 4096];
        while let Ok(length @ 1..) = from.read(&mut chunk) {
            if to.send(chunk[..length].to_vec()).is_err() {
                return;
            }
        }
    });
    output
}

fn wait(child: &mut Child, limit: Duration) -> (Option<i32>, bool) {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("wait") {
            return (status.code(), false);
        }
        if start.elapsed() > limit {
            child.kill().expect("kill");
            return (child.wait().expect("wait").code(), true);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A file of the image `linux-busybox`.
pub fn linux_busybox(file: &str) -> PathBuf {
    let path = repository("images/out/linux-busybox").join(file);
    assert!(path.exists(), "expected {}: `cargo run -p images -- linux-busybox` makes it", path.display());
    path
}
