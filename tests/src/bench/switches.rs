//! Optimisations, each switched off by itself: how much longer the bench programs take without it.

use super::limits::SWITCHES;
use super::linux::{self, GuestRun};
use super::machine::Machine;
use super::report::{Samples, Unit, geometric_mean};
use anyhow::Result;
use std::path::Path;

/// What is said to `--jit`.
const OFF: [&str; 9] = [
    "on,quick=off",
    "on,group=off",
    "on,slots=off",
    "on,unroll=off",
    "on,select=off",
    "on,float=off",
    "on,narrow=off",
    "on,returns=off",
    "off",
];

/// Runs the programs of `initramfs` with everything on, then with each optimisation off, and adds the geometric
/// mean over the programs and the greatest of them. Every run must give `same` the checksums that it expects.
pub fn measure(
    initramfs: &Path,
    samples: &mut Samples,
    mut same: impl FnMut(&GuestRun, &str) -> Result<()>,
) -> Result<()> {
    let mut times = |options: &[&str]| -> Result<Vec<f64>> {
        let runs = linux::run(Machine::VmBoot, initramfs, options)?;
        runs.iter().try_for_each(|run| same(run, &options.join(" ")))?;
        Ok(runs.iter().map(|run| run.host_cpu.as_secs_f64()).collect())
    };
    let on = times(&[])?;
    for switch in OFF {
        let ratios: Vec<f64> = times(&["--jit", switch])?.iter().zip(&on).map(|(off, on)| off / on).collect();
        let name = format!("--jit {switch}");
        samples.add(SWITCHES, &name, Unit::Times, "vm-boot", geometric_mean(&ratios));
        let most = ratios.into_iter().fold(0.0, f64::max);
        samples.add(SWITCHES, &format!("{name}, the most"), Unit::Times, "vm-boot", most);
    }
    Ok(())
}
