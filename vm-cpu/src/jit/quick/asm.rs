//! The x86-64 instructions that the quick tier is made of, as bytes.
//!
//! ```text
//!  [prefix] [REX] [0f] opcode  ModRM [SIB] [displacement] [immediate]
//! ```
//! Only encoding, no choice of instructions: each method is one instruction, wide (64 bits) unless its name
//! or an argument says otherwise.

use crate::isa::emit::{Mem, Size};

/// A general-purpose register by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reg(pub u8);

pub const RAX: Reg = Reg(0);
pub const RCX: Reg = Reg(1);
pub const RDX: Reg = Reg(2);
pub const RDI: Reg = Reg(7);
pub const R15: Reg = Reg(15);

/// Conditions, as the low half of the opcodes that look at them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Cond {
    Below = 2,
    NotBelow = 3,
    Equal = 4,
    NotEqual = 5,
    Above = 7,
    NotSign = 9,
    Less = 12,
    NotLess = 13,
    Greater = 15,
}

impl Cond {
    /// The opposite.
    pub fn negated(self) -> Cond {
        match self {
            Cond::Below => Cond::NotBelow,
            Cond::NotBelow => Cond::Below,
            Cond::Equal => Cond::NotEqual,
            Cond::NotEqual => Cond::Equal,
            Cond::Less => Cond::NotLess,
            Cond::NotLess => Cond::Less,
            // Asked for of comparisons only.
            Cond::Above | Cond::NotSign | Cond::Greater => self,
        }
    }
}

/// Two-operand arithmetic, by the number in its opcodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Alu {
    Add = 0,
    Or = 1,
    And = 4,
    Sub = 5,
    Xor = 6,
    Cmp = 7,
}

/// Shifts, by the number in their opcodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Shift {
    Rol = 0,
    Ror = 1,
    Shl = 4,
    Shr = 5,
    Sar = 7,
}

/// One-operand arithmetic of opcode `f7`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Unary {
    Not = 2,
    Neg = 3,
    /// `rdx:rax = rax * r`
    Mul = 4,
    Imul = 5,
    /// `rax, rdx = rdx:rax / r`
    Div = 6,
    Idiv = 7,
}

/// The operand that may be in memory.
#[derive(Clone, Copy, Debug)]
enum Rm {
    Reg(Reg),
    Mem(Reg, i32),
    /// Base, index and log2 of its scale.
    Index(Reg, Reg, u8),
}

#[derive(Clone, Copy, Debug)]
enum Imm {
    None,
    Byte(i8),
    Half(i16),
    Word(i32),
}

/// What stands before ModRM.
#[derive(Clone, Copy, Debug, Default)]
struct Op {
    prefix: u8,
    wide: bool,
    /// The operand is a byte: registers 4 to 7 need a REX prefix.
    byte: bool,
    escape: bool,
    code: u8,
}

impl Op {
    const fn wide(code: u8) -> Op {
        Op { prefix: 0, wide: true, byte: false, escape: false, code }
    }

    const fn narrow(code: u8) -> Op {
        Op { wide: false, ..Op::wide(code) }
    }

    const fn escaped(self) -> Op {
        Op { escape: true, ..self }
    }

    const fn of_byte(code: u8) -> Op {
        Op { byte: true, ..Op::narrow(code) }
    }

    const fn after(self, prefix: u8) -> Op {
        Op { prefix, ..self }
    }
}

/// Longest encoding that is put together here.
const LONGEST: usize = 16;

/// Code under construction.
#[derive(Debug, Default)]
pub struct Code {
    pub bytes: Vec<u8>,
}

struct Draft {
    bytes: [u8; LONGEST],
    len: usize,
}

impl Draft {
    fn push(&mut self, byte: u8) {
        self.bytes[self.len & (LONGEST - 1)] = byte;
        self.len += 1;
    }

    fn word(&mut self, word: i32) {
        word.to_le_bytes().into_iter().for_each(|byte| self.push(byte));
    }
}

impl Code {
    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    fn finish(&mut self, draft: &Draft) {
        let end = self.bytes.len() + draft.len;
        self.bytes.extend_from_slice(&draft.bytes);
        self.bytes.truncate(end);
    }

