//! Which programs and libraries to take first where not all can be: what the first program of a boot needs, and
//! what most others do.
//!
//! ```text
//!  init ─► its libraries, theirs, … by how many files name them │ then the others: named often, and small
//! ```

use std::collections::{BTreeMap, BTreeSet};

use object::elf::{DT_NEEDED, DT_SONAME};
use object::read::elf::{Dyn, ElfFile64, FileHeader, ProgramHeader};
use object::{Architecture, LittleEndian, Object, ObjectSection, SectionFlags};

/// What the kernel starts first is called one of these, from the root on.
const FIRST: [&str; 4] = ["usr/lib/systemd/systemd", "sbin/init", "bin/busybox", "bin/sh"];
/// Section flag: it is executed.
const EXECUTABLE: u64 = 4;
/// Bytes of an instruction, about, halved.
const HALVES: u64 = 7;

/// What is known of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Its path.
    pub path: String,
    /// What others call it.
    pub name: String,
    /// The names of what it needs.
    pub needs: Vec<String>,
    /// Bytes of code.
    pub code: u64,
}

impl Known {
    /// Reads it from an ELF file of the guest's architecture that runs by itself or with others.
    pub fn of(path: &str, bytes: &[u8]) -> object::Result<Option<Known>> {
        let elf = ElfFile64::<LittleEndian>::parse(bytes)?;
        let kind = elf.elf_header().e_type(LittleEndian);
        let runs = matches!(kind, object::elf::ET_EXEC | object::elf::ET_DYN);
        if elf.architecture() != Architecture::Riscv64 || !runs {
            return Ok(None);
        }
        let last = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        let mut known = Known { path: path.to_owned(), name: last(path), ..Known::default() };
        for section in elf.sections() {
            let SectionFlags::Elf { sh_flags } = section.flags() else { continue };
            let code = if sh_flags & EXECUTABLE != 0 { section.size() } else { 0 };
            known.code = known.code.saturating_add(code);
        }
        for header in elf.elf_program_headers() {
            if let Ok(Some(interpreter)) = header.interpreter(LittleEndian, bytes) {
                known.needs.push(last(&String::from_utf8_lossy(interpreter)));
            }
        }
        let table = elf.elf_section_table();
        let Some((entries, strings)) = table.dynamic(LittleEndian, bytes)? else { return Ok(Some(known)) };
        let strings = table.strings(LittleEndian, bytes, strings)?;
        for entry in entries {
            let tag = entry.tag32(LittleEndian);
            if !matches!(tag, Some(DT_NEEDED | DT_SONAME)) {
                continue;
            }
            let text = String::from_utf8_lossy(entry.string(LittleEndian, strings)?).into_owned();
            if tag == Some(DT_SONAME) { known.name = text } else { known.needs.push(text) }
        }
        Ok(Some(known))
    }

    fn insns(&self) -> u64 {
        self.code.saturating_mul(2) / HALVES
    }
}

/// The paths of the files to take, with about `most` instructions together. One that does not fit is left out, and
/// smaller ones behind it are not.
pub fn choose(files: &[Known], most: u64) -> BTreeSet<String> {
    let mut by_name = BTreeMap::new();
    for (number, file) in files.iter().enumerate() {
        by_name.entry(file.name.as_str()).or_insert(number);
    }
    let mut needed = vec![0u64; files.len()];
    for name in files.iter().flat_map(|file| &file.needs) {
        by_name.get(name.as_str()).iter().for_each(|&&number| needed[number] += 1);
    }
    let is_first =
        |name: &&str| files.iter().position(|file| file.path.trim_start_matches('/').ends_with(*name));
    let first = FIRST.iter().find_map(is_first);
    let first = first.map_or_else(BTreeSet::new, |first| closure(files, &by_name, first));
    let rank = |number: usize| match first.contains(&number) {
        true => (true, u128::from(needed[number])),
        false => {
            (false, (u128::from(needed[number] + 1).pow(2) << 20) / u128::from(files[number].code.max(1)))
        }
    };
    let mut order: Vec<usize> = (0..files.len()).filter(|&number| files[number].code > 0).collect();
    order.sort_by_key(|&number| (std::cmp::Reverse(rank(number)), number));
    let mut left = most;
    let fits = |number: &usize| {
        let rest = left.checked_sub(files[*number].insns());
        left = rest.unwrap_or(left);
        rest.is_some()
    };
    order.into_iter().filter(fits).map(|number| files[number].path.clone()).collect()
}

/// A file and what it needs, and what that needs.
fn closure(files: &[Known], by_name: &BTreeMap<&str, usize>, number: usize) -> BTreeSet<usize> {
    let (mut all, mut work) = (BTreeSet::from([number]), vec![number]);
    while let Some(at) = work.pop() {
        let needs = files[at].needs.iter().filter_map(|name| by_name.get(name.as_str()));
        work.extend(needs.copied().filter(|&number| all.insert(number)));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, insns: u64, needs: &[&str]) -> Known {
        let name = path.rsplit('/').next().unwrap_or_default().to_owned();
        let needs = needs.iter().map(|&name| name.to_owned()).collect();
        Known { path: path.to_owned(), name, needs, code: insns * HALVES / 2 }
    }

    #[test]
    fn what_init_needs_comes_first_then_what_many_do() {
        let files = [
            file("/bin/a", 100, &["common", "c"]),
            file("/bin/b", 200, &["common"]),
            file("/lib/c", 100, &[]),
            file("/lib/common", 100, &["c"]),
            file("/sbin/init", 100, &["own"]),
            file("/lib/own", 100, &["init"]),
        ];
        let chosen = |most| choose(&files, most).into_iter().collect::<Vec<_>>();
        assert_eq!(chosen(99), Vec::<String>::new());
        assert_eq!(chosen(200), ["/lib/own", "/sbin/init"]);
        assert_eq!(chosen(300), ["/lib/c", "/lib/own", "/sbin/init"]);
        assert_eq!(chosen(499), ["/lib/c", "/lib/common", "/lib/own", "/sbin/init"]);
        assert_eq!(chosen(1000).len(), files.len());
    }
}
