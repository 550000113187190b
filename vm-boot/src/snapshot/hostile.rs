//! Snapshots whose bytes were changed by somebody who could compute digests: each is refused, or is a
//! machine that runs. Nothing panics.

use std::fs;
use std::io::sink;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::base::BaseRecord;
use super::machine::HostPath;
use super::parts::{self, Part, Parts};
use super::{Asked, MACHINE, MEMORY, Opened, STATE};
use crate::cli::DemoArgs;
use crate::config::MachineConfig;
use crate::console::{Console, Consoles};
use crate::runtime::Runtime;

const NAMES: [&str; 5] = ["machine", "harts", "devices", "memory", "disks"];

fn consoles() -> Consoles {
    Consoles { serial: Arc::new(Console::new(Box::new(sink())).unwrap()), virtio: None }
}

/// The demo, saved at its prompt, or on its way there.
fn saved(dir: &Path) {
    let args = DemoArgs { cpus: Some("2".parse().unwrap()), ..DemoArgs::default() };
    let mut runtime = Runtime::new(MachineConfig::demo(args).unwrap(), consoles()).unwrap();
    runtime.start().unwrap();
    std::thread::sleep(Duration::from_millis(200));
    runtime.save(dir).unwrap();
}

/// The same snapshot with one part changed, and all digests right.
fn forge(dir: &Path, whole: &[u8], name: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let read = Parts::read(whole.to_vec()).unwrap();
    let mut parts = NAMES.map(|name| Part { name, version: 1, bytes: read.part(name, 1).unwrap().to_vec() });
    let part = parts.iter_mut().find(|part| part.name == name).unwrap();
    change(&mut part.bytes);
    fs::write(dir.join(STATE), parts::write(parts::OLDEST, &parts).0).unwrap();
}

/// Starts what is not refused, for a moment; whether it started.
fn try_out(dir: &Path) -> bool {
    let Ok(opened) = Opened::open(dir) else { return false };
    let Ok(config) = opened.config(&Asked::default()) else { return false };
    // As much memory as there is host memory for, and as the file has, was checked before.
    let config = MachineConfig { jit: None, ..config };
    let Ok(mut runtime) = Runtime::new(config, consoles()) else { return false };
    if runtime.restore(&opened).is_err() {
        return false;
    }
    std::thread::sleep(Duration::from_millis(3));
    runtime.poll_events().unwrap();
    true
}

#[test]
fn whatever_the_bytes_nothing_panics() {
    let files = tempfile::tempdir().unwrap();
    let dir = files.path().join("snap");
    saved(&dir);
    assert!(try_out(&dir), "as it was saved");
    let whole = fs::read(dir.join(STATE)).unwrap();
    let read = Parts::read(whole.clone()).unwrap();
    let lengths = NAMES.map(|name| read.part(name, 1).unwrap().len());
    let mut runner = TestRunner::new(Config { failure_persistence: None, cases: 400, ..Config::default() });
    let change = (0..NAMES.len(), any::<prop::sample::Index>(), any::<u8>(), 0..4u8);
    let started = std::cell::Cell::new(0);
    runner
        .run(&change, |(part, at, byte, how)| {
            let at = at.index(lengths[part]);
            forge(&dir, &whole, NAMES[part], |bytes| match how {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, byte),
                _ => bytes[at] = byte,
            });
            started.set(started.get() + u32::from(try_out(&dir)));
            Ok(())
        })
        .unwrap();
    assert!(started.get() > 4, "registers and memory can hold anything: {} started", started.get());
}

