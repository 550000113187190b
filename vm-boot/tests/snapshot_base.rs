//! Snapshots on top of others: they hold what differs, come out as what was saved, and are refused by name if what
//! they stand on is gone, changed or damaged.

mod common;

use std::fs::{self, File};
use std::io::sink;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Files, RAM, read, run, word};
use vm_boot::cli::{DemoArgs, Mode};
use vm_boot::config::MachineConfig;
use vm_boot::console::{Console, Consoles};
use vm_boot::loader::{Blob, Payload};
use vm_boot::runtime::{Command, Runtime, State};
use vm_boot::snapshot::{Asked, Opened, SaveError};
use vm_cpu::isa::asm::assemble;
use vm_mmu::PAGE;

const MEMORY: u64 = 64 << 20;
const LIMIT: Duration = Duration::from_secs(60);
/// Counts in the first page of memory, for ever.
const COUNT: &str = "
        la   t0, count
    1:  ld   t1, 0(t0)
        addi t1, t1, 1
        sd   t1, 0(t0)
        j    1b
        .align 8
    count: .dword 0";

fn consoles() -> Consoles {
    Consoles { serial: Arc::new(Console::new(Box::new(sink())).unwrap()), virtio: None }
}

fn started(files: &Files) -> Runtime {
    started_to_save(files, false)
}

fn started_to_save(files: &Files, snapshot_zstd: bool) -> Runtime {
    let kernel = Some(Blob::File(files.program("guest", RAM, COUNT).into()));
    let payload = Payload { kernel, initrd: None, firmware: None, mode: Mode::M };
    let demo = MachineConfig::demo(DemoArgs::default()).unwrap();
    let mut runtime =
        Runtime::new(MachineConfig { payload, memory: MEMORY, snapshot_zstd, ..demo }, consoles()).unwrap();
    runtime.start().unwrap();
    runtime
}

/// Goes on from a snapshot, paused at once.
fn restored(dir: &Path) -> Runtime {
    let opened = Opened::open(dir).unwrap();
    let mut runtime = Runtime::new(opened.config(&Asked::default()).unwrap(), consoles()).unwrap();
    runtime.restore(&opened).unwrap();
    runtime.command(Command::Pause).unwrap().unwrap();
    runtime
}

/// Some numbers that look like no others.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// Writes to runs of pages behind the guest's own, as a guest would: many of one page, some long; some become zeros,
/// some are written to with what they hold. Gives how many pages it touched at most.
fn scribble(runtime: &Runtime, numbers: &mut Numbers) -> u64 {
    let memory = runtime.machine().memory();
    let mut touched = 0;
    for _ in 0..300 {
        let first = 256 + numbers.below(MEMORY / PAGE - 600);
        let count = if numbers.below(10) == 0 { 16 + numbers.below(100) } else { 1 + numbers.below(2) };
        let value = numbers.below(4) * 0x0101_0101_0101_0101;
        for page in first..first + count {
            let place = RAM + page * PAGE + numbers.below(512) * 8;
            match value {
                0 => memory.write(RAM + page * PAGE, &[0; PAGE as usize]).unwrap(),
                1 => memory.write_u64(place, memory.read_u64(place).unwrap()).unwrap(),
                _ => memory.write_u64(place, value + page).unwrap(),
            }
        }
        touched += count;
    }
    touched
}

/// All memory but the page of the guest, which counts on.
fn content(runtime: &Runtime) -> Vec<u8> {
    let mut bytes = vec![0; (MEMORY - PAGE) as usize];
    runtime.machine().memory().peek(RAM + PAGE, &mut bytes).unwrap();
    bytes
}

fn held(dir: &Path) -> u64 {
    Opened::open(dir).unwrap().ram().map().held() / PAGE
}

fn pause(runtime: &mut Runtime) {
    if runtime.state() == State::Running {
        runtime.command(Command::Pause).unwrap().unwrap();
    }
}

