//! Who compiles what, on several threads: hot regions by LLVM, the rest, and what LLVM fails at, by Cranelift.
//!
//! **Invariant.** What a region is compiled to does not depend on the number of threads: regions go to LLVM in
//! batches that follow from their order alone. Nor does it depend on what an earlier image is reused for.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};
use vm_cpu::aot::CpuLevel;
use vm_cpu::aot::build::{Job, Made};
use vm_cpu::aot::origin::Digest;
use vm_cpu::aot::reuse::Reuse;
use vm_cpu::jit::compile::Compiler;

use crate::llvm::{Llvm, LlvmError, Tools};

/// Guest instructions that are given to LLVM together: enough to be worth two processes.
const BATCH: usize = 1000;

/// What ran as often is for LLVM, unless told otherwise: it takes several times as long as Cranelift.
pub const HOT: u64 = 2000;

/// Which code generators are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Backend {
    /// LLVM for hot code if it is there, Cranelift for the rest
    Auto,
    /// The same, but LLVM has to be there
    Llvm,
    /// Cranelift for all
    Cranelift,
}

/// How to compile.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// What compiles: LLVM 19 runs as child processes, opt-19 and llc-19
    #[arg(long, value_enum, default_value = "auto")]
    pub backend: Backend,
    /// Code that ran as often as this is compiled by LLVM
    #[arg(long, value_name = "N", default_value_t = HOT)]
    pub hot: u64,
    /// Threads that compile [default: one a core]
    #[arg(short, long, value_name = "N")]
    pub jobs: Option<usize>,
}

/// What has been compiled.
pub struct Compiled {
    /// By job; `None` is what no compiler could do.
    pub made: Vec<Option<Made>>,
    /// How many of them LLVM made.
    pub by_llvm: usize,
    /// How many it should have made, and could not.
    pub failed: usize,
    /// How many are from an earlier image.
    pub reused: usize,
    /// The same in words, with its version; or why it was not there.
    pub told: String,
}

impl Options {
    /// Compiles the jobs, but for what `earlier` has of them.
    pub fn compile(&self, jobs: &[Job], level: &CpuLevel, earlier: Option<&Reuse>) -> Result<Compiled> {
        let (llvm, told) = self.llvm(level)?;
        let hot =
            if llvm.is_some() { jobs.iter().take_while(|job| job.heat() >= self.hot).count() } else { 0 };
        let work = Work {
            jobs,
            llvm: llvm.as_ref(),
            earlier,
            reused: AtomicUsize::new(0),
            bar: ProgressBar::new(jobs.iter().map(|job| job.insns() as u64).sum()),
            done: Mutex::new(jobs.iter().map(|_| None).collect()),
            left: AtomicUsize::new(hot),
        };
        work.bar.set_style(ProgressStyle::with_template("compiling {bar:40} {percent}% {eta}")?);
        work.run(&batches(jobs, hot), self.jobs.unwrap_or_else(cores).max(1))?;
        let by_llvm = work.left.load(Ordering::Relaxed);
        let told = if llvm.is_some() { format!("{by_llvm} units by {told}") } else { told };
        let made = work.done.into_inner().map_err(|_| anyhow::anyhow!("a thread panicked"))?;
        let reused = work.reused.into_inner();
        Ok(Compiled { made, by_llvm, failed: hot - by_llvm, reused, told })
    }

    /// LLVM, if it is to be used, and what there is to say of it.
    fn llvm(&self, level: &CpuLevel) -> Result<(Option<Llvm>, String)> {
        if self.backend == Backend::Cranelift {
            return Ok((None, "all units by Cranelift".to_owned()));
        }
        match Tools::find(&std::env::var_os("PATH").unwrap_or_default()) {
            Ok(tools) => {
                let told = format!("LLVM {}", tools.version);
                Ok((Some(Llvm::new(tools, &level.to_string())), told))
            }
            Err(error) if self.backend == Backend::Llvm => Err(error).context("--backend llvm"),
            Err(error) => Ok((None, format!("all units by Cranelift: {error}"))),
        }
    }
}

fn cores() -> usize {
    thread::available_parallelism().map_or(1, |n| n.get())
}

/// What is compiled together: the `hot` jobs at the front in batches, the others one by one.
fn batches(jobs: &[Job], hot: usize) -> Vec<Range<usize>> {
    let mut batches: Vec<Range<usize>> = Vec::new();
    let mut insns = BATCH;
    for (at, job) in jobs.iter().enumerate() {
        match batches.last_mut() {
            Some(batch) if at < hot && insns + job.insns() <= BATCH => {
                batch.end += 1;
                insns += job.insns();
            }
            _ => {
                batches.push(at..at + 1);
                insns = job.insns();
            }
        }
    }
    batches
}

