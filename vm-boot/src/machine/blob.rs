//! A device tree given as a file: checked, copied token by token, with `/chosen` filled in.
//!
//! Layout (Devicetree specification 0.4, chapter 5): a header of ten big-endian words, reserved ranges,
//! a block of tokens, a block of strings. **Invariant**: every offset is checked against the file; what
//! does not add up is refused.

use vm_fdt::{Error as WriteError, FdtReserveEntry, FdtWriter, FdtWriterNode};

use super::tree::Chosen;
use crate::loader::Problem;

const MAGIC: u64 = 0xd00d_feed;
const HEADER: usize = 40;
const BEGIN_NODE: u32 = 1;
const END_NODE: u32 = 2;
const PROPERTY: u32 = 3;
const NOP: u32 = 4;
const END: u32 = 9;
/// Oldest layout that has the size of the token block; all tools write it.
const VERSION: u64 = 17;

/// Copies `blob` with the properties of `chosen` in its `/chosen`, in place of those it has there.
pub(super) fn with_chosen(blob: &[u8], chosen: &Chosen) -> Result<Vec<u8>, Problem> {
    let tree = Tree::open(blob)?;
    let reserved = tree.reserved()?;
    let mut copy = Copy {
        fdt: FdtWriter::new_with_mem_reserv(&reserved).map_err(refused)?,
        open: Vec::new(),
        chosen: Some(chosen.properties()),
        replaced: Vec::new(),
    };
    copy.run(&tree)?;
    copy.fdt.finish().map_err(refused)
}

/// The parts of a blob.
struct Tree<'a> {
    blob: &'a [u8],
    tokens: &'a [u8],
    strings: &'a [u8],
}

impl<'a> Tree<'a> {
    fn open(blob: &'a [u8]) -> Result<Self, Problem> {
        let magic = word(blob, 0)?;
        if magic != MAGIC {
            return Err(Problem::Format {
                expected: "a flattened device tree (.dtb)",
                found: format!("a file that begins with {magic:#010x}; compile sources with dtc"),
            });
        }
        let total = word(blob, 4)?;
        if total > blob.len() as u64 {
            return Err(Problem::Truncated { expected: total, found: blob.len() as u64 });
        }
        let version = word(blob, 20)?;
        if version < VERSION {
            let what = "version of the device tree";
            return Err(Problem::Header { what, expected: "17 or later", found: version });
        }
        let part = |what, offset: usize, size: usize| {
            let (start, len) = (word(blob, offset)? as usize, word(blob, size)? as usize);
            let place = blob.get(start..start.saturating_add(len));
            place.ok_or(Problem::Header { what, expected: "a place in the file", found: start as u64 })
        };
        Ok(Self {
            blob,
            tokens: part("token block of the device tree", 8, 36)?,
            strings: part("string block of the device tree", 12, 32)?,
        })
    }

    /// Ranges that nobody may use, up to an entry of zeros.
    fn reserved(&self) -> Result<Vec<FdtReserveEntry>, Problem> {
        let mut at = word(self.blob, 16)? as usize;
        let mut entries = Vec::new();
        loop {
            let (start, size) = (double(self.blob, at)?, double(self.blob, at + 8)?);
            if (start, size) == (0, 0) {
                return Ok(entries);
            }
            entries.push(FdtReserveEntry::new(start, size).map_err(refused)?);
            at += 16;
        }
    }

    fn string(&self, offset: usize) -> Result<&'a str, Problem> {
        text(self.strings.get(offset..).unwrap_or_default())
    }
}

/// The copy as far as it has come.
struct Copy {
    fdt: FdtWriter,
    open: Vec<FdtWriterNode>,
    /// Still to be written into `/chosen`.
    chosen: Option<Vec<(&'static str, Vec<u8>)>>,
    /// Names that `/chosen` got from us, while it is open.
    replaced: Vec<&'static str>,
}

impl Copy {
    fn run(&mut self, tree: &Tree) -> Result<(), Problem> {
        let mut at = 0;
        loop {
            let token = word(tree.tokens, at)? as u32;
            at += 4;
            match token {
                BEGIN_NODE => at += self.begin(tree, at)?,
                PROPERTY => at += self.property(tree, at)?,
                END_NODE => self.end()?,
                NOP => {}
                END if self.open.is_empty() => return Ok(()),
                _ => return Err(damaged("token of the device tree", u64::from(token))),
            }
        }
    }

    /// Begins the node whose name is at `at`; returns the bytes of the name as stored.
    fn begin(&mut self, tree: &Tree, at: usize) -> Result<usize, Problem> {
        let name = text(tree.tokens.get(at..).unwrap_or_default())?;
        let depth = self.open.len();
        self.open.push(self.fdt.begin_node(name).map_err(refused)?);
        if depth == 1 && name == "chosen" {
            for (name, value) in self.chosen.take().unwrap_or_default() {
                self.fdt.property(name, &value).map_err(refused)?;
                self.replaced.push(name);
            }
        }
        Ok((name.len() + 1).next_multiple_of(4))
    }

