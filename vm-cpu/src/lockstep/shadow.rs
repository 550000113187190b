//! What a step needs to be done twice: copies of the pages that it writes, and what it saw of the outside.

use std::cell::{Cell, RefCell};

use vm_mmu::{AddressSpace, PAGE};

/// Bytes that are compared and put back at once.
const WORD: usize = 8;

type Copy = Box<[u8; PAGE as usize]>;

/// A page as it was before the step, and as the trial left it.
#[derive(Debug)]
struct Page {
    gpa: u64,
    before: Copy,
    /// None if the trial did not write to it.
    after: Option<Copy>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Between steps: nothing is noted.
    Rest,
    Trial,
    Replay,
}

/// A doubleword that the trial and the replay left different.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word {
    /// Guest-physical address.
    pub gpa: u64,
    /// What the unit left there.
    pub unit: u64,
    /// What the interpreter did.
    pub interpreter: u64,
}

/// The shadow of a hart in lock-step.
#[derive(Debug)]
pub struct Shadow {
    phase: Cell<Phase>,
    pages: RefCell<Vec<Page>>,
    spare: RefCell<Vec<Copy>>,
    /// What the trial saw of the clock, in order.
    tape: RefCell<Vec<u64>>,
    played: Cell<usize>,
    /// Traps and interrupts that the trial took.
    taken: Cell<[u64; 2]>,
    /// Those that the replay has yet to take.
    expected: Cell<[u64; 2]>,
    /// The interrupt wires when the step began.
    lines: Cell<u64>,
    /// What was found, once something was.
    pub report: RefCell<Option<String>>,
}

impl Default for Shadow {
    fn default() -> Self {
        Shadow {
            phase: Cell::new(Phase::Rest),
            pages: RefCell::default(),
            spare: RefCell::default(),
            tape: RefCell::default(),
            played: Cell::new(0),
            taken: Cell::default(),
            expected: Cell::default(),
            lines: Cell::new(0),
            report: RefCell::default(),
        }
    }
}

impl Shadow {
    /// A step begins with its trial. The interrupt wires stay as they are until its end.
    pub fn begin(&self, lines: u64) {
        let mut spare = self.spare.borrow_mut();
        for page in self.pages.borrow_mut().drain(..) {
            spare.push(page.before);
            spare.extend(page.after);
        }
        self.tape.borrow_mut().clear();
        self.taken.set([0; 2]);
        self.lines.set(lines);
        self.phase.set(Phase::Trial);
    }

    /// Ends the step.
    pub fn end(&self) {
        self.phase.set(Phase::Rest);
    }

    /// Whether the trial is on, which must not touch devices.
    pub fn is_trial(&self) -> bool {
        self.phase.get() == Phase::Trial
    }

    /// Whether a store has to be announced with [`Shadow::save`] before it is made.
    pub fn is_watching(&self) -> bool {
        self.phase.get() != Phase::Rest
    }

    /// Keeps the page of `gpa`, which is about to be written.
    pub fn save(&self, memory: &AddressSpace, gpa: u64) {
        let gpa = gpa & !(PAGE - 1);
        let mut pages = self.pages.borrow_mut();
        if !self.is_watching() || pages.iter().any(|page| page.gpa == gpa) {
            return;
        }
        pages.push(Page { gpa, before: self.copy(memory, gpa), after: None });
    }

    /// A value from outside: what `look` gives, or what the trial saw at this point.
    pub fn see(&self, look: impl FnOnce() -> u64) -> u64 {
        match self.phase.get() {
            Phase::Rest => look(),
            Phase::Trial => {
                let seen = look();
                self.tape.borrow_mut().push(seen);
                seen
            }
            Phase::Replay => {
                let at = self.played.replace(self.played.get() + 1);
                // Past the end the replay is astray, which the comparison will show.
                self.tape.borrow().get(at).copied().unwrap_or_else(look)
            }
        }
    }

    /// The trial is over: keeps what it wrote, takes it back, and lets the replay begin.
    pub fn turn_back(&self, memory: &AddressSpace) {
        for page in self.pages.borrow_mut().iter_mut() {
            let after = self.copy(memory, page.gpa);
            put_back(memory, page.gpa, &page.before, &after);
            page.after = Some(after);
        }
        self.replay();
    }

    /// Takes back what the replay wrote, and lets it begin anew.
    pub fn turn_back_again(&self, memory: &AddressSpace) {
        for page in self.pages.borrow().iter() {
            let now = self.copy(memory, page.gpa);
            put_back(memory, page.gpa, &page.before, &now);
        }
        self.replay();
    }

    /// A trap is taken.
    pub fn note_trap(&self) {
        self.note(0);
    }

    /// An interrupt is taken.
    pub fn note_interrupt(&self) {
        self.note(1);
    }