#[test]
fn what_no_machine_can_be_is_refused_by_its_part() {
    let files = tempfile::tempdir().unwrap();
    let dir = files.path().join("snap");
    saved(&dir);
    let whole = fs::read(dir.join(STATE)).unwrap();
    let content = Opened::open(&dir).unwrap();
    let refused = |name: &str, bytes: Vec<u8>| {
        forge(&dir, &whole, name, |part| *part = bytes);
        Opened::open(&dir).unwrap_err().to_string()
    };
    let machine = |change: &dyn Fn(&mut super::MachineRecord)| {
        let mut record = content.content().machine.clone();
        change(&mut record);
        refused(MACHINE.0, super::codec::encode(&record).unwrap())
    };
    assert!(machine(&|m| m.memory = 12345).contains("machine: is not valid: expected RAM from 1M"));
    assert!(machine(&|m| m.memory = 1 << 50).contains("machine: is not valid"));
    assert!(machine(&|m| m.cpus = 0).contains("machine: is not valid: cpus"));
    assert!(machine(&|m| m.cpus = 3).contains("harts: is not valid: expected 3 harts, found 2"));
    assert!(machine(&|m| m.cpu.pmp_entries = 99).contains("machine: is not valid: cpu"));
    assert!(
        machine(&|m| m.cpu.pmp_entries = 8)
            .contains("harts: is not valid: hart 0: the CSRs are those of another")
    );
    let harts = |change: &dyn Fn(&mut super::HartsRecord)| {
        let mut record = content.content().harts.clone();
        change(&mut record);
        refused("harts", super::codec::encode(&record).unwrap())
    };
    assert!(harts(&|h| h.harts[1].hart.csr.satp = 2 << 60).contains("harts: is not valid: hart 1: satp"));
    assert!(harts(&|h| h.harts[0].hart.x[0] = 1).contains("hart 0: x0"));
    assert!(harts(&|h| h.harts.swap(0, 1)).contains("hart 0: expected hart 0 in mhartid, found 1"));
    assert!(harts(&|h| h.slots[1].state = 9).contains("hart 1"));
    let mut map = content.ram().map().clone();
    map.chunks[0].index += 1000;
    assert!(refused(MEMORY.0, super::codec::encode(&map).unwrap()).contains("memory: is not valid"));
}

#[test]
fn what_stands_on_a_forged_base_is_refused() {
    let files = tempfile::tempdir().unwrap();
    let (base, dir) = (files.path().join("base"), files.path().join("snap"));
    saved(&base);
    let opened = Opened::open(&base).unwrap();
    let mut runtime = Runtime::new(opened.config(&Asked::default()).unwrap(), consoles()).unwrap();
    runtime.restore(&opened).unwrap();
    runtime.save_on(&dir, Some(&base)).unwrap();
    drop(runtime);
    assert!(try_out(&dir), "as it was saved");
    let whole = fs::read(dir.join(STATE)).unwrap();
    let read = Parts::read(whole.clone()).unwrap();
    let names = ["machine", "harts", "devices", "memory", "disks", "base"];
    let forged = |bytes: Vec<u8>| {
        let mut parts =
            names.map(|name| Part { name, version: 1, bytes: read.part(name, 1).unwrap().to_vec() });
        parts[5].bytes = bytes;
        fs::write(dir.join(STATE), parts::write(parts::FORMAT, &parts).0).unwrap();
        Opened::open(&dir)
    };
    let record: BaseRecord = super::codec::decode(read.part("base", 1).unwrap()).unwrap();
    let encode = |record: &BaseRecord| super::codec::encode(record).unwrap();
    assert!(forged(encode(&record)).is_ok());
    // On itself, as far as that can be said.
    let own = BaseRecord { dir: HostPath::of(&dir).unwrap(), ..record.clone() };
    let refused = forged(encode(&own)).unwrap_err().to_string();
    assert!(refused.contains("is another snapshot than the one below"), "{refused}");
    for at in 0..encode(&record).len() {
        let mut bytes = encode(&record);
        bytes[at] ^= 0x11;
        // Where it was does not matter as long as it is beside; all else does.
        if let Ok(opened) = forged(bytes) {
            assert_eq!(opened.base().map(Opened::digest), Some(record.digest), "byte {at}");
        }
    }
}