/// What the threads share.
struct Work<'a> {
    jobs: &'a [Job],
    llvm: Option<&'a Llvm>,
    earlier: Option<&'a Reuse>,
    /// How many jobs that had already.
    reused: AtomicUsize,
    bar: ProgressBar,
    done: Mutex<Vec<Option<Made>>>,
    /// The first so many jobs are for LLVM, less those that it failed at.
    left: AtomicUsize,
}

impl Work<'_> {
    fn run(&self, batches: &[Range<usize>], threads: usize) -> Result<()> {
        let hot = self.left.load(Ordering::Relaxed);
        let next = AtomicUsize::new(0);
        let work = || -> Result<()> {
            let mut compiler = Compiler::new()?;
            while let Some(batch) = batches.get(next.fetch_add(1, Ordering::Relaxed)) {
                match self.llvm {
                    Some(llvm) if batch.start < hot => self.by_llvm(llvm, &mut compiler, batch)?,
                    _ => self.by_cranelift(&mut compiler, batch)?,
                }
            }
            Ok(())
        };
        thread::scope(|scope| {
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            threads.into_iter().try_for_each(|thread| {
                thread.join().map_err(|_| anyhow::anyhow!("a thread that compiles panicked"))?
            })
        })?;
        self.bar.finish_and_clear();
        Ok(())
    }

    /// A batch at once; if that fails, each of it alone, and what fails then by Cranelift.
    fn by_llvm(&self, llvm: &Llvm, compiler: &mut Compiler, batch: &Range<usize>) -> Result<()> {
        match self.try_llvm(llvm, compiler, batch) {
            Ok(made) => self.put(batch, made.into_iter().map(Some)),
            Err(error) if batch.len() == 1 => {
                self.bar.println(format!("unit {}, by Cranelift instead: {error}", batch.start));
                self.left.fetch_sub(1, Ordering::Relaxed);
                self.by_cranelift(compiler, batch)
            }
            Err(_) => batch.clone().try_for_each(|at| self.by_llvm(llvm, compiler, &(at..at + 1))),
        }
    }

    fn try_llvm(
        &self,
        llvm: &Llvm,
        compiler: &mut Compiler,
        batch: &Range<usize>,
    ) -> Result<Vec<Made>, LlvmError> {
        let lifted: Vec<_> = self.jobs[batch.clone()].iter().map(|job| (job, job.lift(compiler))).collect();
        let module = llvm.module(lifted.iter().map(|(_, lifted)| lifted))?;
        let digests: Vec<Digest> =
            (0..).zip(&lifted).map(|(n, (job, of))| job.digest_of(of, &module.given(n))).collect();
        let pairs = || lifted.iter().zip(&digests);
        let known: Option<Vec<Made>> = pairs().map(|((job, _), digest)| self.known(job, digest)).collect();
        if let Some(known) = known {
            self.reused.fetch_add(known.len(), Ordering::Relaxed);
            return Ok(known);
        }
        let made = llvm.compile(&lifted, &module)?.into_iter().zip(digests);
        Ok(made.map(|(made, digest)| made.from(digest)).collect())
    }

    /// What an earlier image has.
    fn known(&self, job: &Job, digest: &Digest) -> Option<Made> {
        self.earlier?.find(job, digest)
    }

    fn by_cranelift(&self, compiler: &mut Compiler, batch: &Range<usize>) -> Result<()> {
        let made = self.jobs[batch.clone()].iter().map(|job| {
            let digest = job.digest(compiler);
            if let Some(known) = self.known(job, &digest) {
                self.reused.fetch_add(1, Ordering::Relaxed);
                return Some(known);
            }
            match job.compile(compiler) {
                Ok(made) => Some(made.from(digest)),
                Err(error) => {
                    self.bar.println(format!("left out: {error}"));
                    None
                }
            }
        });
        self.put(batch, made)
    }

    fn put(&self, batch: &Range<usize>, made: impl Iterator<Item = Option<Made>>) -> Result<()> {
        let made: Vec<Option<Made>> = made.collect();
        let mut done = self.done.lock().map_err(|_| anyhow::anyhow!("a thread panicked"))?;
        done[batch.clone()].iter_mut().zip(made).for_each(|(slot, made)| *slot = made);
        self.bar.inc(self.jobs[batch.clone()].iter().map(|job| job.insns() as u64).sum());
        Ok(())
    }
}