    fn encode(&mut self, op: Op, reg: u8, rm: Rm, imm: Imm) {
        let mut d = Draft { bytes: [0; LONGEST], len: 0 };
        if op.prefix != 0 {
            d.push(op.prefix);
        }
        let (base, index) = match rm {
            Rm::Reg(r) | Rm::Mem(r, _) => (r.0, 0),
            Rm::Index(base, index, _) => (base.0, index.0),
        };
        let rex = u8::from(op.wide) << 3 | (reg >> 3) << 2 | (index >> 3) << 1 | base >> 3;
        if rex != 0 || op.byte {
            d.push(0x40 | rex);
        }
        if op.escape {
            d.push(0x0f);
        }
        d.push(op.code);
        let field = (reg & 7) << 3;
        match rm {
            Rm::Reg(r) => d.push(0xc0 | field | r.0 & 7),
            Rm::Mem(base, disp) => {
                let low = base.0 & 7;
                let mode = match disp {
                    0 if low != 5 => 0x00,
                    -128..=127 => 0x40,
                    _ => 0x80,
                };
                d.push(mode | field | low);
                if low == 4 {
                    d.push(0x24);
                }
                match mode {
                    0x40 => d.push(disp as u8),
                    0x80 => d.word(disp),
                    _ => {}
                }
            }
            Rm::Index(base, index, scale) => {
                // With a displacement of one byte every base is a base.
                d.push(0x44 | field);
                d.push(scale << 6 | (index.0 & 7) << 3 | base.0 & 7);
                d.push(0);
            }
        }
        match imm {
            Imm::None => {}
            Imm::Byte(byte) => d.push(byte as u8),
            Imm::Half(half) => half.to_le_bytes().into_iter().for_each(|byte| d.push(byte)),
            Imm::Word(word) => d.word(word),
        }
        self.finish(&d);
    }

    /// `to = from`
    pub fn mov(&mut self, to: Reg, from: Reg) {
        self.encode(Op::wide(0x89), from.0, Rm::Reg(to), Imm::None);
    }

    /// `to = from`, the low word, zero-extended.
    pub fn mov_word(&mut self, to: Reg, from: Reg) {
        self.encode(Op::narrow(0x89), from.0, Rm::Reg(to), Imm::None);
    }

    /// `to = value`
    pub fn set(&mut self, to: Reg, value: i64) {
        if value == 0 {
            self.encode(Op::narrow(0x31), to.0, Rm::Reg(to), Imm::None);
        } else {
            self.set_without_flags(to, value);
        }
    }

    /// `to = value`, flags as they were.
    pub fn set_without_flags(&mut self, to: Reg, value: i64) {
        if let Ok(word) = u32::try_from(value) {
            let mut d = Draft { bytes: [0; LONGEST], len: 0 };
            if to.0 > 7 {
                d.push(0x41);
            }
            d.push(0xb8 | to.0 & 7);
            d.word(word as i32);
            self.finish(&d);
        } else if let Ok(word) = i32::try_from(value) {
            self.encode(Op::wide(0xc7), 0, Rm::Reg(to), Imm::Word(word));
        } else {
            self.set_address(to, value as u64);
        }
    }

    /// `to = value` in the long form; gives the place of the value.
    pub fn set_address(&mut self, to: Reg, value: u64) -> usize {
        let mut d = Draft { bytes: [0; LONGEST], len: 0 };
        d.push(0x48 | to.0 >> 3);
        d.push(0xb8 | to.0 & 7);
        value.to_le_bytes().into_iter().for_each(|byte| d.push(byte));
        self.finish(&d);
        self.len() - 8
    }

    /// `to = [base + disp]`, extended.
    pub fn load(&mut self, m: Mem, to: Reg, base: Reg, disp: i32) {
        let op = match (m.size, m.signed) {
            (Size::B, false) => Op::narrow(0xb6).escaped(),
            (Size::B, true) => Op::wide(0xbe).escaped(),
            (Size::H, false) => Op::narrow(0xb7).escaped(),
            (Size::H, true) => Op::wide(0xbf).escaped(),
            (Size::W, false) => Op::narrow(0x8b),
            (Size::W, true) => Op::wide(0x63),
            (Size::D, _) => Op::wide(0x8b),
        };
        self.encode(op, to.0, Rm::Mem(base, disp), Imm::None);
    }

    /// `[base + disp] = from`, the low bytes.
    pub fn store(&mut self, size: Size, base: Reg, disp: i32, from: Reg) {
        let op = match size {
            Size::B => Op::of_byte(0x88),
            Size::H => Op::narrow(0x89).after(0x66),
            Size::W => Op::narrow(0x89),
            Size::D => Op::wide(0x89),
        };
        self.encode(op, from.0, Rm::Mem(base, disp), Imm::None);
    }

