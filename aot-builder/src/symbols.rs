//! Names of a guest's code: an ELF file with its symbols, or a kernel's `System.map` (or `/proc/kallsyms`) and the
//! `Image` that it is of.
//!
//! **Invariant.** The files are an outsider's. Whatever they hold ends in symbols or in a refusal by name, takes
//! memory and time in proportion to their length, and names are printed as text without control characters.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use object::{Architecture, Object, ObjectKind, ObjectSection, ObjectSymbol, SectionFlags, SymbolKind};
use thiserror::Error;

/// Bytes of a file at most.
const LONGEST: u64 = 1 << 30;
/// Characters of a name that are shown.
const NAME: usize = 120;
/// Symbols of a file at most: some ten times what a kernel has.
const MOST: usize = 2_000_000;
/// The flag of sections that are executed.
const EXECUTABLE: u64 = 4;
/// Where the `Image` of a kernel begins, by the names of its map.
const STARTS: [&str; 2] = ["_start", "_text"];

/// Why a file says nothing of code.
#[derive(Debug, Error)]
pub enum SymbolError {
    /// The host does not give it.
    #[error("cannot be read: {0}")]
    Read(#[from] std::io::Error),
    /// Too much.
    #[error("is too long: expected at most {LONGEST} bytes")]
    Oversized,
    /// Too many of them.
    #[error("has too many symbols: expected at most {MOST}")]
    Many,
    /// A damaged ELF file.
    #[error("is no ELF file that can be read: {0}")]
    Elf(#[from] object::read::Error),
    /// Of another machine, or not linked.
    #[error("expected an ELF program, library or kernel of riscv64, found {0}")]
    Foreign(String),
    /// Its sections are more than the file.
    #[error("expected executable sections of at most {length} bytes, which the file has, found more")]
    Overlapping {
        /// Of the file.
        length: u64,
    },
    /// A line that is none of a map.
    #[error(
        "line {line}: expected an ELF file, or a map with an address, a letter and a name a line, found {found:?}"
    )]
    Line {
        /// Counted from 1.
        line: usize,
        /// Its first characters.
        found: String,
    },
    /// Nothing is named.
    #[error("expected symbols of code, found none{0}")]
    Nameless(&'static str),
    /// A map alone.
    #[error("is a map without code: expected --code with the Image that it is of")]
    Codeless,
    /// Code that the map does not place.
    #[error("expected one of the symbols _start and _text, where the Image begins, found neither")]
    Startless,
}

/// A function, or another place in code.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Symbol {
    /// Where it begins.
    pub address: u64,
    /// Its bytes, if they are known.
    size: Option<u64>,
    /// What it is called.
    pub name: String,
}

/// Code, and where it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Code {
    /// Of the first byte.
    pub address: u64,
    /// All of it.
    pub bytes: Vec<u8>,
}

/// The code and the names of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Symbols {
    /// What is executed.
    pub code: Vec<Code>,
    /// By address, one at each.
    pub names: Vec<Symbol>,
}

impl Symbols {
    /// Of an ELF file, or of a map and the code that it is of.
    pub fn read(path: &Path, code: Option<&Path>) -> Result<Symbols, SymbolError> {
        let bytes = bytes_of(path)?;
        if bytes.starts_with(b"\x7fELF") {
            return Symbols::of_elf(&bytes);
        }
        let names = map(&bytes)?;
        let code = bytes_of(code.ok_or(SymbolError::Codeless)?)?;
        Symbols::of_map(names, code)
    }

    /// Of an ELF file.
    pub fn of_elf(bytes: &[u8]) -> Result<Symbols, SymbolError> {
        let elf = object::File::parse(bytes)?;
        if elf.architecture() != Architecture::Riscv64 || elf.kind() == ObjectKind::Relocatable {
            return Err(SymbolError::Foreign(format!("{:?} of {:?}", elf.kind(), elf.architecture())));
        }
        let length = bytes.len() as u64;
        let (mut code, mut left) = (Vec::new(), length);
        for section in elf.sections() {
            let SectionFlags::Elf { sh_flags } = section.flags() else { continue };
            if sh_flags & EXECUTABLE != 0 {
                let (address, bytes) = (section.address(), section.data()?.to_vec());
                left = left.checked_sub(bytes.len() as u64).ok_or(SymbolError::Overlapping { length })?;
                code.push(Code { address, bytes });
            }
        }
        let of_code = |kind| matches!(kind, SymbolKind::Text | SymbolKind::Unknown | SymbolKind::Label);
        let symbols = elf.symbols().chain(elf.dynamic_symbols());
        let named = symbols.filter(|symbol| of_code(symbol.kind()) && symbol.section_index().is_some());
        let names = named.filter_map(|symbol| {
            let name = symbol.name_bytes().ok().filter(|name| is_name(name))?;
            let size = Some(symbol.size()).filter(|&size| size > 0);
            Some(Symbol { address: symbol.address(), size, name: readable(name) })
        });
        let names: Vec<Symbol> = names.take(MOST + 1).collect();
        Symbols::new(code, names, ": it may have been stripped")
    }

