//! Any page tables: the walk finds what a plain reading of the manual finds, and marks the same entries.
//!
//! ```text
//!  0..2 the spaces' schemes   2 mode   3..11 an address   then steps: an entry changes, or an address is walked
//! ```
//! Eight tables lie beside each other and point to each other and to themselves. Nothing else is memory, and the
//! last of them cannot be written.

use std::cell::{Cell, RefCell};

use vm_mmu::paging::sv::{A, D, G, N, PBMT, R, U, V, W, X};
use vm_mmu::paging::{PteMemory, WalkCache, walk};
use vm_mmu::{Access, Leaf, PAGE, Scheme, WalkFault, WalkMode};

use super::Input;

const TABLES: u64 = 0x8000_0000;
const COUNT: u64 = 8;
const ENTRIES: u64 = 512;
/// Page number in an entry, once it is shifted down.
const PPN: u64 = (1 << 44) - 1;
const READ_ONLY: u64 = TABLES + (COUNT - 1) * PAGE;

/// The tables.
#[derive(Clone)]
struct Tables {
    entries: RefCell<Vec<u64>>,
    /// Another hart sets A of the next entry that a walk wants to change, just before.
    contended: Cell<bool>,
}

impl Tables {
    fn new() -> Tables {
        Tables { entries: RefCell::new(vec![0; (COUNT * ENTRIES) as usize]), contended: Cell::new(false) }
    }

    fn index(gpa: u64) -> Option<usize> {
        assert!(gpa.is_multiple_of(8), "{gpa:#x}: an entry is loaded in one piece");
        (TABLES..TABLES + COUNT * PAGE).contains(&gpa).then(|| ((gpa - TABLES) / 8) as usize)
    }

    fn store(&self, gpa: u64, pte: u64) {
        if let Some(index) = Tables::index(gpa) {
            self.entries.borrow_mut()[index] = pte;
        }
    }
}

impl PteMemory for Tables {
    fn load(&self, gpa: u64) -> Option<u64> {
        Tables::index(gpa).map(|index| self.entries.borrow()[index])
    }

    fn cas(&self, gpa: u64, old: u64, new: u64) -> Option<bool> {
        let index = Tables::index(gpa).filter(|_| gpa < READ_ONLY)?;
        if self.contended.take() {
            self.entries.borrow_mut()[index] |= A;
        }
        let found = self.load(gpa)?;
        if found == old {
            self.store(gpa, new);
        }
        Some(found == old)
    }
}

/// An address space.
#[derive(Clone, Copy)]
struct Space {
    id: u32,
    scheme: Scheme,
    root: u64,
}

impl Space {
    fn levels(&self) -> u32 {
        match self.scheme {
            Scheme::Bare => 0,
            Scheme::Sv39 => 3,
            Scheme::Sv48 => 4,
            Scheme::Sv57 => 5,
        }
    }

    /// `va` as its high bits must be.
    fn canonical(&self, va: u64) -> u64 {
        let unused = 64 - (12 + 9 * self.levels());
        ((va << unused) as i64 >> unused) as u64
    }

    /// The entry where a walk of `va` ends now, or comes to level `stop`, and its level.
    fn end(&self, tables: &Tables, va: u64, stop: u32) -> (u64, u32) {
        let (mut a, mut i) = (self.root, self.levels().saturating_sub(1));
        loop {
            let at = a + (va >> (12 + 9 * i) & 511) * 8;
            match tables.load(at) {
                Some(pte) if pte & (V | R | W | X) == V && i > stop => {
                    (a, i) = ((pte >> 10 & PPN) * PAGE, i - 1)
                }
                _ => return (at, i),
            }
        }
    }

    /// The manual's algorithm ("Virtual Address Translation Process"), step by step.
    fn translate(&self, tables: &Tables, va: u64, access: Access, mode: WalkMode) -> Result<Leaf, WalkFault> {
        if self.scheme == Scheme::Bare {
            return Ok(Leaf::bare(va));
        }
        if self.canonical(va) != va {
            return Err(WalkFault::Page);
        }
        let (mut a, mut i) = (self.root, self.levels() - 1);
        loop {
            let at = a + (va >> (12 + 9 * i) & 511) * 8;
            let pte = tables.load(at).ok_or(WalkFault::Access)?;
            let has = |bits: u64| pte & bits != 0;
            if !has(V) || (!has(R) && has(W)) || has(0x7f << 54) {
                return Err(WalkFault::Page);
            }
            if has(R) || has(X) {
                return leaf(tables, at, pte, i, va, access, mode);
            }
            if has(D | A | U | PBMT | N) || i == 0 {
                return Err(WalkFault::Page);
            }
            (a, i) = ((pte >> 10 & PPN) * PAGE, i - 1);
        }
    }
}

/// Steps 5 to 10 of the algorithm.
fn leaf(
    tables: &Tables,
    at: u64,
    pte: u64,
    level: u32,
    va: u64,
    access: Access,
    mode: WalkMode,
) -> Result<Leaf, WalkFault> {
    let has = |bits: u64| pte & bits != 0;
    if has(PBMT) && (!mode.pbmte || pte & PBMT == PBMT) {
        return Err(WalkFault::Page);
    }
    let ppn = pte >> 10 & PPN;
    let mut bits = 12 + 9 * level;
    if has(N) {
        if !mode.napot || level > 0 || ppn & 0xf != 8 {
            return Err(WalkFault::Page);
        }
        bits = 16;
    } else if ppn & ((1 << (9 * level)) - 1) != 0 {
        return Err(WalkFault::Page);
    }
    let data = if mode.user { has(U) } else { !has(U) || mode.sum };
    let read = data && (has(R) || mode.mxr && has(X));
    let write = data && has(W);
    let exec = has(X) && has(U) == mode.user;
    let permitted = match access {
        Access::Load => read,
        Access::Store => write,
        Access::Fetch => exec,
    };
    if !permitted {
        return Err(WalkFault::Page);
    }
    let touched = pte | A | if access == Access::Store { D } else { 0 };
    if touched != pte {
        if !mode.adue {
            return Err(WalkFault::Page);
        }
        if at >= READ_ONLY {
            return Err(WalkFault::Access);
        }
        tables.store(at, touched);
    }
    let size = 1u64 << bits;
    let gpa = ((ppn * PAGE) & !(size - 1)) | (va & (size - 1) & !(PAGE - 1));
    Ok(Leaf { gpa, size, read, write: write && touched & D != 0, exec, user: has(U), global: has(G) })
}