/// Lets the guest count on for a moment.
fn go_on(runtime: &mut Runtime) {
    let place = assemble(RAM, COUNT).unwrap().label("count").unwrap();
    let count = |runtime: &Runtime| runtime.machine().memory().read_u64(place).unwrap();
    let before = count(runtime);
    runtime.command(Command::Resume).unwrap().unwrap();
    let start = Instant::now();
    while count(runtime) < before + 1000 {
        assert!(start.elapsed() < LIMIT, "it does not count");
        runtime.poll_events().unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
    pause(runtime);
}

#[test]
fn a_machine_that_runs_on_saves_only_what_changed_since() {
    let files = Files::new();
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let mut runtime = started(&files);
    pause(&mut runtime);
    (0..8).for_each(|_| _ = scribble(&runtime, &mut numbers));
    let base = files.path("s0");
    runtime.save(&base).unwrap();
    let all = held(&base);
    // Each on the one before, as is known from what was noted; then on the first, as is found by comparison.
    for round in 1..5 {
        let touched = scribble(&runtime, &mut numbers);
        go_on(&mut runtime);
        let (dir, below) = (files.path(&format!("s{round}")), files.path(&format!("s{}", round - 1)));
        let saved = runtime.save_on(&dir, Some(&below)).unwrap();
        assert_eq!(saved.base.as_deref(), Some(&*below));
        let pages = held(&dir);
        assert!(
            (1..=touched + 8).contains(&pages) && pages < all / 2,
            "{pages} of {touched} touched, {all} in all"
        );
        let expected = content(&runtime);
        assert!(content(&restored(&dir)) == expected, "after save {round}");
    }
    runtime.save_on(&files.path("star"), Some(&base)).unwrap();
    assert!(held(&files.path("star")) >= held(&files.path("s4")));
    assert!(content(&restored(&files.path("star"))) == content(&runtime));
    // Nothing was written to since, but by the guest.
    runtime.save_on(&files.path("same"), Some(&files.path("star"))).unwrap();
    assert!(held(&files.path("same")) <= 2, "{} pages", held(&files.path("same")));
}

#[test]
fn a_chain_of_restored_machines_comes_out_and_merges() {
    let files = Files::new();
    let mut numbers = Numbers(88_172_645_463_325_252);
    let mut runtime = started(&files);
    pause(&mut runtime);
    (0..4).for_each(|_| _ = scribble(&runtime, &mut numbers));
    runtime.save(&files.path("c0")).unwrap();
    for round in 1..6 {
        let below = files.path(&format!("c{}", round - 1));
        runtime = restored(&below);
        let touched = scribble(&runtime, &mut numbers);
        go_on(&mut runtime);
        let dir = files.path(&format!("c{round}"));
        runtime.save_on(&dir, Some(&below)).unwrap();
        assert!(held(&dir) <= touched + 8, "{} of {touched}", held(&dir));
    }
    let expected = content(&runtime);
    drop(runtime);
    let last = files.path("c5");
    assert_eq!(Opened::open(&last).unwrap().chain().count(), 6);
    assert!(content(&restored(&last)) == expected);
    // A whole one of a machine that goes on from a chain.
    restored(&last).save(&files.path("whole")).unwrap();
    assert!(content(&restored(&files.path("whole"))) == expected);
    let merged = files.path("merged");
    let (code, out, err) = read(&run(&["snapshot", "merge", &word(&last), "--into", &word(&merged)]));
    assert_eq!((code, out.contains("merged: stands alone")), (Some(0), true), "{out}{err}");
    assert_eq!(held(&merged), held(&files.path("whole")), "with no page of zeros");
    // In place of one on which others stand: not so.
    let (code, _, err) = read(&run(&["snapshot", "merge", &word(&files.path("c3"))]));
    assert_eq!((code, err.contains("expected one that no other stands on, found")), (Some(1), true), "{err}");
    let (code, _, err) = read(&run(&["snapshot", "merge", &word(&last)]));
    assert_eq!(code, Some(0), "{err}");
    (0..5).for_each(|round| fs::remove_dir_all(files.path(&format!("c{round}"))).unwrap());
    for dir in [last, merged] {
        assert!(content(&restored(&dir)) == expected, "{}", dir.display());
    }
}

#[test]
fn what_it_stands_on_is_refused_by_name_if_it_is_not_there_or_not_the_same() {
    let files = Files::new();
    let mut numbers = Numbers(7);
    let mut runtime = started(&files);
    let (base, middle, top) = (files.path("base"), files.path("middle"), files.path("top"));
    runtime.save(&base).unwrap();
    pause(&mut runtime);
    scribble(&runtime, &mut numbers);
    runtime.save_on(&middle, Some(&base)).unwrap();
    scribble(&runtime, &mut numbers);
    runtime.save_on(&top, Some(&middle)).unwrap();
    for taken in [&base, &middle] {
        let refused = runtime.save_on(taken, Some(&middle)).unwrap_err();
        assert!(matches!(refused, SaveError::OnItself(_)), "{refused}");
    }
    let refused = |parts: &[&str]| {
        let (code, out, err) = read(&run(&["restore", &word(&top)]));
        assert_eq!((code, out.as_str()), (Some(1), ""), "{err}");
        for part in parts.iter().chain(&["top: base "]) {
            assert!(err.contains(part), "expected {part:?} in {err:?}");
        }
    };
    let aside = files.path("aside");
    fs::rename(&middle, &aside).unwrap();
    refused(&["middle: is missing"]);
    // Another snapshot in its place.
    runtime.save(&middle).unwrap();
    refused(&["middle: is another snapshot than the one below: expected BLAKE3 "]);
    fs::remove_dir_all(&middle).unwrap();
    fs::rename(&aside, &middle).unwrap();
    fs::rename(&base, &aside).unwrap();
    refused(&["middle: base ", "base: is missing"]);
    fs::rename(&aside, &base).unwrap();
    // A damaged one: its header, its memory.
    let flip = |path: &Path, at: u64| {
        let file = File::options().read(true).write(true).open(path).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 4], at).unwrap();
    };
    flip(&base.join("state"), 60);
    refused(&["base: header: is damaged"]);
    flip(&base.join("state"), 60);
    flip(&base.join("ram"), 9);
    let (code, _, err) = read(&run(&["restore", &word(&top)]));
    assert_eq!(
        (code, err.contains("base: ram: is damaged: the pages from 0x80000000")),
        (Some(1), true),
        "{err}"
    );
    let (code, _, err) = read(&run(&["snapshot", "verify", &word(&top)]));
    assert_eq!((code, err.contains("base: ram: is damaged")), (Some(1), true), "{err}");
    flip(&base.join("ram"), 9);
    // Moved together, and looked at.
    let moved = files.path("moved");
    fs::create_dir(&moved).unwrap();
    for dir in [&base, &middle, &top] {
        fs::rename(dir, moved.join(dir.file_name().unwrap())).unwrap();
    }
    let top = moved.join("top");
    assert!(content(&restored(&top)) == content(&runtime));
    let (code, out, _) = read(&run(&["snapshot", "list", &word(&moved)]));
    assert_eq!((code, out.contains("whole, on middle")), (Some(0), true), "{out}");
    let (code, out, _) = read(&run(&["snapshot", "inspect", &word(&top)]));
    assert_eq!((code, out.matches("\nbase     ").count()), (Some(0), 2), "{out}");
    let (code, out, _) = read(&run(&["snapshot", "verify", &word(&top)]));
    assert_eq!((code, out.contains("in 3 snapshots on one another")), (Some(0), true), "{out}");
    // A machine of another size cannot save on it.
    let demo = MachineConfig::demo(DemoArgs::default()).unwrap();
    let mut other = Runtime::new(demo, consoles()).unwrap();
    other.start().unwrap();
    let refused = other.save_on(&files.path("other"), Some(&top)).unwrap_err().to_string();
    assert!(refused.contains("memory: does not fit: expected 8388608 bytes"), "{refused}");
}

