//! `vm-boot snapshot`: snapshots described, for people.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::base::short;
use super::machine::BlobRecord;
use super::merge::{self, MergeError};
use super::{Opened, Refusal, family, is_snapshot};

pub use super::prune::prune;

const MIB: u64 = 1 << 20;

/// One line for each snapshot in `dirs`, or in the directories right below them.
pub fn list(dirs: &[PathBuf]) -> io::Result<String> {
    let mut found = Vec::new();
    for dir in dirs {
        match is_snapshot(dir) {
            true => found.push(dir.clone()),
            false => found.extend(family::below(dir)?),
        }
    }
    let mut text =
        format!("{:<24} {:>8} {:>8} {:>5} {:>6}  STATE\n", "SNAPSHOT", "RAM", "HELD", "HARTS", "AGE");
    for dir in found {
        let name = dir.display();
        let _ = match Opened::read(&dir) {
            Ok(snapshot) => {
                let machine = &snapshot.content().machine;
                let state = if snapshot.is_sealed() { "whole" } else { "not checked" };
                let base = snapshot.base().and_then(|base| base.dir().file_name());
                let base = base.map_or(String::new(), |name| format!(", on {}", name.display()));
                let (memory, held) = (machine.memory / MIB, snapshot.ram().map().held().div_ceil(MIB));
                writeln!(
                    text,
                    "{name:<24} {memory:>7}M {held:>7}M {:>5} {:>6}  {state}{base}",
                    machine.cpus,
                    age(&dir)
                )
            }
            Err(refusal) => {
                writeln!(
                    text,
                    "{name:<24} {:>8} {:>8} {:>5} {:>6}  {}: {}",
                    "",
                    "",
                    "",
                    age(&dir),
                    refusal.part,
                    refusal.reason
                )
            }
        };
    }
    Ok(text)
}

/// How long ago it was saved.
fn age(dir: &Path) -> String {
    let saved = fs::metadata(dir.join(super::STATE)).and_then(|facts| facts.modified());
    let seconds =
        saved.ok().and_then(|saved| SystemTime::now().duration_since(saved).ok()).map(|d| d.as_secs());
    match seconds {
        None => "?".to_owned(),
        Some(seconds @ 0..100) => format!("{seconds}s"),
        Some(seconds @ 100..6000) => format!("{}m", seconds / 60),
        Some(seconds @ 6000..172_800) => format!("{}h", seconds / 3600),
        Some(seconds) => format!("{}d", seconds / 86_400),
    }
}

/// All that there is to know of a snapshot, but for its memory.
pub fn inspect(dir: &Path) -> Result<String, Refusal> {
    let snapshot = Opened::read(dir)?;
    let content = snapshot.content();
    let machine = &content.machine;
    let held = match snapshot.base() {
        None => "of it not zeros",
        Some(_) => "of it other than below",
    };
    let mut text = format!(
        "program  vm-boot {}\nmemory   {} MiB, {} KiB {held}\nharts    {} ({}, {})\n",
        machine.program,
        machine.memory / MIB,
        snapshot.ram().map().held() >> 10,
        machine.cpus,
        machine.cpu.isa_string(),
        machine.cpu.mmu_type(),
    );
    for below in snapshot.chain().skip(1) {
        let (dir, digest) = (below.dir().display(), short(&below.digest()));
        let held = below.ram().map().held() >> 10;
        let _ = writeln!(text, "base     {dir}, {held} KiB, BLAKE3 {digest}");
    }
    for (name, blob) in
        [("kernel", &machine.kernel), ("initrd", &machine.initrd), ("firmware", &machine.firmware)]
    {
        if let Some(blob) = blob {
            let _ = writeln!(text, "{name:<8} {}", describe(blob));
        }
    }
    if let Some(append) = &machine.append {
        let _ = writeln!(text, "append   {append}");
    }
    for disk in &machine.disks {
        let access = match (disk.read_only, disk.overlay) {
            (true, _) => ", read only",
            (false, true) => ", left as it is",
            (false, false) => "",
        };
        let _ = writeln!(text, "disk     {} ({} bytes{access})", disk.file.path().display(), disk.length);
    }
    for (number, layer) in snapshot.disks().iter().enumerate() {
        if let Some(layer) = layer {
            let _ = writeln!(text, "layer    of disk {number}: {} KiB", layer.map().held() >> 10);
        }
    }
    for (id, vcpu) in content.harts.harts.iter().enumerate() {
        let (pc, mode) = (vcpu.hart.pc, vcpu.hart.csr.prv);
        let _ = writeln!(text, "hart {id:<3} {:?}, pc {pc:#x} in {mode:?}", vcpu.activity);
    }
    let _ = writeln!(text, "clock    {} ticks of 100 ns", content.harts.clock);
    for device in &content.devices {
        let (name, version, bytes) = (&device.name, device.version, device.state.len());
        let _ = writeln!(text, "device   {name:<18} layout {version:#x}, {bytes} bytes");
    }
    for part in snapshot.parts() {
        let (name, version, length, digest) = (&part.name, part.version, part.length, short(&part.digest));
        let _ = writeln!(text, "part     {name:<18} layout {version}, {length} bytes, BLAKE3 {digest}");
    }
    let packed = if snapshot.ram().is_packed() { ", packed" } else { "" };
    let _ =
        writeln!(text, "ram      {}{packed}", if snapshot.is_sealed() { "sealed" } else { "not checked" });
    Ok(text)
}

fn describe(blob: &BlobRecord) -> String {
    match blob {
        BlobRecord::File(path) => path.path().display().to_string(),
        BlobRecord::Demo => "the demo, part of vm-boot".to_owned(),
    }
}

/// Checks every byte of a snapshot, sealed or not; says how much it was.
pub fn verify(dir: &Path) -> Result<String, Refusal> {
    let snapshot = Opened::read(dir)?;
    snapshot.verify()?;
    let held = snapshot.chain().map(|layer| layer.ram().map().held()).sum::<u64>() >> 10;
    let with = match snapshot.chain().count() {
        1 => String::new(),
        all => format!(" in {all} snapshots on one another"),
    };
    Ok(format!("{}: whole, {held} KiB of memory{with}\n", dir.display()))
}

/// Makes a snapshot stand alone, in its place or as a new one; says how much it was.
pub fn merge(dir: &Path, into: Option<&Path>, pack: bool) -> Result<String, MergeError> {
    let held = merge::merge(dir, into, pack)? >> 10;
    Ok(format!("{}: stands alone, {held} KiB of memory\n", into.unwrap_or(dir).display()))
}
