//! Which host register holds which guest register, within one block.
//!
//! ```text
//!  guest register: nothing (it is in Core::x) │ host register │ constant │ page + offset     + dirty?
//!  host register:  free │ guest register │ temporary of the instruction │ base of a group
//! ```
//! **Invariants.** A host register that the instruction at hand has seen is not given to anything else before
//! the instruction ends. What is not dirty is in `Core::x` as well.

use super::Writer;
use super::asm::{Code, R15, RAX, RDI, Reg};
use super::value::Value;
use crate::isa::emit::{Mem, Size};
use crate::jit::abi;

/// Registers that hold values: rbx, rbp, rsi, r8 to r14.
const POOL: u16 = 0b0111_1111_0110_1000;

/// Where the value of a guest register is, if not in the hart's state alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    Nothing,
    Reg(Reg),
    Const(i32),
    /// The page's address, plus this.
    Page(i32),
}

/// The state of the registers.
#[derive(Clone, Copy, Debug)]
pub struct Registers {
    held: [Held; 32],
    /// Guest registers whose value `Core::x` does not have.
    pub dirty: u32,
    /// Guest register of a host register of `guests`.
    owner: [u8; 16],
    guests: u16,
    temporaries: u16,
    /// Bases of groups.
    pub bases: u16,
    /// Seen by the instruction at hand.
    busy: u16,
    /// The last one that was taken from somebody.
    victim: u8,
}

impl Registers {
    /// Everything is in the hart's state.
    pub fn new() -> Registers {
        Registers {
            held: [Held::Nothing; 32],
            dirty: 0,
            owner: [0; 16],
            guests: 0,
            temporaries: 0,
            bases: 0,
            busy: 0,
            victim: 0,
        }
    }

    /// The instruction at hand has ended.
    pub fn end_instruction(&mut self) {
        (self.temporaries, self.busy) = (0, 0);
    }

    /// Forgets guest registers that somebody else has written; none of them is dirty.
    pub fn forget(&mut self, registers: u32) {
        for r in 1..32 {
            if registers >> r & 1 != 0 {
                self.release(r);
                self.held[r] = Held::Nothing;
            }
        }
    }

    fn release(&mut self, r: usize) {
        if let Held::Reg(host) = self.held[r] {
            self.guests &= !(1 << host.0);
        }
    }

    /// The base of a group is no longer needed.
    pub fn release_base(&mut self, host: Reg) {
        self.bases &= !(1 << host.0);
    }
}

impl Writer<'_> {
    /// A host register for a value of the instruction at hand.
    pub(super) fn temporary(&mut self) -> Reg {
        let regs = &self.regs;
        let free = POOL & !(regs.guests | regs.temporaries | regs.bases | regs.busy);
        let host = match free {
            0 => self.evict(),
            _ => Reg(free.trailing_zeros() as u8),
        };
        self.regs.temporaries |= 1 << host.0;
        self.regs.busy |= 1 << host.0;
        host
    }

    /// Takes a register from a guest register or a group, in turn.
    fn evict(&mut self) -> Reg {
        let regs = &mut self.regs;
        let candidates = (regs.guests | regs.bases) & !regs.busy;
        if candidates == 0 {
            // No meaning needs so many; the unit is given up.
            self.failed = true;
            return RAX;
        }
        let later = candidates & (u16::MAX << regs.victim << 1);
        let host = if later != 0 { later } else { candidates }.trailing_zeros() as u8;
        regs.victim = host;
        if regs.bases >> host & 1 != 0 {
            regs.bases &= !(1 << host);
            self.groups.close_host(Reg(host));
            return Reg(host);
        }
        let r = usize::from(regs.owner[usize::from(host)]);
        if regs.dirty >> r & 1 != 0 {
            regs.dirty &= !(1 << r);
            self.hot.store(Size::D, R15, abi::x_offset(r), Reg(host));
        }
        self.regs.guests &= !(1 << host);
        self.regs.held[r] = Held::Nothing;
        Reg(host)
    }

    /// A host register that stays beyond the instruction, for the base of a group.
    pub(super) fn keep_as_base(&mut self, host: Reg) {
        self.regs.temporaries &= !(1 << host.0);
        self.regs.bases |= 1 << host.0;
    }

    /// The value of a guest register.
    pub(super) fn read(&mut self, r: u8) -> Value {
        let r = usize::from(r);
        if r == 0 {
            return Value::Imm(0);
        }
        match self.regs.held[r] {
            Held::Reg(host) => {
                self.regs.busy |= 1 << host.0;
                Value::Host(host)
            }
            Held::Const(value) => Value::Imm(value.into()),
            Held::Page(offset) => Value::Page(offset.into()),
            Held::Nothing => {
                let host = self.temporary();
                self.hot.load(Mem::U64, host, R15, abi::x_offset(r));
                self.bind(r, host);
                Value::Host(host)
            }
        }
    }

    fn bind(&mut self, r: usize, host: Reg) {
        self.regs.temporaries &= !(1 << host.0);
        self.regs.guests |= 1 << host.0;
        self.regs.owner[usize::from(host.0)] = r as u8;
        self.regs.held[r] = Held::Reg(host);
    }

    /// Gives a guest register a value.
    pub(super) fn write(&mut self, r: u8, value: Value) {
        let r = usize::from(r);
        if r == 0 {
            return;
        }
        let held = match value {
            Value::Imm(value) => i32::try_from(value).ok().map(Held::Const),
            Value::Page(offset) => i32::try_from(offset).ok().map(Held::Page),
            Value::Host(host) if self.regs.held[r] == Held::Reg(host) => return,
            _ => None,
        };
        if let Some(held) = held {
            self.regs.release(r);
            self.regs.held[r] = held;
            self.regs.dirty |= 1 << r;
            return;
        }
        // The copy may take a register from this one, and stores what it held.
        let host = match value {
            Value::Host(host) if self.regs.temporaries >> host.0 & 1 != 0 => host,
            _ => self.copy(value),
        };
        self.regs.release(r);
        self.bind(r, host);
        self.regs.dirty |= 1 << r;
    }

    /// Stores what the hart's state does not have, flags as they were. `scratch` may change.
    pub(super) fn store_dirty(regs: &Registers, code: &mut Code, scratch: Reg) {
        let mut dirty = regs.dirty;
        while dirty != 0 {
            let r = dirty.trailing_zeros() as usize;
            dirty &= dirty - 1;
            let at = abi::x_offset(r);
            match regs.held[r] {
                Held::Reg(host) => code.store(Size::D, R15, at, host),
                Held::Const(value) => code.store_value(Size::D, R15, at, value),
                Held::Page(offset) => {
                    code.lea(scratch, RDI, offset);
                    code.store(Size::D, R15, at, scratch);
                }
                Held::Nothing => {}
            }
        }
    }

    /// Makes the hart's state whole.
    pub(super) fn settle(&mut self) {
        Self::store_dirty(&self.regs, self.hot, RAX);
        self.regs.dirty = 0;
    }
}
