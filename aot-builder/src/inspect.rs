//! `inspect`: images and profiles described, for people.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use vm_cpu::aot::Image;
use vm_cpu::aot::image::hex;
use vm_cpu::aot::unit::AheadUnit;

use crate::listing::Listing;
use crate::named::Named;
use crate::symbols::Symbols;
use crate::{file, profiled};

/// What to show.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The image, or a profile
    #[arg(value_name = "IMAGE|PROFILE")]
    image: PathBuf,
    /// Show the instructions of a unit, or of a profile's block, by its number; may be repeated
    #[arg(long, value_name = "N")]
    unit: Vec<usize>,
    /// How many units or blocks to list, hottest first
    #[arg(long, value_name = "N", default_value_t = 20)]
    top: usize,
    /// Name the guest's code by this ELF file with symbols, or this System.map or /proc/kallsyms of a kernel
    #[arg(long, value_name = "FILE")]
    symbols: Option<PathBuf>,
    /// The uncompressed Image that the map is of
    #[arg(long, value_name = "IMAGE", requires = "symbols")]
    code: Option<PathBuf>,
}

/// Describes it.
pub fn run(args: &Args) -> Result<String> {
    if let Some((profile, length)) = file::profile(&args.image)? {
        ensure!(args.symbols.is_none(), "--symbols: a profile has no names: expected an image");
        return profiled::describe(&profile, length, args.top, &args.unit);
    }
    let (bytes, image) = file::read(&args.image)?;
    let units = image.units()?;
    let count = units.len();
    let unknown = args.unit.iter().find(|&&number| number >= count);
    ensure!(unknown.is_none(), "--unit {}: expected a number below {count}", unknown.unwrap_or(&0));
    let named = args.symbols.as_ref().map(|path| {
        let symbols = Symbols::read(path, args.code.as_deref());
        symbols.map(|symbols| Named::of(&units, symbols)).with_context(|| path.display().to_string())
    });
    let named = named.transpose()?;
    let row = |number| row(&units, number, named.as_ref());
    if args.unit.is_empty() {
        let mut text = head(&image, bytes.len()) + &sums(&units, image.words());
        text.extend((0..count.min(args.top)).map(row));
        text += &more(count, args.top, "units");
        return Ok(text + &named.as_ref().map_or(String::new(), |named| named.table(&units, args.top)));
    }
    let listing = Listing::of(&image);
    Ok(args.unit.iter().map(|&number| row(number) + &listing.unit(&units[number])).collect())
}

/// What is not listed.
pub fn more(count: usize, top: usize, what: &str) -> String {
    if count > top {
        format!("… and {} more {what} (--top {count} shows all)\n", count - top)
    } else {
        String::new()
    }
}

fn head(image: &Image, length: usize) -> String {
    let header = image.header();
    let mut text = format!(
        "guest     {} version {}\nbuild id  {}\nsigned by {}\nneeds     {}, layout {:016x}, ABI {}\nfile      {length} bytes\n",
        header.guest,
        header.version,
        hex(&header.build_id),
        image.key(),
        image.level(),
        header.layout,
        header.abi
    );
    for section in &header.sections {
        let (name, offset, length) = (section.name, section.offset, section.length);
        let digest = hex(&section.digest[..8]);
        let _ = writeln!(text, "section   {name:<8} {length:>10} bytes at {offset:#010x}, BLAKE3 {digest}…");
    }
    text
}

fn sums(units: &[AheadUnit], words: u32) -> String {
    let sum = |of: fn(&AheadUnit) -> usize| units.iter().map(of).sum::<usize>();
    let (sites, code) = (sum(|unit| unit.sites.len()), sum(|unit| unit.len as usize));
    format!(
        "units     {}, {} ways in, {} ways out, {} inline caches\ncode      {code} bytes for {sites} guest instructions, {:.1} each\nwords     {}\n",
        units.len(),
        sum(|unit| unit.entries.len()),
        sum(|unit| unit.links.len()),
        sum(|unit| unit.slots.map_or(0, |slots| slots.len.into())),
        code as f64 / sites.max(1) as f64,
        words
    )
}

/// A unit in one line.
fn row(units: &[AheadUnit], number: usize, named: Option<&Named>) -> String {
    let unit = &units[number];
    let (first, last) = (unit.sites.first(), unit.sites.last());
    let end = last.map_or(0, |site| site.offset + site.bytes());
    format!(
        "unit {number:<5} heat {:>12}  guest {:03x}..{end:03x} {:>4} instructions  host {:#010x} {:>6} bytes  {:>2} in {:>2} out{}\n",
        unit.heat,
        first.map_or(0, |site| site.offset),
        unit.sites.len(),
        unit.text,
        unit.len,
        unit.entries.len(),
        unit.links.len(),
        named.map_or(String::new(), |named| format!("  {}", named.unit(units, number)))
    )
}