    /// `[base + disp] = value`, its low bytes; a doubleword is sign-extended.
    pub fn store_value(&mut self, size: Size, base: Reg, disp: i32, value: i32) {
        let (op, imm) = match size {
            Size::B => (Op::narrow(0xc6), Imm::Byte(value as i8)),
            Size::H => (Op::narrow(0xc7).after(0x66), Imm::Half(value as i16)),
            Size::W => (Op::narrow(0xc7), Imm::Word(value)),
            Size::D => (Op::wide(0xc7), Imm::Word(value)),
        };
        self.encode(op, 0, Rm::Mem(base, disp), imm);
    }

    /// `to = base + disp`, flags as they were.
    pub fn lea(&mut self, to: Reg, base: Reg, disp: i32) {
        self.encode(Op::wide(0x8d), to.0, Rm::Mem(base, disp), Imm::None);
    }

    /// `to = base + (index << scale)`, flags as they were. The index is not rsp.
    pub fn lea_index(&mut self, to: Reg, base: Reg, index: Reg, scale: u8) {
        self.encode(Op::wide(0x8d), to.0, Rm::Index(base, index, scale), Imm::None);
    }

    /// `to = to op from`
    pub fn alu(&mut self, op: Alu, to: Reg, from: Reg) {
        self.encode(Op::wide((op as u8) << 3 | 1), from.0, Rm::Reg(to), Imm::None);
    }

    /// `to = to op value`
    pub fn alu_value(&mut self, op: Alu, to: Reg, value: i32) {
        self.alu_rm_value(true, op, Rm::Reg(to), value);
    }

    /// `to = to op value` on the low word, zero-extended.
    pub fn alu_word_value(&mut self, op: Alu, to: Reg, value: i32) {
        self.alu_rm_value(false, op, Rm::Reg(to), value);
    }

    /// `to = to op [base + disp]`
    pub fn alu_load(&mut self, op: Alu, to: Reg, base: Reg, disp: i32) {
        self.encode(Op::wide((op as u8) << 3 | 3), to.0, Rm::Mem(base, disp), Imm::None);
    }

    /// `to = to op [base + disp]` on words.
    pub fn alu_load_word(&mut self, op: Alu, to: Reg, base: Reg, disp: i32) {
        self.encode(Op::narrow((op as u8) << 3 | 3), to.0, Rm::Mem(base, disp), Imm::None);
    }

    /// `[base + disp] = [base + disp] op value`
    pub fn alu_memory(&mut self, size: Size, op: Alu, base: Reg, disp: i32, value: i32) {
        self.alu_rm_value(size == Size::D, op, Rm::Mem(base, disp), value);
    }

    fn alu_rm_value(&mut self, wide: bool, op: Alu, rm: Rm, value: i32) {
        let (code, imm) = match i8::try_from(value) {
            Ok(byte) => (0x83, Imm::Byte(byte)),
            Err(_) => (0x81, Imm::Word(value)),
        };
        self.encode(Op { wide, ..Op::narrow(code) }, op as u8, rm, imm);
    }

    /// Increments the word at `[base]`.
    pub fn inc_word(&mut self, base: Reg) {
        self.encode(Op::narrow(0xff), 0, Rm::Mem(base, 0), Imm::None);
    }

    /// Compares `a` with itself or another by `and`.
    pub fn test(&mut self, a: Reg, b: Reg) {
        self.encode(Op::wide(0x85), b.0, Rm::Reg(a), Imm::None);
    }

    /// Tests the low byte of `a`.
    pub fn test_byte(&mut self, a: Reg, mask: i8) {
        self.encode(Op::of_byte(0xf6), 0, Rm::Reg(a), Imm::Byte(mask));
    }

    /// `to = to shifted by count`
    pub fn shift(&mut self, op: Shift, to: Reg, count: u8) {
        self.encode(Op::wide(0xc1), op as u8, Rm::Reg(to), Imm::Byte(count as i8));
    }

    /// `to = to shifted by count` on the low word.
    pub fn shift_word(&mut self, op: Shift, to: Reg, count: u8) {
        self.encode(Op::narrow(0xc1), op as u8, Rm::Reg(to), Imm::Byte(count as i8));
    }

    /// `to = to shifted by cl`
    pub fn shift_by_cl(&mut self, op: Shift, to: Reg) {
        self.encode(Op::wide(0xd3), op as u8, Rm::Reg(to), Imm::None);
    }

    /// `to = op to`, or what `rax` and `rdx` become by `to`.
    pub fn unary(&mut self, op: Unary, to: Reg) {
        self.encode(Op::wide(0xf7), op as u8, Rm::Reg(to), Imm::None);
    }

    /// `to = to * from`
    pub fn imul(&mut self, to: Reg, from: Reg) {
        self.encode(Op::wide(0xaf).escaped(), to.0, Rm::Reg(from), Imm::None);
    }

