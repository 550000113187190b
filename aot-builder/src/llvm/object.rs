//! From the object file that LLVM makes to the code of units.
//!
//! ```text
//!  .text.u3 ──────────────► code of unit 3
//!  .rodata.cst8, …  ──────► behind it, if it refers to them: a unit carries its constants
//!  relocations      ──────► names of words, or distances to the constants
//! ```
//! **Invariant.** Whatever else it refers to, or in another way, is refused by name.

use object::elf::{R_X86_64_PC32, R_X86_64_PLT32};
use object::read::elf::ElfFile64;
use object::{
    Object, ObjectSection, ObjectSymbol, RelocationFlags, RelocationTarget, SectionIndex, SectionKind,
};
use thiserror::Error;
use vm_cpu::aot::build::LINE;
use vm_cpu::jit::compile::Name;

use super::insts::word_of;

/// Why an object file is not used.
#[derive(Debug, Error)]
pub enum ObjectError {
    /// No such file at all.
    #[error("the object file cannot be read: {0}")]
    Format(#[from] object::read::Error),
    /// A function is not there.
    #[error("expected a section {0} in the object file, found none")]
    Missing(String),
    /// A relocation of another kind.
    #[error(
        "{section}+{at:#x}: expected a relative relocation of 32 bits to a word or a constant, found {found}"
    )]
    Relocation {
        /// Where.
        section: String,
        /// At which place there.
        at: u64,
        /// What.
        found: String,
    },
}

/// The code of one function.
#[derive(Debug, Default)]
pub struct Code {
    /// Instructions, and the constants they refer to behind them.
    pub bytes: Vec<u8>,
    /// Where it names words behind the text.
    pub names: Vec<Name>,
}

/// The functions of an object file by number.
pub fn units(file: &[u8], count: usize) -> Result<Vec<Code>, ObjectError> {
    let file: ElfFile64 = ElfFile64::parse(file)?;
    (0..count).map(|number| unit(&file, number)).collect()
}

fn unit(file: &ElfFile64, number: usize) -> Result<Code, ObjectError> {
    let name = format!(".text.u{number}");
    let missing = || ObjectError::Missing(name.clone());
    let text = file.section_by_name(&name).ok_or_else(missing)?;
    let mut code = Code { bytes: text.data()?.to_vec(), names: Vec::new() };
    let mut constants: Vec<(SectionIndex, usize)> = Vec::new();
    for (at, relocation) in text.relocations() {
        let refuse = |found: String| ObjectError::Relocation { section: name.clone(), at, found };
        let kind = relocation.flags();
        let (
            RelocationFlags::Elf { r_type: R_X86_64_PC32 | R_X86_64_PLT32 },
            RelocationTarget::Symbol(symbol),
        ) = (kind, relocation.target())
        else {
            return Err(refuse(format!("{kind:?}")));
        };
        let place = usize::try_from(at).ok().filter(|at| at + 4 <= text.size() as usize);
        let place = place.ok_or_else(|| refuse("a place behind the code".to_owned()))?;
        let symbol = file.symbol_by_index(symbol)?;
        let called = symbol.name().unwrap_or_default();
        let Some(section) = symbol.section_index() else {
            let (space, index) = word_of(called).ok_or_else(|| refuse(format!("{called:?}")))?;
            code.names.push(Name { at: place as u32, addend: relocation.addend(), space, index });
            continue;
        };
        let start = match constants.iter().find(|(known, _)| *known == section) {
            Some(&(_, start)) => start,
            None => {
                let constant = file.section_by_index(section)?;
                let is_plain =
                    matches!(constant.kind(), SectionKind::ReadOnlyData | SectionKind::ReadOnlyString);
                if !is_plain || constant.relocations().next().is_some() {
                    return Err(refuse(format!("section {:?}", constant.name().unwrap_or_default())));
                }
                let start = code.bytes.len().next_multiple_of((constant.align().max(1) as usize).min(LINE));
                code.bytes.resize(start, 0);
                code.bytes.extend_from_slice(constant.data()?);
                constants.push((section, start));
                start
            }
        };
        let distance = start as i64 + symbol.address() as i64 + relocation.addend() - place as i64;
        let distance = i32::try_from(distance).map_err(|_| refuse("a constant too far away".to_owned()))?;
        code.bytes[place..place + 4].copy_from_slice(&distance.to_le_bytes());
    }
    Ok(code)
}