/// An entry that may be a good one.
fn entry(input: &mut Input, level: u32) -> u64 {
    let flags = match input.byte() {
        0..100 if level > 0 => V,
        n @ 0..250 => u64::from(n) | V,
        n => u64::from(n),
    };
    let leaf = flags & (R | X) != 0;
    let ppn = match input.byte() % 16 {
        0 => input.number::<6>(),
        1 | 2 => input.number::<4>() << 4 | 8,
        3.. if leaf => input.number::<4>() << (9 * level),
        _ => TABLES / PAGE + u64::from(input.byte()) % COUNT,
    };
    let high = match input.byte() {
        n @ 0..16 => u64::from(n) << 60,
        n @ 16..20 => 1 << (54 + n - 16),
        _ => 0,
    };
    let pointer = if !leaf && high == 0 { !(D | A | U) } else { !0 };
    (flags | high | (ppn & PPN) << 10) & if input.byte().is_multiple_of(8) { !0 } else { pointer }
}

fn mode(input: &mut Input) -> WalkMode {
    let bits = input.byte();
    let bit = |n: u8| bits >> n & 1 != 0;
    WalkMode { user: bit(0), sum: bit(1), mxr: bit(2), adue: bit(3), pbmte: bit(4), napot: bit(5) }
}

/// The target.
pub fn run(data: &[u8]) {
    play(data);
}

/// Plays the input; gives how many walks there were, and how many of them arrived.
fn play(data: &[u8]) -> (u32, u32) {
    let mut input = Input(data);
    let mut world = World::new(&mut input);
    let (mut walks, mut arrived) = (0, 0);
    while !input.is_empty() {
        let (space, address) = (input.pick(&world.spaces), input.pick(&world.addresses));
        let va = if input.byte().is_multiple_of(16) { address } else { space.canonical(address) };
        if input.byte().is_multiple_of(2) {
            world.change(&mut input, space, va);
        } else {
            walks += 1;
            arrived += u32::from(world.walk(&mut input, space, va));
        }
    }
    (walks, arrived)
}

/// What steps work on.
struct World {
    spaces: [Space; 2],
    mode: WalkMode,
    /// They part at each of the levels.
    addresses: [u64; 6],
    tables: Tables,
    cache: WalkCache,
}

impl World {
    fn new(input: &mut Input) -> World {
        let spaces = [1, 2].map(|id| {
            let scheme = input.pick(&[Scheme::Sv39, Scheme::Sv48, Scheme::Sv57, Scheme::Bare]);
            Space { id, scheme, root: TABLES + u64::from(id - 1) * PAGE }
        });
        let mode = mode(input);
        let va = input.number::<8>();
        let addresses = std::array::from_fn(|n| va ^ (u64::from(n != 0) << (12 + 9 * n)));
        World { spaces, mode, addresses, tables: Tables::new(), cache: WalkCache::new() }
    }

    /// Changes an entry that leads to `va`: mostly the one where walks end, so that they get further.
    fn change(&mut self, input: &mut Input, space: Space, va: u64) {
        let stop = u32::from(input.byte().saturating_sub(200)) % 5;
        let (at, level) = space.end(&self.tables, va, stop);
        self.tables.store(at, entry(input, level));
        // What a fence does: all at once, or address by address.
        if input.byte().is_multiple_of(2) {
            return self.cache.clear();
        }
        for address in self.addresses {
            self.cache.drop_page(address);
            self.spaces.iter().for_each(|space| self.cache.drop_page(space.canonical(address)));
        }
    }

    /// Walks, and says whether that arrived.
    fn walk(&mut self, input: &mut Input, space: Space, va: u64) -> bool {
        let access = input.pick(&[Access::Load, Access::Store, Access::Fetch]);
        let marked = self.tables.clone();
        let expected = space.translate(&marked, va, access, self.mode);
        self.tables.contended.set(input.byte().is_multiple_of(4));
        self.cache.enter(space.id);
        let found = walk(&self.tables, space.scheme, space.root, va, access, self.mode, &mut self.cache);
        self.tables.contended.set(false);
        assert_eq!(found, expected, "{:?} {va:#x} {access:?} {:?}", space.scheme, self.mode);
        assert!(self.tables.entries == marked.entries, "{va:#x} {access:?}: other entries are marked");
        found.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    /// Walks that all end at the root would test little.
    #[test]
    fn walks_arrive_often_enough() {
        let mut random = Random::new(1);
        let (mut walks, mut arrived) = (0, 0);
        for _ in 0..1000 {
            let mut input: Vec<u8> = (0..2000).map(|_| random.word() as u8).collect();
            // Translated, in both spaces.
            input[..2].fill(0);
            let (w, a) = play(&input);
            (walks, arrived) = (walks + w, arrived + a);
        }
        assert!(arrived * 20 > walks, "{arrived} of {walks} walks arrive");
    }
}