    /// `to = from * value`
    pub fn imul_value(&mut self, to: Reg, from: Reg, value: i32) {
        self.encode(Op::wide(0x69), to.0, Rm::Reg(from), Imm::Word(value));
    }

    /// `rdx = rax >> 63`, signed.
    pub fn cqo(&mut self) {
        self.bytes.extend_from_slice(&[0x48, 0x99]);
    }

    /// `to = the low part of from`, extended.
    pub fn extend(&mut self, m: Mem, to: Reg, from: Reg) {
        let op = match (m.size, m.signed) {
            (Size::B, false) => Op::of_byte(0xb6).escaped(),
            (Size::B, true) => Op::wide(0xbe).escaped(),
            (Size::H, false) => Op::narrow(0xb7).escaped(),
            (Size::H, true) => Op::wide(0xbf).escaped(),
            (Size::W, true) => Op::wide(0x63),
            (Size::W, false) => Op::narrow(0x8b),
            (Size::D, _) => Op::wide(0x8b),
        };
        self.encode(op, to.0, Rm::Reg(from), Imm::None);
    }

    /// `to = from` if `cond`.
    pub fn cmov(&mut self, cond: Cond, to: Reg, from: Reg) {
        self.encode(Op::wide(0x40 | cond as u8).escaped(), to.0, Rm::Reg(from), Imm::None);
    }

    /// Low byte of `to` = `cond`, 0 or 1.
    pub fn setcc(&mut self, cond: Cond, to: Reg) {
        self.encode(Op::of_byte(0x90 | cond as u8).escaped(), 0, Rm::Reg(to), Imm::None);
    }

    /// `to = number of the lowest (highest) one of from`; sets Equal, and leaves `to`, if there is none.
    pub fn scan(&mut self, highest: bool, wide: bool, to: Reg, from: Reg) {
        let op = Op { wide, ..Op::narrow(0xbc | u8::from(highest)) };
        self.encode(op.escaped(), to.0, Rm::Reg(from), Imm::None);
    }

    /// `to = number of ones in from`
    pub fn popcnt(&mut self, wide: bool, to: Reg, from: Reg) {
        let op = Op { wide, ..Op::narrow(0xb8) };
        self.encode(op.escaped().after(0xf3), to.0, Rm::Reg(from), Imm::None);
    }

    /// Reverses the bytes of `to`.
    pub fn bswap(&mut self, to: Reg) {
        self.bytes.extend_from_slice(&[0x48 | to.0 >> 3, 0x0f, 0xc8 | to.0 & 7]);
    }

    /// Exchanges `reg` with the word or doubleword at `[base]`, atomically.
    pub fn xchg(&mut self, size: Size, base: Reg, reg: Reg) {
        let op = Op { wide: size == Size::D, ..Op::narrow(0x87) };
        self.encode(op, reg.0, Rm::Mem(base, 0), Imm::None);
    }

    /// Adds `reg` to what is at `[base]`, atomically; `reg` becomes what was there.
    pub fn lock_xadd(&mut self, size: Size, base: Reg, reg: Reg) {
        let op = Op { wide: size == Size::D, ..Op::narrow(0xc1) };
        self.encode(op.escaped().after(0xf0), reg.0, Rm::Mem(base, 0), Imm::None);
    }

    /// `[base] = new` if that holds rax, atomically; rax becomes what was there, Equal says whether.
    pub fn lock_cmpxchg(&mut self, size: Size, base: Reg, new: Reg) {
        let op = Op { wide: size == Size::D, ..Op::narrow(0xb1) };
        self.encode(op.escaped().after(0xf0), new.0, Rm::Mem(base, 0), Imm::None);
    }

    /// `[base] = [base] op reg`, atomically.
    pub fn lock_alu(&mut self, size: Size, op: Alu, base: Reg, reg: Reg) {
        let op = Op { wide: size == Size::D, ..Op::narrow((op as u8) << 3 | 1) };
        self.encode(op.after(0xf0), reg.0, Rm::Mem(base, 0), Imm::None);
    }

    /// Orders earlier stores before later loads.
    pub fn fence(&mut self) {
        // `lock or dword [rsp], 0`
        self.bytes.extend_from_slice(&[0xf0, 0x83, 0x0c, 0x24, 0x00]);
    }

    /// Jumps to what `[base + disp]` holds.
    pub fn jmp_memory(&mut self, base: Reg, disp: i32) {
        self.encode(Op::narrow(0xff), 4, Rm::Mem(base, disp), Imm::None);
    }

    /// Jumps to what `reg` holds.
    pub fn jmp_reg(&mut self, reg: Reg) {
        self.encode(Op::narrow(0xff), 4, Rm::Reg(reg), Imm::None);
    }

