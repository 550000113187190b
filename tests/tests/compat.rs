//! Snapshots that earlier versions wrote (`tests/compat`): they go on, or are refused by name; and what is written
//! today is among them.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use std::io::Write;

use tests::host::{repository, vm_boot};
use vm_boot::snapshot::Opened;
use vm_cpu::isa::asm::assemble;

const RAM: u64 = 0x8000_0000;
const PAGE: usize = 4096;
/// Prints `ready`, then answers a typed `?` with `ok` and any other byte with its end.
const GUEST: &str = "
        li   s0, 0x10000000
        li   s1, 0x0a7964616572
    1:  sb   s1, 0(s0)
        srli s1, s1, 8
        bnez s1, 1b
    2:  lb   t1, 5(s0)
        andi t1, t1, 1
        beqz t1, 2b
        lbu  a0, 0(s0)
        li   s1, 0x0a6b6f
        li   t1, 63
        beq  a0, t1, 1b
        li   t0, 0x100000
        li   t1, 0x3333
        slli a0, a0, 16
        or   t1, t1, a0
        sw   t1, 0(t0)
    3:  j    3b";

fn run(words: &[&str], input: &[u8]) -> Output {
    let mut command = Command::new(vm_boot());
    command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("vm-boot");
    child.stdin.take().expect("piped").write_all(input).expect("it reads");
    child.wait_with_output().expect("our own child")
}

/// What is written today, in `dir`.
fn today(dir: &Path, name: &str) -> Vec<PathBuf> {
    // The path of the kernel is part of a snapshot.
    let kernel = Path::new("/tmp/vm-boot-compat-guest");
    fs::write(kernel, assemble(RAM, GUEST).expect("a guest").bytes).expect("a kernel");
    let place = |kind: &str| dir.join(format!("{name}-{kind}"));
    let word = |path: &Path| path.to_str().expect("a path").to_owned();
    let done = |words: &[&str], input: &[u8]| {
        let output = run(words, input);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let machine = ["run", "--mode", "m", "--memory", "1M", "--kernel", &word(kernel)];
    let (alone, on, packed) = (place("alone"), place("on"), place("packed"));
    done(&[&machine[..], &["--snapshot-on", "ready\n", "--snapshot-dir", &word(&alone)]].concat(), b"");
    let more = ["--snapshot-on", "ok\n", "--snapshot-base", &word(&alone), "--snapshot-dir"];
    done(&[&["restore", &word(&alone)][..], &more, &[&word(&on)]].concat(), b"?");
    done(&["snapshot", "merge", &word(&on), "--zstd", "--into", &word(&packed)], b"");
    vec![alone, on, packed]
}

/// Formats, parts and devices of a snapshot with the versions of their layouts.
fn layouts(dir: &Path) -> Vec<String> {
    let output = run(&["snapshot", "inspect", dir.to_str().expect("a path")], b"");
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = text.lines().filter(|line| line.starts_with("part ") || line.starts_with("device "));
    let mut found: Vec<_> = lines.filter_map(|line| line.split(',').next()).map(str::to_owned).collect();
    let state = fs::read(dir.join("state")).expect("state");
    found.push(format!("format {:?}", &state[8..12]));
    found
}

fn stored() -> Vec<PathBuf> {
    let entries = fs::read_dir(repository("tests/compat")).expect("tests/compat");
    let mut dirs: Vec<_> =
        entries.map(|entry| entry.expect("an entry").path()).filter(|path| path.is_dir()).collect();
    dirs.sort();
    dirs
}

/// Makes a snapshot of a stored one.
fn unpack(from: &Path, to: &Path) {
    fs::create_dir(to).expect("a directory");
    for name in ["state", "ram.zst"] {
        if from.join(name).exists() {
            fs::copy(from.join(name), to.join(name)).expect("a copy");
        }
    }
    if let Ok(pages) = fs::read(from.join("pages")) {
        let ram = File::create(to.join("ram")).expect("ram");
        ram.set_len(1 << 20).expect("its length");
        for page in pages.chunks_exact(8 + PAGE) {
            let at = u64::from_le_bytes(page[..8].try_into().expect("eight bytes"));
            ram.write_all_at(&page[8..], at).expect("a page");
        }
    }
}

/// Makes a stored one of a snapshot.
fn pack(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    fs::copy(from.join("state"), to.join("state")).expect("a copy");
    let opened = Opened::open(from).expect("a snapshot");
    if opened.ram().is_packed() {
        fs::copy(from.join("ram.zst"), to.join("ram.zst")).expect("a copy");
        return;
    }
    let mut pages = Vec::new();
    for page in opened.ram().map().iter() {
        let at = page * PAGE as u64;
        let mut bytes = [0; PAGE];
        opened.ram().file().read_exact_at(&mut bytes, at).expect("a page");
        pages.extend(at.to_le_bytes());
        pages.extend(bytes);
    }
    fs::write(to.join("pages"), pages).expect("pages");
}

#[test]
fn stored_snapshots_go_on_or_are_refused_by_name() {
    let files = tempfile::tempdir().expect("temporary directory");
    let place = |from: &Path| files.path().join(from.file_name().expect("a name"));
    // All of them first: some stand on others.
    stored().iter().for_each(|from| unpack(from, &place(from)));
    for from in stored() {
        let output = run(&["restore", place(&from).to_str().expect("a path")], b"??\x07");
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        match fs::read_to_string(from.join("refused")) {
            Ok(reason) => {
                assert_eq!((output.status.code(), &*out), (Some(1), ""), "{}: {err}", from.display());
                assert!(err.contains(reason.trim()), "{}: {err}", from.display());
            }
            Err(_) => {
                assert_eq!((output.status.code(), &*out), (Some(7), "ok\nok\n"), "{}: {err}", from.display());
            }
        }
    }
}

#[test]
fn what_is_written_today_is_stored() {
    let files = tempfile::tempdir().expect("temporary directory");
    let now = today(files.path(), "now");
    if let Some(name) = std::env::var_os("COMPAT_WRITE") {
        let name = name.to_str().expect("a name");
        let named = tempfile::tempdir().expect("temporary directory");
        for from in today(named.path(), name) {
            pack(&from, &repository("tests/compat").join(from.file_name().expect("a name")));
        }
    }
    let unpacked = tempfile::tempdir().expect("temporary directory");
    let place = |from: &Path| unpacked.path().join(from.file_name().expect("a name"));
    let kept: Vec<PathBuf> = stored().into_iter().filter(|from| !from.join("refused").exists()).collect();
    kept.iter().for_each(|from| unpack(from, &place(from)));
    let known: Vec<_> = kept.iter().map(|from| layouts(&place(from))).collect();
    for dir in now {
        let own = layouts(&dir);
        assert!(
            known.contains(&own),
            "{own:#?}\nis not in tests/compat: write it there (README.md), with new versions of what has changed"
        );
    }
    let bytes = |dir: &PathBuf| -> u64 {
        let entries = fs::read_dir(dir).expect("a directory");
        entries.map(|entry| entry.expect("an entry").metadata().expect("its length").len()).sum()
    };
    assert!(stored().iter().map(bytes).sum::<u64>() < 512 << 10, "tests/compat stays small");
}
