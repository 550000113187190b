//! `kernel` and `rootfs`: profiles of code that has not run yet, from the files that it is in.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use object::{Architecture, Object, ObjectSection, ObjectSymbol, SectionFlags, SectionKind, SymbolKind};
use vm_cpu::aot::survey::{Section, Survey};

use crate::{cpio, file};

/// Links are followed to so many directories below each other at most.
const DEEPEST: usize = 64;

/// What to look at.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// kernel: an uncompressed Image with an EFI header. rootfs: a folder, or a cpio archive (newc)
    source: PathBuf,
    /// The profile: what may run, for `aot-builder build`, alone or with profiles of runs
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

/// The kernel's own code.
pub fn kernel(args: &Args) -> Result<String> {
    let about = || args.source.display().to_string();
    let bytes = fs::read(&args.source).with_context(about)?;
    ensure!(bytes.starts_with(b"MZ"), "{}: expected an uncompressed Image with an EFI header", about());
    let image = object::File::parse(&*bytes).with_context(about)?;
    let mut survey = Survey::default();
    for section in image.sections().filter(|section| section.kind() == SectionKind::Text) {
        let (address, data) = (section.address() - image.relative_address_base(), section.data()?);
        survey.add(&Section { address, bytes: data, entries: &[], patched: true });
    }
    finish(survey, args, 1)
}

/// Programs and libraries.
pub fn rootfs(args: &Args) -> Result<String> {
    let mut survey = Survey::default();
    let mut files = 0;
    let mut take = |name: &str, bytes: &[u8]| {
        if bytes.starts_with(b"\x7fELF") {
            match program(&mut survey, bytes) {
                Ok(taken) => files += usize::from(taken),
                Err(error) => eprintln!("aot-builder: {name}: left out: {error}"),
            }
        }
    };
    if args.source.is_dir() {
        let mut paths = Vec::new();
        walk(&args.source, 0, &mut paths)?;
        let bar = ProgressBar::new(paths.len() as u64);
        bar.set_style(ProgressStyle::with_template("reading {bar:40} {pos} of {len} files")?);
        for path in bar.wrap_iter(paths.iter()) {
            let name = path.display().to_string();
            take(&name, &fs::read(path).with_context(|| name.clone())?);
        }
    } else {
        let about = || args.source.display().to_string();
        let bytes = fs::read(&args.source).with_context(about)?;
        for entry in cpio::entries(&bytes) {
            let entry = entry.with_context(about)?;
            take(entry.name, entry.data);
        }
    }
    finish(survey, args, files)
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

/// Takes in an ELF file, if it is of the guest's architecture.
fn program(survey: &mut Survey, bytes: &[u8]) -> object::Result<bool> {
    let elf = object::File::parse(bytes)?;
    if elf.architecture() != Architecture::Riscv64 {
        return Ok(false);
    }
    survey.next_file();
    let symbols = elf.symbols().chain(elf.dynamic_symbols());
    let functions = symbols.filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.address() != 0);
    let mut entries: Vec<u64> = functions.map(|symbol| symbol.address()).collect();
    entries.push(elf.entry());
    const EXECUTABLE: u64 = 4;
    for section in elf.sections() {
        let SectionFlags::Elf { sh_flags } = section.flags() else { continue };
        if sh_flags & EXECUTABLE != 0 && section.address() != 0 {
            let (address, bytes) = (section.address(), section.data()?);
            survey.add(&Section { address, bytes, entries: &entries, patched: false });
        }
    }
    Ok(true)
}

/// The files below a directory, in order; links are left to where they lead.
fn walk(dir: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<()> {
    ensure!(depth < DEEPEST, "{}: expected at most {DEEPEST} directories below each other", dir.display());
    let entries = fs::read_dir(dir).with_context(|| dir.display().to_string())?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    for path in paths {
        let kind = fs::symlink_metadata(&path)?.file_type();
        if kind.is_dir() {
            walk(&path, depth + 1, files)?;
        } else if kind.is_file() {
            files.push(path);
        }
    }
    Ok(())
}