    /// A jump whose distance is filled in later; gives the place of that.
    pub fn jmp(&mut self) -> usize {
        self.bytes.extend_from_slice(&[0xe9, 0, 0, 0, 0]);
        self.len() - 4
    }

    /// The same, if `cond`.
    pub fn jcc(&mut self, cond: Cond) -> usize {
        self.bytes.extend_from_slice(&[0x0f, 0x80 | cond as u8, 0, 0, 0, 0]);
        self.len() - 4
    }

    /// A call, likewise.
    pub fn call(&mut self) -> usize {
        self.bytes.extend_from_slice(&[0xe8, 0, 0, 0, 0]);
        self.len() - 4
    }

    /// Back to the dispatcher.
    pub fn ret(&mut self) {
        self.bytes.push(0xc3);
    }

    /// A jump over a few instructions that follow; [`Code::land`] ends it.
    pub fn skip_if(&mut self, cond: Cond) -> usize {
        self.bytes.extend_from_slice(&[0x70 | cond as u8, 0]);
        self.len()
    }

    /// The same, always.
    pub fn skip(&mut self) -> usize {
        self.bytes.extend_from_slice(&[0xeb, 0]);
        self.len()
    }

    /// Here a short jump lands.
    pub fn land(&mut self, skip: usize) {
        self.bytes[skip - 1] = (self.len() - skip) as u8;
    }

    /// A short jump back to `to`, if `cond`.
    pub fn back_if(&mut self, cond: Cond, to: usize) {
        self.bytes.extend_from_slice(&[0x70 | cond as u8, 0]);
        let at = self.len();
        self.bytes[at - 1] = (to as i64 - at as i64) as u8;
    }

    /// Fills in a distance.
    pub fn patch(&mut self, at: usize, distance: i32) {
        self.bytes[at..at + 4].copy_from_slice(&distance.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(write: impl FnOnce(&mut Code)) -> Vec<u8> {
        let mut code = Code::default();
        write(&mut code);
        code.bytes
    }

    /// As an assembler writes them.
    #[test]
    fn registers_and_addresses_are_encoded_as_an_assembler_does() {
        let (r8, r12, r13, rsi) = (Reg(8), Reg(12), Reg(13), Reg(6));
        assert_eq!(bytes(|c| c.mov(r8, RAX)), [0x49, 0x89, 0xc0]);
        assert_eq!(bytes(|c| c.load(Mem::U64, RAX, r12, 8)), [0x49, 0x8b, 0x44, 0x24, 8]);
        assert_eq!(bytes(|c| c.load(Mem::U64, RAX, r13, 0)), [0x49, 0x8b, 0x45, 0]);
        assert_eq!(bytes(|c| c.load(Mem::S32, r8, RCX, 0)), [0x4c, 0x63, 0x01]);
        assert_eq!(bytes(|c| c.store(Size::B, RAX, 0, rsi)), [0x40, 0x88, 0x30]);
        assert_eq!(bytes(|c| c.store(Size::H, RAX, 256, r8)), [0x66, 0x44, 0x89, 0x80, 0, 1, 0, 0]);
        assert_eq!(bytes(|c| c.lea_index(RCX, RDX, r8, 3)), [0x4a, 0x8d, 0x4c, 0xc2, 0]);
        assert_eq!(bytes(|c| c.alu_value(Alu::Cmp, r8, 4096)), [0x49, 0x81, 0xf8, 0, 16, 0, 0]);
        assert_eq!(bytes(|c| c.extend(Mem::U8, RAX, rsi)), [0x40, 0x0f, 0xb6, 0xc6]);
        assert_eq!(bytes(|c| c.lock_xadd(Size::W, RAX, r8)), [0xf0, 0x44, 0x0f, 0xc1, 0x00]);
        assert_eq!(bytes(|c| c.setcc(Cond::Less, rsi)), [0x40, 0x0f, 0x9c, 0xc6]);
        assert_eq!(bytes(|c| c.set(RCX, -1)), [0x48, 0xc7, 0xc1, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(bytes(|c| c.set(r8, 1 << 31)), [0x41, 0xb8, 0, 0, 0, 0x80]);
    }

    #[test]
    fn short_jumps_land_where_they_should() {
        let code = bytes(|c| {
            let top = c.len();
            let skip = c.skip_if(Cond::Equal);
            c.mov(RAX, RCX);
            c.land(skip);
            c.back_if(Cond::NotEqual, top);
        });
        assert_eq!(code, [0x74, 3, 0x48, 0x89, 0xc8, 0x75, 0xf9]);
    }
}