    fn note(&self, kind: usize) {
        let step = |counts: &Cell<[u64; 2]>, change: fn(u64) -> u64| {
            let mut now = counts.get();
            now[kind] = change(now[kind]);
            counts.set(now);
        };
        match self.phase.get() {
            Phase::Rest => {}
            Phase::Trial => step(&self.taken, |n| n + 1),
            Phase::Replay => step(&self.expected, |n| n.saturating_sub(1)),
        }
    }

    /// Whether the trial has taken a trap, and an interrupt, that the replay has yet to take.
    pub fn expects(&self) -> (bool, bool) {
        let [traps, interrupts] = self.expected.get();
        (traps > 0, interrupts > 0)
    }

    /// The interrupt wires, if they are held.
    pub fn lines(&self) -> Option<u64> {
        self.is_watching().then(|| self.lines.get())
    }

    fn replay(&self) {
        self.played.set(0);
        self.expected.set(self.taken.get());
        self.phase.set(Phase::Replay);
    }

    /// The doublewords that the replay left other than the trial.
    pub fn differences(&self, memory: &AddressSpace) -> Vec<Word> {
        let mut words = Vec::new();
        for page in self.pages.borrow().iter() {
            let now = self.copy(memory, page.gpa);
            let unit = page.after.as_ref().unwrap_or(&page.before);
            if now != *unit {
                let pairs = unit.chunks_exact(WORD).zip(now.chunks_exact(WORD)).enumerate();
                words.extend(pairs.filter(|(_, (unit, now))| unit != now).map(|(n, (unit, now))| Word {
                    gpa: page.gpa + (n * WORD) as u64,
                    unit: number(unit),
                    interpreter: number(now),
                }));
            }
            self.spare.borrow_mut().push(now);
        }
        words
    }

    fn copy(&self, memory: &AddressSpace, gpa: u64) -> Copy {
        let mut copy = self.spare.borrow_mut().pop().unwrap_or_else(|| Box::new([0; PAGE as usize]));
        // Stores to the page were about to be permitted: it is RAM.
        if memory.read(gpa, &mut copy[..]).is_err() {
            copy.fill(0);
        }
        copy
    }
}

/// Writes the doublewords of `before` that are others now.
fn put_back(memory: &AddressSpace, gpa: u64, before: &Copy, now: &Copy) {
    if before == now {
        return;
    }
    let pairs = before.chunks_exact(WORD).zip(now.chunks_exact(WORD)).enumerate();
    for (n, (before, _)) in pairs.filter(|(_, (before, now))| before != now) {
        // It could be read, and was written before.
        let _ = memory.write(gpa + (n * WORD) as u64, before);
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use vm_mmu::{Backend, Perm};

    const BASE: u64 = 0x8000_0000;

    fn memory() -> AddressSpace {
        let memory = AddressSpace::new(BASE..BASE + 4 * PAGE).unwrap();
        memory.map(BASE..BASE + 4 * PAGE, Backend::Linear { huge: false }, Perm::RWX).unwrap();
        memory
    }

    #[test]
    fn what_a_trial_wrote_is_taken_back_and_compared_with_the_replay() {
        let (memory, shadow) = (memory(), Shadow::default());
        memory.write_u64(BASE + 8, 1).unwrap();
        shadow.begin(0);
        shadow.save(&memory, BASE + 8);
        memory.write_u64(BASE + 8, 2).unwrap();
        memory.write_u64(BASE + 16, 3).unwrap();
        shadow.turn_back(&memory);
        assert_eq!((memory.read_u64(BASE + 8), memory.read_u64(BASE + 16)), (Ok(1), Ok(0)));
        memory.write_u64(BASE + 8, 2).unwrap();
        let word = Word { gpa: BASE + 16, unit: 3, interpreter: 0 };
        assert_eq!(shadow.differences(&memory), [word]);
        memory.write_u64(BASE + 16, 3).unwrap();
        assert_eq!(shadow.differences(&memory), []);
    }

    #[test]
    fn a_store_of_the_replay_alone_is_a_difference() {
        let (memory, shadow) = (memory(), Shadow::default());
        shadow.begin(0);
        shadow.turn_back(&memory);
        shadow.save(&memory, BASE + PAGE);
        memory.write_u64(BASE + PAGE, 7).unwrap();
        assert_eq!(shadow.differences(&memory), [Word { gpa: BASE + PAGE, unit: 0, interpreter: 7 }]);
    }

    #[test]
    fn the_replay_sees_what_the_trial_saw() {
        let (memory, shadow) = (memory(), Shadow::default());
        shadow.begin(0);
        assert_eq!((shadow.see(|| 5), shadow.see(|| 6)), (5, 6));
        shadow.turn_back(&memory);
        assert_eq!((shadow.see(|| 7), shadow.see(|| 8), shadow.see(|| 9)), (5, 6, 9));
        shadow.end();
        assert_eq!(shadow.see(|| 1), 1);
    }
}
