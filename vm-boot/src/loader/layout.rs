//! Who lies where in guest RAM while it is being loaded.

use std::ops::Range;

use super::error::{LoadError, Problem};

/// The device tree must lie within 2 MiB that a kernel maps first, so it begins at a multiple of that
/// where RAM is large enough to be generous.
const TREE_ALIGN: u64 = 2 << 20;
/// 32-bit pointers and early page tables of some kernels reach no further.
const TREE_LIMIT: u64 = 3 << 30;
const PAGE: u64 = vm_mmu::PAGE;

/// What has been put into RAM so far.
pub(super) struct Layout {
    ram: Range<u64>,
    tree: Range<u64>,
    taken: Vec<(&'static str, Range<u64>)>,
}

impl Layout {
    /// Nothing in RAM but the place kept for the device tree.
    pub fn new(ram: Range<u64>, tree_len: u64) -> Result<Self, LoadError> {
        let top = ram.end.min(TREE_LIMIT.max(ram.start));
        let align = if top - ram.start >= 2 * TREE_ALIGN { TREE_ALIGN } else { PAGE };
        let start = top.checked_sub(tree_len).map(|start| start & !(align - 1));
        match start.filter(|&start| start >= ram.start) {
            Some(start) => {
                let tree = start..start + tree_len;
                Ok(Self { ram, tree: tree.clone(), taken: vec![("device tree", tree)] })
            }
            None => Err(LoadError::Layout(Problem::NoRoom {
                needed: tree_len,
                at: ram.start,
                room: top - ram.start,
                ram,
            })),
        }
    }

    /// The place of the device tree.
    pub fn tree(&self) -> Range<u64> {
        self.tree.clone()
    }

    /// First address of RAM.
    pub fn base(&self) -> u64 {
        self.ram.start
    }

    /// Bytes free from `at` to the next thing or the end of RAM.
    pub fn room(&self, at: u64) -> u64 {
        if !self.ram.contains(&at) || self.taken.iter().any(|(_, range)| range.contains(&at)) {
            return 0;
        }
        let above = self.taken.iter().map(|(_, range)| range.start).filter(|&start| start >= at).min();
        above.unwrap_or(self.ram.end) - at
    }

    /// Takes `len` bytes at a given address.
    pub fn claim(&mut self, name: &'static str, at: u64, len: u64) -> Result<Range<u64>, Problem> {
        let end = at.checked_add(len).filter(|&end| at >= self.ram.start && end <= self.ram.end);
        let Some(end) = end else {
            return Err(Problem::Outside { range: at..at.saturating_add(len), ram: self.ram.clone() });
        };
        let range = at..end;
        if let Some((other, _)) = self.taken.iter().find(|(_, taken)| overlaps(taken, &range)) {
            return Err(Problem::Overlap { range, other });
        }
        self.taken.push((name, range.clone()));
        Ok(range)
    }

    /// Takes `len` bytes right below the device tree.
    pub fn claim_high(&mut self, name: &'static str, len: u64) -> Result<Range<u64>, Problem> {
        let start = self.tree.start.checked_sub(len).map(|start| start & !(PAGE - 1));
        match start.filter(|&start| start >= self.ram.start) {
            Some(start) => self.claim(name, start, len),
            None => Err(Problem::NoRoom {
                needed: len,
                at: self.ram.start,
                room: self.tree.start - self.ram.start,
                ram: self.ram.clone(),
            }),
        }
    }

    /// That `needed` bytes do not fit at `at`.
    pub fn no_room(&self, at: u64, needed: u64) -> Problem {
        Problem::NoRoom { needed, at, room: self.room(at), ram: self.ram.clone() }
    }
}

fn overlaps(a: &Range<u64>, b: &Range<u64>) -> bool {
    a.start < b.end && b.start < a.end
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: u64 = 0x8000_0000;

    #[test]
    fn the_tree_lies_high_but_below_3_gib() {
        for (memory, at) in [
            (1 << 20, BASE + 0xf_0000),
            (8 << 20, BASE + (6 << 20)),
            (1 << 30, BASE + (1 << 30) - (2 << 20)),
            (8 << 30, TREE_LIMIT - (2 << 20)),
        ] {
            let layout = Layout::new(BASE..BASE + memory, 0x1_0000).unwrap();
            assert_eq!(layout.tree().start, at, "{memory:#x}");
        }
        assert!(Layout::new(BASE..BASE + 0x1000, 0x1_0000).is_err());
    }

    #[test]
    fn nothing_overlaps_and_nothing_leaves_ram() {
        let mut layout = Layout::new(BASE..BASE + (8 << 20), 0x1_0000).unwrap();
        layout.claim("firmware", BASE, 0x1000).unwrap();
        assert!(matches!(
            layout.claim("kernel", BASE + 0xfff, 2),
            Err(Problem::Overlap { other: "firmware", .. })
        ));
        assert!(matches!(layout.claim("kernel", BASE - 1, 2), Err(Problem::Outside { .. })));
        assert!(matches!(layout.claim("kernel", u64::MAX, 2), Err(Problem::Outside { .. })));
        let initrd = layout.claim_high("initrd", 0x1001).unwrap();
        assert_eq!(initrd, BASE + 0x5f_e000..BASE + 0x5f_f001);
        assert_eq!(layout.room(BASE + 0x1000), 0x5f_d000);
        assert_eq!(layout.room(BASE), 0);
        assert!(matches!(layout.claim_high("initrd", 8 << 20), Err(Problem::NoRoom { .. })));
        assert!(matches!(layout.claim_high("initrd", u64::MAX), Err(Problem::NoRoom { .. })));
    }
}
