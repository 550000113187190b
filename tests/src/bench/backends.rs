//! Compute programs from images of what they execute: hot code by LLVM beside the same by Cranelift.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::limits::{BACKENDS, BACKENDS_MEAN};
use super::linux;
use super::machine::Machine;
use super::programs::{self, Length};
use super::report::{Samples, Unit, geometric_mean};
use crate::ahead::Ahead;

/// What the programs of these groups do is compute.
const GROUPS: [&str; 2] = ["integer", "floating point"];

/// Two images of one profile.
pub struct Backends {
    initramfs: PathBuf,
    cranelift: Ahead,
    llvm: Ahead,
}

impl Backends {
    /// Runs the programs for a profile, and makes the images.
    fn new(length: Length) -> Result<Backends> {
        let mut names = programs::names()?;
        let groups = names.iter().map(|name| programs::group(name)).collect::<Result<Vec<_>>>()?;
        let mut groups = groups.iter();
        names.retain(|_| groups.next().is_some_and(|group| GROUPS.contains(&group.as_str())));
        let initramfs = linux::prepare(&names, length)?;
        let (cranelift, llvm) = (Ahead::default(), Ahead::default());
        linux::run(Machine::VmBoot, &initramfs, &["--profile", text(&cranelift.profile())?])?;
        std::fs::copy(cranelift.profile(), llvm.profile())?;
        for (ahead, backend) in [(&cranelift, "cranelift"), (&llvm, "llvm")] {
            eprint!("{}", ahead.build_by(&["--backend", backend]));
        }
        Ok(Backends { initramfs, cranelift, llvm })
    }
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a path that is text")
}

/// Runs the programs from each image; makes them first.
pub fn measure(backends: &mut Option<Backends>, length: Length, samples: &mut Samples) -> Result<()> {
    let backends = match backends {
        Some(backends) => backends,
        None => backends.insert(Backends::new(length)?),
    };
    let run = |ahead: &Ahead| {
        let options = ahead.options();
        linux::run(Machine::VmBoot, &backends.initramfs, &options.each_ref().map(String::as_str))
    };
    let (cranelift, llvm) = (run(&backends.cranelift)?, run(&backends.llvm)?);
    let mut speeds = Vec::new();
    for (before, after) in cranelift.iter().zip(&llvm) {
        ensure!(
            before.said == after.said,
            "expected {:?} from code by LLVM, found {:?}",
            before.said,
            after.said
        );
        let speed = before.host_cpu.as_secs_f64() / after.host_cpu.as_secs_f64();
        samples.add(BACKENDS, &before.said.name, Unit::Times, Machine::VmBoot.name(), speed);
        speeds.push(speed);
    }
    let mean = geometric_mean(&speeds);
    samples.add(BACKENDS, BACKENDS_MEAN, Unit::Times, Machine::VmBoot.name(), mean);
    Ok(())
}