    /// Copies the property whose length and name are at `at`; returns the bytes that follow the token.
    fn property(&mut self, tree: &Tree, at: usize) -> Result<usize, Problem> {
        let len = word(tree.tokens, at)? as usize;
        let name = tree.string(word(tree.tokens, at + 4)? as usize)?;
        let value = at.checked_add(8 + len).and_then(|end| tree.tokens.get(at + 8..end));
        let value = value.ok_or_else(|| damaged("length of a property", len as u64))?;
        if !self.replaced.contains(&name) {
            self.fdt.property(name, value).map_err(refused)?;
        }
        Ok((8 + len).next_multiple_of(4))
    }

    /// Ends a node; the root gets a `/chosen` if the file had none.
    fn end(&mut self) -> Result<(), Problem> {
        let node = self.open.pop().ok_or_else(|| damaged("token of the device tree", u64::from(END_NODE)))?;
        self.replaced.clear();
        if self.open.is_empty()
            && let Some(properties) = self.chosen.take()
        {
            let chosen = self.fdt.begin_node("chosen").map_err(refused)?;
            for (name, value) in properties {
                self.fdt.property(name, &value).map_err(refused)?;
            }
            self.fdt.end_node(chosen).map_err(refused)?;
        }
        self.fdt.end_node(node).map_err(refused)
    }
}

fn word(bytes: &[u8], at: usize) -> Result<u64, Problem> {
    let four = at.checked_add(4).and_then(|end| bytes.get(at..end)).and_then(|four| four.try_into().ok());
    let expected = HEADER.max(at.saturating_add(4)) as u64;
    let four = four.ok_or(Problem::Truncated { expected, found: bytes.len() as u64 });
    Ok(u64::from(u32::from_be_bytes(four?)))
}

fn double(bytes: &[u8], at: usize) -> Result<u64, Problem> {
    Ok(word(bytes, at)? << 32 | word(bytes, at.saturating_add(4))?)
}

fn text(bytes: &[u8]) -> Result<&str, Problem> {
    let end = bytes.iter().position(|&byte| byte == 0);
    end.and_then(|end| std::str::from_utf8(&bytes[..end]).ok())
        .ok_or_else(|| damaged("name in the device tree", bytes.len() as u64))
}

fn damaged(what: &'static str, found: u64) -> Problem {
    Problem::Header { what, expected: "a well-formed tree", found }
}

/// The writer checks names and nesting once more.
fn refused(error: WriteError) -> Problem {
    Problem::Format { expected: "a well-formed device tree", found: format!("one with this flaw: {error}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(with_chosen: bool) -> Vec<u8> {
        let reserved = [FdtReserveEntry::new(0x8000_0000, 0x1000).unwrap()];
        let mut fdt = FdtWriter::new_with_mem_reserv(&reserved).unwrap();
        let root = fdt.begin_node("").unwrap();
        fdt.property_string("compatible", "something").unwrap();
        if with_chosen {
            let chosen = fdt.begin_node("chosen").unwrap();
            fdt.property_string("bootargs", "old").unwrap();
            fdt.property_string("kept", "yes").unwrap();
            fdt.end_node(chosen).unwrap();
        }
        fdt.end_node(root).unwrap();
        fdt.finish().unwrap()
    }

    fn chosen() -> Chosen {
        Chosen { bootargs: Some("new".into()), initrd: Some(0x8100_0000..0x8100_1000), seed: None }
    }

    fn has(blob: &[u8], part: &[u8]) -> bool {
        blob.windows(part.len()).any(|window| window == part)
    }

    #[test]
    fn chosen_is_filled_in_and_the_rest_kept() {
        for present in [true, false] {
            let out = with_chosen(&sample(present), &chosen()).unwrap();
            assert!(has(&out, b"new\0") && has(&out, b"something\0") && !has(&out, b"old\0"));
            assert!(has(&out, &0x8100_1000u64.to_be_bytes()));
            assert_eq!(has(&out, b"yes\0"), present);
            assert_eq!(Tree::open(&out).unwrap().reserved().unwrap().len(), 1);
            assert_eq!(with_chosen(&out, &Chosen::default()).unwrap(), out);
        }
    }

    #[test]
    fn damage_is_refused_and_never_panics() {
        let good = sample(true);
        for cut in 0..good.len() {
            assert!(with_chosen(&good[..cut], &chosen()).is_err(), "{cut}");
        }
        for at in 0..good.len() {
            for byte in [0, 1, 0x7f, 0xff] {
                let mut bad = good.clone();
                bad[at] = byte;
                let _ = with_chosen(&bad, &chosen());
            }
        }
        let text = with_chosen(b"/dts-v1/; / { };....................................", &chosen());
        assert!(text.unwrap_err().to_string().contains("compile sources with dtc"));
    }
}
