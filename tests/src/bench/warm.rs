//! How fast a restored machine is in its first moments, with the code that it had and without.
//!
//! A host may give a thread that has just begun a fifth less for tens of milliseconds, as any loop shows that is run
//! on a fresh thread. Each machine goes on some times from the very same state: the median counts, and the best is
//! shown beside it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use vm_boot::cli::RunArgs;
use vm_boot::config::MachineConfig;
use vm_boot::console::{Console, Consoles};
use vm_boot::runtime::{Command, Runtime};
use vm_boot::snapshot::{Asked, Opened};

use super::limits::{WARM, WITHOUT_CODE};
use super::linux::image;
use super::overlay;
use super::snapshot::{PROMPT, Printed, WORK, run_for, wait_for};

/// Programs that compute for ever, one after the other in the same machine.
const PROGRAMS: [&str; 6] = ["crc_state", "sha256", "list", "matmul_int", "nbody", "bytecode"];
/// So does the shell.
const SHELL: &str = "i=1; while :; do i=$(( (i * 31 + 7) % 65521 )); done";
/// What counts as first moments.
const FIRST: Duration = Duration::from_millis(100);
/// How often a machine goes on from each snapshot, with code and without.
const TIMES: usize = 5;

/// The share of its speed before that a busy machine has at first: of each guest, and the geometric means.
pub fn measure(files: &Path) -> Result<Vec<(String, f64)>> {
    let dir = files.join("computing");
    let args = RunArgs {
        kernel: Some(image("Image")?),
        initrd: Some(overlay::for_shell(&image("initramfs.cpio")?, &PROGRAMS.map(str::to_owned))?),
        append: Some("console=ttyS0".to_owned()),
        ..RunArgs::default()
    };
    let (printed, consoles) = consoles()?;
    let mut runtime = Runtime::new(MachineConfig::from_args(args)?, consoles.clone())?;
    runtime.start()?;
    wait_for(&mut runtime, &printed, PROMPT)?;
    let programs = PROGRAMS.map(|name| (name, format!("/bench/{name} endless")));
    let (mut rows, mut means) = (Vec::new(), [(WARM, [0.0; 2]), (WITHOUT_CODE, [0.0; 2])]);
    for (name, command) in programs.iter().map(|(name, command)| (*name, &**command)).chain([("sh", SHELL)]) {
        let input = format!("kill $!; {command} & echo bu''sy\n");
        consoles.serial.push_input(input.as_bytes());
        runtime.machine().serial_ready();
        wait_for(&mut runtime, &printed, "busy")?;
        run_for(&mut runtime, WORK)?;
        let before = speed(&mut runtime, WORK)?;
        runtime.save(&dir)?;
        let mut shares = [Vec::new(), Vec::new()];
        ensure!(runtime.command(Command::Pause)?.is_ok(), "it cannot be paused");
        for _ in 0..TIMES {
            for (shares, code) in shares.iter_mut().zip([true, false]) {
                shares.push(restored(&dir, code)? / before);
            }
        }
        ensure!(runtime.command(Command::Resume)?.is_ok(), "it cannot go on");
        for (shares, (row, means)) in shares.iter_mut().zip(&mut means) {
            shares.sort_by(f64::total_cmp);
            rows.push((format!("{row}: {name}"), shares[TIMES / 2]));
            means
                .iter_mut()
                .zip([shares[TIMES / 2], shares[TIMES - 1]])
                .for_each(|(sum, share)| *sum += share.ln());
        }
    }
    let guests = (PROGRAMS.len() + 1) as f64;
    for (row, [median, best]) in means {
        rows.push((row.to_owned(), (median / guests).exp()));
        rows.push((format!("{row}, best of {TIMES}"), (best / guests).exp()));
    }
    Ok(rows)
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
    // A look at the figures takes a while: each of the two moments is the one behind it.
    let (before, start) = (executed(runtime)?, Instant::now());
    run_for(runtime, time)?;
    Ok((executed(runtime)? - before) as f64 / start.elapsed().as_secs_f64())
}

fn executed(runtime: &mut Runtime) -> Result<u64> {
    let metrics: serde_json::Value = serde_json::from_str(&runtime.metrics().json())?;
    metrics["harts"][0]["instructions"].as_u64().context("no instructions in the figures")
}
