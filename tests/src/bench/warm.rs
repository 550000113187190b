//! How fast a restored machine is in its first moments, with the code that it had and without.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use vm_boot::cli::RunArgs;
use vm_boot::config::MachineConfig;
use vm_boot::console::{Console, Consoles};
use vm_boot::runtime::Runtime;
use vm_boot::snapshot::{Asked, Opened};

use super::linux::image;
use super::snapshot::{PROMPT, Printed, WORK, run_for, wait_for};

/// Computes for ever, in a shell.
const COMPUTE: &str = "(i=1; while :; do i=$(( (i * 31 + 7) % 65521 )); done) & echo bu''sy\n";
/// What counts as first moments.
const FIRST: Duration = Duration::from_millis(100);

/// The share of its speed before that a busy machine has at first.
pub fn measure(files: &Path) -> Result<[(&'static str, f64); 2]> {
    let dir = files.join("computing");
    let args = RunArgs {
        kernel: Some(image("Image")?),
        initrd: Some(image("initramfs.cpio")?),
        append: Some("console=ttyS0".to_owned()),
        ..RunArgs::default()
    };
    let (printed, consoles) = consoles()?;
    let mut runtime = Runtime::new(MachineConfig::from_args(args)?, consoles.clone())?;
    runtime.start()?;
    wait_for(&mut runtime, &printed, PROMPT)?;
    consoles.serial.push_input(COMPUTE.as_bytes());
    runtime.machine().serial_ready();
    wait_for(&mut runtime, &printed, "busy")?;
    run_for(&mut runtime, WORK)?;
    let before = speed(&mut runtime, WORK)?;
    runtime.save(&dir)?;
    drop(runtime);
    let with = restored(&dir, true)? / before;
    let without = restored(&dir, false)? / before;
    Ok([("speed in its first 100 ms, with code", with), ("speed in its first 100 ms, without", without)])
}

/// Of a machine that goes on from the snapshot.
fn restored(dir: &Path, code: bool) -> Result<f64> {
    let opened = Opened::open(dir)?;
    let mut config = opened.config(&Asked::default())?;
    config.code = opened.code().filter(|_| code);
    let mut runtime = Runtime::new(config, consoles()?.1)?;
    runtime.restore(&opened)?;
    speed(&mut runtime, FIRST)
}

fn consoles() -> Result<(Printed, Consoles)> {
    let printed = Printed::default();
    let serial = Arc::new(Console::new(Box::new(printed.clone()))?);
    Ok((printed, Consoles { serial, virtio: None }))
}

/// Guest instructions a second, from now on for a while.
fn speed(runtime: &mut Runtime, time: Duration) -> Result<f64> {
    let (start, before) = (Instant::now(), executed(runtime)?);
    run_for(runtime, time)?;
    Ok((executed(runtime)? - before) as f64 / start.elapsed().as_secs_f64())
}

fn executed(runtime: &mut Runtime) -> Result<u64> {
    let metrics: serde_json::Value = serde_json::from_str(&runtime.metrics().json())?;
    metrics["harts"][0]["instructions"].as_u64().context("no instructions in the figures")
}
