//! The same snapshots by QEMU: `savevm` into a qcow2 image and `-loadvm` from it, of the same guest. The guest stands
//! still all the while QEMU saves.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::linux::image;
use super::machine::{Guest, Machine};
use super::snapshot::{LIMIT, LOAD, PROMPT, WORK};
use crate::session::Session;

const MONITOR: &str = "(qemu) ";
/// Ctrl-A c.
const SWITCH: &str = "\x01c";
const CLUSTER: u64 = 1 << 16;
/// After so long the serial port is idle.
const QUIET: Duration = Duration::from_millis(500);

/// What QEMU took.
pub struct Savevm {
    /// For a busy machine, which rests meanwhile.
    pub save: Duration,
    /// From the start of the process to an answer.
    pub answer: Duration,
}

/// Saves a quiet machine and a busy one, and goes on with the quiet one.
pub fn measure(dir: &Path) -> Result<Savevm> {
    let disk = dir.join("savevm.qcow2");
    empty_image(&disk)?;
    let mut session = start(&disk, &[])?;
    session.expect(PROMPT, LIMIT);
    // What is on its way through the serial port when QEMU saves is lost, and with it the interrupt.
    std::thread::sleep(QUIET);
    save(&mut session, "quiet");
    session.send(SWITCH);
    session.send(LOAD);
    session.expect("busy", LIMIT);
    std::thread::sleep(WORK);
    let took = save(&mut session, "busy");
    session.kill();
    let held = fs::metadata(&disk)?.len();
    ensure!(held > 16 << 20, "QEMU saved nothing: its image has {held} bytes");
    let mut session = start(&disk, &["-loadvm", "quiet"])?;
    session.send("echo ans''wer\n");
    session.expect("answer", LIMIT);
    let answer = session.elapsed();
    session.kill();
    Ok(Savevm { save: took, answer })
}

fn start(disk: &Path, more: &[&str]) -> Result<Session> {
    let (kernel, initrd) = (image("Image")?, image("initramfs.cpio")?);
    let guest = Guest {
        kernel: &kernel,
        initrd: Some(&initrd),
        append: "console=ttyS0",
        memory: "1G",
        disk: None,
        options: &[],
    };
    let mut command = Machine::Qemu.command(&guest)?;
    command.arg("-drive").arg(format!("file={},if=none,id=disk,format=qcow2", disk.display()));
    Ok(Session::start(command.args(["-device", "virtio-blk-device,drive=disk"]).args(more)))
}

/// At its monitor, which it is left at.
fn save(session: &mut Session, name: &str) -> Duration {
    session.send(SWITCH);
    session.expect(MONITOR, LIMIT);
    let start = Instant::now();
    session.send(&format!("savevm {name}\n"));
    session.expect(MONITOR, LIMIT);
    start.elapsed()
}

/// A qcow2 image of 64 MiB without content: header, table of reference counts, one block of them, first-level table.
fn empty_image(path: &Path) -> Result<()> {
    let file = File::create(path)?;
    let mut header = Vec::new();
    header.extend(*b"QFI\xfb");
    header.extend(2u32.to_be_bytes());
    // No backing file.
    header.extend([0; 12]);
    header.extend(CLUSTER.trailing_zeros().to_be_bytes());
    header.extend((64u64 << 20).to_be_bytes());
    // Not encrypted; one entry in the first-level table.
    header.extend(0u32.to_be_bytes());
    header.extend(1u32.to_be_bytes());
    header.extend((3 * CLUSTER).to_be_bytes());
    header.extend(CLUSTER.to_be_bytes());
    header.extend(1u32.to_be_bytes());
    // No snapshots.
    header.extend([0; 12]);
    file.write_all_at(&header, 0)?;
    file.write_all_at(&(2 * CLUSTER).to_be_bytes(), CLUSTER)?;
    for cluster in 0..4 {
        file.write_all_at(&1u16.to_be_bytes(), 2 * CLUSTER + 2 * cluster)?;
    }
    Ok(file.set_len(4 * CLUSTER)?)
}