    /// Of a kernel's map and its `Image`.
    fn of_map(names: Vec<Symbol>, bytes: Vec<u8>) -> Result<Symbols, SymbolError> {
        let start = STARTS.iter().find_map(|start| names.iter().find(|symbol| symbol.name == *start));
        let address = start.ok_or(SymbolError::Startless)?.address;
        Symbols::new(vec![Code { address, bytes }], names, "")
    }

    fn new(mut code: Vec<Code>, mut names: Vec<Symbol>, why: &'static str) -> Result<Symbols, SymbolError> {
        code.sort_by_key(|code| code.address);
        let inside = |symbol: &Symbol| {
            let behind = code.partition_point(|code| code.address <= symbol.address);
            let code = behind.checked_sub(1).map(|at| &code[at]);
            code.is_some_and(|code| symbol.address - code.address < code.bytes.len() as u64)
        };
        names.retain(inside);
        if names.len() > MOST {
            return Err(SymbolError::Many);
        }
        // Of those at one address the one with a size, which is a function.
        names.sort_unstable_by(|a, b| {
            (a.address, a.size.is_none(), &a.name).cmp(&(b.address, b.size.is_none(), &b.name))
        });
        names.dedup_by_key(|symbol| symbol.address);
        if names.is_empty() { Err(SymbolError::Nameless(why)) } else { Ok(Symbols { code, names }) }
    }

    /// The symbol that an address lies in.
    pub fn at(&self, address: u64) -> Option<&Symbol> {
        let behind = self.names.partition_point(|symbol| symbol.address <= address);
        let symbol = &self.names[behind.checked_sub(1)?];
        symbol.size.is_none_or(|size| address - symbol.address < size).then_some(symbol)
    }
}

/// The bytes of a file, if they are not too many.
fn bytes_of(path: &Path) -> Result<Vec<u8>, SymbolError> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LONGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST { Err(SymbolError::Oversized) } else { Ok(bytes) }
}

/// The code's names of a map: lines of an address, a letter and a name. What a module has is left out.
fn map(bytes: &[u8]) -> Result<Vec<Symbol>, SymbolError> {
    let mut names = Vec::new();
    for (line, text) in (1..).zip(bytes.split(|&byte| byte == b'\n')) {
        if text.is_empty() {
            continue;
        }
        let wrong = || SymbolError::Line { line, found: readable(&text[..text.len().min(40)]) };
        let mut words = text.split(|&byte| byte == b' ' || byte == b'\t');
        let (Some(address), Some([kind]), Some(name)) = (words.next(), words.next(), words.next()) else {
            return Err(wrong());
        };
        let address = std::str::from_utf8(address).ok().and_then(|text| u64::from_str_radix(text, 16).ok());
        let address = address.ok_or_else(wrong)?;
        if b"tTwW".contains(kind) && is_name(name) && words.next().is_none() {
            if names.len() == MOST {
                return Err(SymbolError::Many);
            }
            names.push(Symbol { address, size: None, name: readable(name) });
        }
    }
    if names.is_empty() { Err(SymbolError::Nameless("")) } else { Ok(names) }
}

/// Whether it is more than the compiler's own mark.
fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && !name.starts_with(b"$") && !name.starts_with(b".L")
}

