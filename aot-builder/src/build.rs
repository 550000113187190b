//! `aot-builder build`: profiles to a signed image.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use vm_cpu::aot::build::{Job, Made, SHARED_WORDS, assemble, plan};
use vm_cpu::aot::{About, CpuLevel, image, keys, layout_hash};
use vm_cpu::jit::compile::Compiler;

use crate::file;

/// What to build.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Profiles; several are taken together
    #[arg(required = true, value_name = "PROFILE")]
    profiles: Vec<PathBuf>,
    /// The image
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Secret key that signs it (`aot-builder keygen` makes one)
    #[arg(short, long, value_name = "FILE")]
    key: PathBuf,
    /// What the image is of; versions are counted for each by itself
    #[arg(long, value_name = "NAME", default_value = "guest")]
    guest: String,
    /// Its version: an image that is older than permitted is not run
    #[arg(long, value_name = "N", default_value_t = 1)]
    image_version: u64,
    /// Leave out code that ran less often
    #[arg(long, value_name = "N", default_value_t = 16)]
    least: u64,
    /// Threads that compile [default: one a core]
    #[arg(short, long, value_name = "N")]
    jobs: Option<usize>,
}

/// Builds the image.
pub fn run(args: &Args) -> Result<String> {
    let key = keys::read_secret(&args.key).with_context(|| format!("--key {}", args.key.display()))?;
    let profile = file::read_profiles(&args.profiles)?;
    let jobs = plan(&profile, args.least);
    ensure!(!jobs.is_empty(), "no code ran {} times or more: expected some; see --least", args.least);
    let threads = args.jobs.unwrap_or_else(|| thread::available_parallelism().map_or(1, |n| n.get()));
    let made = compile(&jobs, threads)?;
    let contents = assemble(jobs.into_iter().zip(made));
    let about = About {
        guest: args.guest.clone(),
        version: args.image_version,
        layout_hash: layout_hash(),
        cpu_level: CpuLevel::of_host(),
        shared_words: SHARED_WORDS,
    };
    let image = image::write(&contents, &about, &key)?;
    file::write(&args.output, &image)?;
    let insns: usize = contents.units.iter().map(|unit| unit.sites.len()).sum();
    Ok(format!(
        "{}: {} units of {insns} guest instructions, {} KiB of code\n",
        args.output.display(),
        contents.units.len(),
        contents.text.len() >> 10
    ))
}

/// Compiles the jobs on so many threads. What the compiler gives up is `None`.
pub fn compile(jobs: &[Job], threads: usize) -> Result<Vec<Option<Made>>> {
    let bar = ProgressBar::new(jobs.iter().map(|job| job.insns() as u64).sum());
    bar.set_style(ProgressStyle::with_template("compiling {bar:40} {percent}% {eta}")?);
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<Option<Made>>> = Mutex::new(jobs.iter().map(|_| None).collect());
    let work = || -> Result<()> {
        let mut compiler = Compiler::new()?;
        while let Some((at, job)) = {
            let at = next.fetch_add(1, Ordering::Relaxed);
            jobs.get(at).map(|job| (at, job))
        } {
            match job.compile(&mut compiler) {
                Ok(made) => done.lock().map_err(|_| anyhow::anyhow!("a thread panicked"))?[at] = Some(made),
                Err(error) => bar.println(format!("left out: {error}")),
            }
            bar.inc(job.insns() as u64);
        }
        Ok(())
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| {
            thread.join().map_err(|_| anyhow::anyhow!("a thread that compiles panicked"))?
        })
    })?;
    bar.finish_and_clear();
    done.into_inner().map_err(|_| anyhow::anyhow!("a thread panicked"))
}
