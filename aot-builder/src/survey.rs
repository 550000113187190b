//! `kernel` and `rootfs`: profiles of code that has not run yet, from the files that it is in.

use std::fs;
use std::ops::Range;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use object::{Object, ObjectSection, ObjectSymbol, SectionFlags, SectionKind, SymbolKind};
use vm_cpu::aot::settle::settle;
use vm_cpu::aot::survey::{Section, Survey};

use crate::file;
use crate::needs::{self, Known};
use crate::tree::Tree;

/// What to look at.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// kernel: an uncompressed Image with an EFI header. rootfs: a folder, an ext4 disk, or a cpio archive (newc)
    source: PathBuf,
    /// The profile: what may run, for `aot-builder build`, alone or with profiles of runs
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Take so many instructions at most: of a kernel those of functions that much code calls, of a root file system
    /// those of files that init or many others need
    #[arg(long, value_name = "N", default_value_t = 1_500_000)]
    most: usize,
}

/// The kernel's own code, as it is once the kernel has started.
pub fn kernel(args: &Args) -> Result<String> {
    let about = || args.source.display().to_string();
    let mut bytes = fs::read(&args.source).with_context(about)?;
    ensure!(bytes.starts_with(b"MZ"), "{}: expected an uncompressed Image with an EFI header", about());
    let text = text_of(&bytes).with_context(about)?;
    let entries = settle(&mut bytes, &text);
    let mut survey = Survey::default();
    for range in text {
        let address = range.start as u64;
        survey.add(&Section { address, bytes: &bytes[range], entries: &entries, most: Some(args.most) });
    }
    finish(survey, args, 1)
}

/// Where code is in an Image, which is laid out as in memory.
fn text_of(bytes: &[u8]) -> Result<Vec<Range<usize>>> {
    let image = object::File::parse(bytes)?;
    let sections = image.sections().filter(|section| section.kind() == SectionKind::Text);
    let ranges = sections.map(|section| {
        let (from, len) = section.file_range().context("a section without a place in the file")?;
        let (from, address) = (usize::try_from(from)?, section.address() - image.relative_address_base());
        ensure!(from as u64 == address, "expected code at {address:#x} of the file, found it at {from:#x}");
        let end = from.checked_add(usize::try_from(len)?).filter(|&end| end <= bytes.len());
        Ok(from..end.with_context(|| format!("expected {len} bytes of code at {from:#x}"))?)
    });
    ranges.collect()
}

/// Programs and libraries.
pub fn rootfs(args: &Args) -> Result<String> {
    let about = || args.source.display().to_string();
    let tree = Tree::open(&args.source).with_context(about)?;
    let bar = ProgressBar::new(2 * tree.len() as u64);
    bar.set_style(ProgressStyle::with_template("reading {bar:40} {pos} of {len} files")?);
    let mut known = Vec::new();
    let every = |_: &str| {
        bar.inc(1);
        true
    };
    tree.each(&every, |path, bytes| match Known::of(path, bytes) {
        Ok(file) => known.extend(file),
        Err(error) => left_out(&bar, path, &error),
    })
    .with_context(about)?;
    let chosen = needs::choose(&known, args.most as u64);
    let mut survey = Survey::default();
    let wanted = |path: &str| {
        bar.inc(1);
        chosen.contains(path)
    };
    tree.each(&wanted, |path, bytes| {
        if let Err(error) = program(&mut survey, bytes) {
            left_out(&bar, path, &error);
        }
    })
    .with_context(about)?;
    bar.finish_and_clear();
    finish(survey, args, chosen.len())
}

fn finish(survey: Survey, args: &Args, files: usize) -> Result<String> {
    let profile = survey.finish();
    if profile.pages.is_empty() {
        bail!("{}: expected code of RISC-V, found none", args.source.display());
    }
    let mut bytes = Vec::new();
    profile.write(&mut bytes)?;
    file::write(&args.output, &bytes)?;
    let blocks: usize = profile.pages.iter().map(|page| page.blocks.len()).sum();
    Ok(format!(
        "{}: {files} files, {} pages of code, {blocks} blocks\n",
        args.output.display(),
        profile.pages.len()
    ))
}

fn left_out(bar: &ProgressBar, path: &str, error: &object::Error) {
    bar.suspend(|| eprintln!("aot-builder: {path}: left out: {error}"));
}

/// No program has code above.
const HIGHEST: u64 = 1 << 56;

/// Takes in an ELF file.
fn program(survey: &mut Survey, bytes: &[u8]) -> object::Result<()> {
    let elf = object::File::parse(bytes)?;
    survey.next_file();
    let symbols = elf.symbols().chain(elf.dynamic_symbols());
    let functions = symbols.filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.address() != 0);
    let mut entries: Vec<u64> = functions.map(|symbol| symbol.address()).collect();
    entries.push(elf.entry());
    const EXECUTABLE: u64 = 4;
    for section in elf.sections() {
        let SectionFlags::Elf { sh_flags } = section.flags() else { continue };
        if sh_flags & EXECUTABLE != 0 && (1..HIGHEST).contains(&section.address()) {
            let (address, bytes) = (section.address(), section.data()?);
            survey.add(&Section { address, bytes, entries: &entries, most: None });
        }
    }
    Ok(())
}