/// A name that a terminal may be given.
fn readable(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(name);
    let plain = |c: char| if c.is_control() || c.is_whitespace() { '?' } else { c };
    text.chars().take(NAME).map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF program: code at 0x10100, and two functions in it.
    fn elf() -> Vec<u8> {
        let names = b"\0first\0second\0$x\0.text\0.symtab\0.strtab\0";
        let word = |n: u64| n.to_le_bytes();
        let symbol = |name: u32, kind: u8, address: u64, size: u64| {
            let head = [&name.to_le_bytes()[..], &[kind, 0, 1, 0]].concat();
            [&head[..], &word(address), &word(size)].concat()
        };
        let symbols = [
            vec![0; 24],
            symbol(1, 0x12, 0x10100, 0x20),
            symbol(7, 0x12, 0x10120, 4),
            symbol(14, 0, 0x10120, 0),
        ]
        .concat();
        let section =
            |name: u32, kind: u32, flags: u64, address: u64, at: usize, len: usize, more: [u64; 3]| {
                let [link, info, entry] = more;
                let head =
                    [&name.to_le_bytes()[..], &kind.to_le_bytes(), &word(flags), &word(address)].concat();
                let place =
                    [word(at as u64), word(len as u64), word(info << 32 | link), word(1), word(entry)];
                [head, place.concat()].concat()
            };
        let (code, table) = (64, 64 + 64);
        let text = table + symbols.len();
        let headers = text + names.len();
        let mut file = b"\x7fELF\x02\x01\x01".to_vec();
        file.resize(16, 0);
        file.extend([2, 0, 243, 0, 1, 0, 0, 0]);
        file.extend([word(0x10100), word(0), word(headers as u64)].concat());
        file.extend([0, 0, 0, 0, 64, 0, 56, 0, 0, 0, 64, 0, 4, 0, 3, 0]);
        file.resize(code, 0);
        file.extend((0..64).map(|at| at | 1));
        file.extend(&symbols);
        file.extend(names);
        file.extend([0; 64]);
        file.extend(section(17, 1, 6, 0x10100, code, 64, [0; 3]));
        file.extend(section(23, 2, 0, 0, table, symbols.len(), [3, 1, 24]));
        file.extend(section(31, 3, 0, 0, text, names.len(), [0; 3]));
        file
    }

    #[test]
    fn an_elf_file_names_its_functions_and_no_more() {
        let symbols = Symbols::of_elf(&elf()).unwrap();
        assert_eq!((symbols.code[0].address, symbols.code[0].bytes.len()), (0x10100, 64));
        let at = |address| symbols.at(address).map(|symbol| symbol.name.as_str());
        assert_eq!([0x100ff, 0x1011f, 0x10120, 0x10124].map(at), [None, Some("first"), Some("second"), None]);
    }

    #[test]
    fn whatever_an_elf_file_holds_nothing_panics_and_little_is_kept() {
        let good = elf();
        let keeps = |bytes: &[u8]| Symbols::of_elf(bytes).map_or(0, |symbols| symbols.code[0].bytes.len());
        for at in 0..good.len() {
            assert!(keeps(&good[..at]) <= good.len());
            for byte in [0, 1, 0x7f, 0x80, 0xff] {
                let mut bad = good.clone();
                bad[at] = byte;
                assert!(keeps(&bad) <= good.len(), "byte {at}");
            }
        }
        let refused = |at: usize, byte| {
            let mut bad = elf();
            bad[at] = byte;
            Symbols::of_elf(&bad).unwrap_err().to_string()
        };
        assert!(refused(18, 62).contains("found Executable of X86_64"), "{}", refused(18, 62));
        assert!(refused(16, 1).contains("found Relocatable"), "{}", refused(16, 1));
        assert!(refused(5, 9).starts_with("is no ELF file that can be read"));
        // The section of text, twice.
        let mut twice = elf();
        let headers = twice.len() - 3 * 64;
        twice.copy_within(headers..headers + 64, headers + 64);
        let long = twice.len() - 64;
        for (header, at) in [(headers, 0), (headers + 64, 1)] {
            twice[header + 24] = at;
            twice[header + 32..header + 40].copy_from_slice(&(long as u64).to_le_bytes());
        }
        let refused = Symbols::of_elf(&twice).unwrap_err().to_string();
        assert!(refused.contains("expected executable sections of at most"), "{refused}");
    }

    fn map_of(text: &str) -> Result<Symbols, SymbolError> {
        Symbols::of_map(map(text.as_bytes())?, vec![0; 0x100])
    }

    #[test]
    fn a_map_names_what_lies_behind_each_of_its_symbols() {
        let text = "1000 T _start\n1000 T _text\n1010 t $x\n1020 t first\n1040 D data\n1080 W second\n\
                    1090 t of_module [ext4]\n9000 T far\n";
        let symbols = map_of(text).unwrap();
        assert_eq!(symbols.code[0].address, 0x1000);
        let at = |address| symbols.at(address).map(|symbol| symbol.name.as_str());
        assert_eq!(
            [0xfff, 0x1000, 0x1020, 0x1060, 0x1095].map(at),
            [None, Some("_start"), Some("first"), Some("first"), Some("second")]
        );
    }

    #[test]
    fn what_is_no_map_is_refused_by_its_line() {
        let refused = |text: &str| map_of(text).unwrap_err().to_string();
        assert!(refused("1000 T _start\nxyz T a\n").starts_with("line 2: expected an ELF file, or a map"));
        assert!(refused("1000 TT _start\n").starts_with("line 1"));
        assert!(refused("1000\n").contains("found \"1000\""));
        assert!(refused("\u{1b}[31m").contains("found \"?[31m\""), "no control characters");
        assert!(refused("1000 T other\n").contains("where the Image begins, found neither"));
        assert!(refused("1000 D data\n").contains("expected symbols of code, found none"));
    }
}