#[test]
fn the_newest_stay_with_what_they_stand_on_and_the_others_go() {
    let files = Files::new();
    let mut runtime = started(&files);
    pause(&mut runtime);
    let dir = |name: &str| files.path("all").join(name);
    for (name, base) in [("a", None), ("b", None), ("c", Some("b")), ("d", Some("a")), ("e", Some("c"))] {
        runtime.machine().memory().write_u64(RAM + 5 * PAGE, u64::from(name.as_bytes()[0])).unwrap();
        runtime.save_on(&dir(name), base.map(dir).as_deref()).unwrap();
        // The clock of a file system is coarse.
        std::thread::sleep(Duration::from_millis(30));
    }
    fs::create_dir(files.path("all/.x.draft-1-1")).unwrap();
    fs::create_dir(files.path("all/letters")).unwrap();
    fs::create_dir(files.path("all/broken")).unwrap();
    fs::write(files.path("all/broken/state"), "VMBSNAP\0").unwrap();
    let names = || {
        let entries = fs::read_dir(files.path("all")).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names.join(" ")
    };
    let prune = |more: &[&str]| {
        let (code, out, err) =
            read(&run(&[&["snapshot", "prune", &word(&files.path("all"))][..], more].concat()));
        assert_eq!(code, Some(0), "{err}");
        out
    };
    let before = names();
    let said = prune(&["--keep", "1", "--dry-run"]);
    assert!(
        said.contains("would remove") && said.contains("left ") && said.contains("broken: header"),
        "{said}"
    );
    assert_eq!(names(), before);
    prune(&["--keep", "1"]);
    assert_eq!(names(), "b broken c e letters");
    restored(&dir("e"));
    prune(&["--keep", "0"]);
    assert_eq!(names(), "broken letters");
}

