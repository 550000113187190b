//! The second boot: Debian's kernel to the shell from an image of what the first one executed. And a first boot:
//! Debian from its disk, from an image of its files.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::limits::{AHEAD, UNSEEN};
use super::linux;
use super::machine::Machine;
use super::report::{Samples, Unit};
use crate::ahead::{Ahead, sum};
use crate::debian::{Debian, Disk, image};
use crate::host::{linux_busybox, vm_boot};
use crate::session::Session;

/// More than a boot takes.
const LIMIT: Duration = Duration::from_secs(120);

/// Boots by the JIT alone, from the image, and on QEMU; makes the image first.
pub fn measure(image: &mut Option<Ahead>, samples: &mut Samples) -> Result<()> {
    let ahead = match image {
        Some(ahead) => ahead,
        None => image.insert(Ahead::of(|profile| whole_boot(&["--profile", profile]))?),
    };
    let options = ahead.options();
    let options = options.each_ref().map(String::as_str);
    let ns = |time: Duration| time.as_secs_f64() * 1e9;
    let without = linux::boot(Machine::VmBoot, &[])?;
    let with = linux::boot(Machine::VmBoot, &options)?;
    let qemu = linux::boot(Machine::Qemu, &[])?;
    for (name, boot) in [(Machine::VmBoot.name(), with), (Machine::Qemu.name(), qemu)] {
        samples.add(AHEAD, "cpu time", Unit::Ns, name, ns(boot.cpu));
        samples.add(AHEAD, "wall time", Unit::Ns, name, ns(boot.wall));
    }
    let ours = Machine::VmBoot.name();
    samples.add(AHEAD, "cpu time, by the JIT alone", Unit::Ns, ours, ns(without.cpu));
    samples.add(AHEAD, "cpu time, of the JIT's", Unit::Times, ours, ns(with.cpu) / ns(without.cpu));
    let stats = tempfile::NamedTempFile::new()?;
    let path = stats.path().to_str().context("a path that is text")?;
    whole_boot(&[&options[..], &["--stats-file", path]].concat())?;
    let stats: serde_json::Value = serde_json::from_slice(&std::fs::read(stats.path())?)?;
    let number =
        |at: &str| stats.pointer(at).and_then(serde_json::Value::as_f64).with_context(|| at.to_owned());
    let share = number("/harts/0/ahead")? / number("/harts/0/instructions")?;
    samples.add(AHEAD, "guest instructions from it", Unit::Times, ours, share);
    let translating = number("/compiler/nanoseconds")? + number("/compiler/quick/nanoseconds")?;
    samples.add(AHEAD, "translation, share of cpu time", Unit::Times, ours, translating / number("/cpu_ns")?);
    Ok(())
}

/// Boots Debian, logs in and powers off, from an image that is made of its kernel and disk first.
pub fn measure_unseen(made: &mut Option<Ahead>, samples: &mut Samples) -> Result<()> {
    let ahead = made.get_or_insert_with(|| {
        let ahead = Ahead::default();
        ahead.survey(&[("kernel", &image("Image"), None), ("rootfs", &image("disk.img"), None)]);
        ahead
    });
    let (disk, stats) = (Disk::new(), tempfile::NamedTempFile::new()?);
    let options = ahead.options();
    let options = options.each_ref().map(String::as_str);
    let path = stats.path().to_str().context("a path that is text")?;
    Debian::boot(&disk.path(), "1", &[&options[..], &["--stats-file", path]].concat()).power_off();
    let stats: serde_json::Value = serde_json::from_slice(&std::fs::read(stats.path())?)?;
    let share = sum(&stats, "ahead") as f64 / sum(&stats, "instructions") as f64;
    samples.add(UNSEEN, "guest instructions from it", Unit::Times, Machine::VmBoot.name(), share);
    let cpu = stats["cpu_ns"].as_f64().context("cpu_ns")?;
    samples.add(UNSEEN, "cpu time", Unit::Ns, Machine::VmBoot.name(), cpu);
    Ok(())
}

/// Boots to the shell, and powers the machine off there.
fn whole_boot(options: &[&str]) -> Result<()> {
    let mut command = Command::new(vm_boot());
    command.args(["run", "--memory", "512M", "--append", "console=ttyS0"]).args(options);
    command.arg("--kernel").arg(linux_busybox("Image")).arg("--initrd").arg(linux_busybox("initramfs.cpio"));
    let mut session = Session::start(&mut command);
    session.expect("~ # ", LIMIT);
    session.send("poweroff\n");
    let (code, last) = session.end(LIMIT);
    ensure!(code == Some(0), "expected exit code 0, found {code:?}: {last}");
    Ok(())
}