#[test]
fn packed_memory_comes_out_as_it_went_in_and_every_byte_of_it_counts() {
    let files = Files::new();
    let mut numbers = Numbers(0x1234_5678_9abc_def1);
    let mut runtime = started_to_save(&files, true);
    pause(&mut runtime);
    (0..4).for_each(|_| _ = scribble(&runtime, &mut numbers));
    let (first, second) = (files.path("first"), files.path("second"));
    runtime.save(&first).unwrap();
    scribble(&runtime, &mut numbers);
    go_on(&mut runtime);
    runtime.save_on(&second, Some(&first)).unwrap();
    let expected = content(&runtime);
    assert!(content(&restored(&second)) == expected);
    assert!(!first.join("ram").exists());
    let size = fs::metadata(first.join("ram.zst")).unwrap().len();
    assert!(size < held(&first) * PAGE / 4, "{size} bytes for {} pages", held(&first));
    // A plain one on top of packed ones, of a machine that goes on from them.
    let third = files.path("third");
    let mut again = restored(&second);
    let touched = scribble(&again, &mut numbers);
    again.save_on(&third, Some(&second)).unwrap();
    assert!(held(&third) <= touched + 2, "{} of {touched}", held(&third));
    assert!(content(&restored(&third)) == content(&again));
    // Packed and unpacked by merging.
    for (word_of, packed) in [(&["--zstd"][..], true), (&[], false)] {
        let merged = files.path(&format!("merged{packed}"));
        let words = ["snapshot", "merge", &word(&third), "--into", &word(&merged)];
        let (code, _, err) = read(&run(&[&words[..], word_of].concat()));
        assert_eq!(code, Some(0), "{err}");
        assert_eq!(merged.join("ram.zst").exists(), packed);
        assert!(content(&restored(&merged)) == content(&again));
    }
    // Any byte, anywhere; one too few; one too many.
    let path = first.join("ram.zst");
    let whole = fs::read(&path).unwrap();
    let mut damaged = 0;
    for at in [0, 3, 5, whole.len() / 3, whole.len() / 2, whole.len() - 1] {
        let mut bad = whole.clone();
        bad[at] ^= 0x20;
        fs::write(&path, &bad).unwrap();
        // A bit that a frame does not use changes nothing that could be found.
        match Opened::open(&first) {
            Ok(opened) => opened.verify().unwrap(),
            Err(refused) => {
                let refused = refused.to_string();
                assert!(refused.contains("ram.zst: is damaged"), "byte {at}: {refused}");
                damaged += 1;
            }
        }
    }
    assert!(damaged >= 4, "{damaged} found");
    for bad in [&whole[..whole.len() - 1], &[&whole[..], &[0]].concat()] {
        fs::write(&path, bad).unwrap();
        let refused = Opened::open(&first).unwrap_err().to_string();
        assert!(refused.contains("ram.zst: is damaged: expected"), "{refused}");
    }
    fs::write(&path, &whole).unwrap();
    assert!(content(&restored(&second)) == expected);
}
