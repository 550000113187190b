//! The plainest engine, for tests of meaning: registers, some memory from address 0, and a record of what
//! went to the privileged side.

use super::asm::assemble;
use super::emit::{Amo, Bin, Cbo, Cmp, CsrOp, Emit, Flow, Fmt, Fp, Mem, Order, Rm, Size, Step, Sys, Un};
use super::{Extensions, Insn, decode, execute};
use crate::fp;
use crate::trap::{Cause, Trap};

/// One access to a CSR: operation, number, source, whether it reads, whether it writes.
pub type CsrAccess = (CsrOp, u16, u64, bool, bool);

pub struct Calculator {
    pub x: [u64; 32],
    pub f: [u64; 32],
    pub pc: u64,
    pub memory: Vec<u8>,
    pub fp_off: bool,
    pub flags: u8,
    /// Address of the reservation.
    pub reserved: Option<u64>,
    /// What every CSR reads.
    pub csr: u64,
    pub csrs: Vec<CsrAccess>,
    pub systems: Vec<(Sys, u64, u64)>,
    pub fences: Vec<(u8, u8)>,
    pub orders: Vec<Order>,
    pub rounding: Option<Rm>,
    pub synced: bool,
}

impl Calculator {
    pub fn new() -> Calculator {
        Calculator {
            x: [0; 32],
            f: [0; 32],
            pc: 0x1000,
            memory: vec![0; 256],
            fp_off: false,
            flags: 0,
            reserved: None,
            csr: 0,
            csrs: Vec::new(),
            systems: Vec::new(),
            fences: Vec::new(),
            orders: Vec::new(),
            rounding: None,
            synced: false,
        }
    }

    /// Carries out lines of assembler one after the other, wherever they lead; the pc is then that of the
    /// last one's successor.
    pub fn run(&mut self, source: &str) -> Result<(), Trap> {
        self.run_with(source, Extensions::all())
    }

    pub fn run_with(&mut self, source: &str, ext: Extensions) -> Result<(), Trap> {
        for line in source.lines().flat_map(|line| line.split(';')).filter(|line| !line.trim().is_empty()) {
            let program = assemble(self.pc, line).expect("a good line");
            let mut bytes = &program.bytes[..];
            while !bytes.is_empty() {
                let word = bytes.iter().take(4).rev().fold(0, |word, &byte| word << 8 | u32::from(byte));
                let i = decode(word, ext).expect("a legal instruction");
                bytes = &bytes[usize::from(i.len)..];
                self.step(&i)?;
            }
        }
        Ok(())
    }

    pub fn step(&mut self, i: &Insn) -> Result<(), Trap> {
        let next = self.pc + u64::from(i.len);
        self.synced = false;
        self.pc = match execute(self, i)? {
            Flow::Next | Flow::Switch => next,
            Flow::Branch { cond: 0, .. } => next,
            Flow::Branch { off, .. } | Flow::Jump { off } => self.pc.wrapping_add_signed(off),
            Flow::JumpReg { target } => target,
            Flow::Sync => {
                self.synced = true;
                next
            }
        };
        Ok(())
    }

    fn range(&self, cause: Cause, addr: u64, bytes: u64) -> Result<std::ops::Range<usize>, Trap> {
        let end = addr.checked_add(bytes).filter(|&end| end <= self.memory.len() as u64);
        end.map(|end| addr as usize..end as usize).ok_or(Trap { cause, tval: addr })
    }

    fn read(&self, m: Mem, addr: u64) -> Result<u64, Trap> {
        let range = self.range(Cause::LoadAccess, addr, 1 << m.size as u64)?;
        let v = self.memory[range].iter().rev().fold(0, |v, &byte| v << 8 | u64::from(byte));
        Ok(if m.signed { sign_extend(m.size, v) } else { v })
    }

    fn write(&mut self, size: Size, addr: u64, v: u64) -> Result<(), Trap> {
        let range = self.range(Cause::StoreAccess, addr, 1 << size as u64)?;
        let bytes = v.to_le_bytes();
        let count = range.len();
        self.memory[range].copy_from_slice(&bytes[..count]);
        Ok(())
    }
}

fn sign_extend(size: Size, v: u64) -> u64 {
    let unused = 64 - (8 << size as u32);
    ((v << unused) as i64 >> unused) as u64
}

fn amo(size: Size, op: Amo, old: u64, v: u64) -> u64 {
    let (signed, unused) = (sign_extend(size, v), 64 - (8 << size as u32));
    let (sold, snew) = (old as i64, signed as i64);
    match op {
        Amo::Swap => v,
        Amo::Add => old.wrapping_add(v),
        Amo::Xor => old ^ v,
        Amo::And => old & v,
        Amo::Or => old | v,
        Amo::Min => sold.min(snew) as u64,
        Amo::Max => sold.max(snew) as u64,
        Amo::Minu => (old << unused).min(v << unused) >> unused,
        Amo::Maxu => (old << unused).max(v << unused) >> unused,
    }
}

impl Emit for Calculator {
    type X = u64;
    type Stop = Trap;

    fn x(&mut self, r: u8) -> u64 {
        self.x[usize::from(r)]
    }
    fn set_x(&mut self, r: u8, v: u64) {
        self.x[usize::from(r)] = v;
        self.x[0] = 0;
    }
    fn f(&mut self, r: u8) -> u64 {
        self.f[usize::from(r)]
    }
    fn set_f(&mut self, r: u8, v: u64) {
        self.f[usize::from(r)] = v;
    }
    fn imm(&mut self, v: i64) -> u64 {
        v as u64
    }
    fn pc(&mut self, _: &Insn) -> u64 {
        self.pc
    }
    fn un(&mut self, op: Un, a: u64) -> u64 {
        op.eval(a)
    }
    fn bin(&mut self, op: Bin, a: u64, b: u64) -> u64 {
        op.eval(a, b)
    }
    fn cmp(&mut self, op: Cmp, a: u64, b: u64) -> u64 {
        u64::from(op.eval(a, b))
    }
    fn select(&mut self, c: u64, a: u64, b: u64) -> u64 {
        if c != 0 { a } else { b }
    }
    fn load(&mut self, _: &Insn, m: Mem, addr: u64) -> Result<u64, Trap> {
        self.read(m, addr)
    }
    fn store(&mut self, _: &Insn, m: Mem, addr: u64, v: u64) -> Result<(), Trap> {
        self.write(m.size, addr, v)
    }
    fn amo(&mut self, _: &Insn, size: Size, op: Amo, addr: u64, v: u64, o: Order) -> Result<u64, Trap> {
        self.orders.push(o);
        let old = self.read(Mem { size, signed: true }, addr)?;
        self.write(size, addr, amo(size, op, old, v))?;
        Ok(old)
    }
    fn lr(&mut self, _: &Insn, size: Size, addr: u64, o: Order) -> Result<u64, Trap> {
        self.orders.push(o);
        self.reserved = Some(addr);
        self.read(Mem { size, signed: true }, addr)
    }
    fn sc(&mut self, _: &Insn, size: Size, addr: u64, v: u64, o: Order) -> Result<u64, Trap> {
        self.orders.push(o);
        if self.reserved.take() != Some(addr) {
            return Ok(1);
        }
        self.write(size, addr, v)?;
        Ok(0)
    }
    fn cas(&mut self, _: &Insn, size: Size, addr: u64, expect: u64, new: u64, o: Order) -> Result<u64, Trap> {
        self.orders.push(o);
        let old = self.read(Mem { size, signed: true }, addr)?;
        if old == sign_extend(size, expect) {
            self.write(size, addr, new)?;
        }
        Ok(old)
    }
    fn cas_pair(
        &mut self,
        _: &Insn,
        addr: u64,
        expect: (u64, u64),
        new: (u64, u64),
        o: Order,
    ) -> Result<(u64, u64), Trap> {
        self.orders.push(o);
        let old = (self.read(Mem::U64, addr)?, self.read(Mem::U64, addr + 8)?);
        if old == expect {
            self.write(Size::D, addr, new.0)?;
            self.write(Size::D, addr + 8, new.1)?;
        }
        Ok(old)
    }
    fn fence(&mut self, pred: u8, succ: u8) {
        self.fences.push((pred, succ));
    }
    fn cbo(&mut self, _: &Insn, op: Cbo, addr: u64) -> Result<(), Trap> {
        if op == Cbo::Zero {
            let block = self.range(Cause::StoreAccess, addr & !63, 64)?;
            self.memory[block].fill(0);
        }
        Ok(())
    }
    fn fp_on(&mut self, i: &Insn) -> Result<(), Trap> {
        if self.fp_off { Err(self.illegal(i)) } else { Ok(()) }
    }
    fn fp(&mut self, _: &Insn, op: Fp, fmt: Fmt, rm: Rm, a: u64, b: u64, c: u64) -> Result<u64, Trap> {
        self.rounding = Some(rm);
        let rm = if rm == Rm::Dyn { Rm::Rne } else { rm };
        Ok(fp::apply(op, fmt, rm, a, b, c, &mut self.flags))
    }
    fn csr(&mut self, _: &Insn, op: CsrOp, num: u16, src: u64, read: bool, write: bool) -> Result<u64, Trap> {
        self.csrs.push((op, num, src, read, write));
        Ok(self.csr)
    }
    fn sys(&mut self, _: &Insn, op: Sys, a: u64, b: u64) -> Step<Self> {
        self.systems.push((op, a, b));
        match op {
            Sys::Ecall => Err(Trap { cause: Cause::EcallM, tval: 0 }),
            Sys::Ebreak => Err(Trap { cause: Cause::Breakpoint, tval: self.pc }),
            Sys::Mret | Sys::Sret => Ok(Flow::Switch),
            _ => Ok(Flow::Sync),
        }
    }
    fn trap(&mut self, _: &Insn, cause: Cause, tval: u64) -> Trap {
        Trap { cause, tval }
    }
    fn trap_if(&mut self, _: &Insn, cond: u64, cause: Cause, tval: u64) -> Result<(), Trap> {
        if cond != 0 { Err(Trap { cause, tval }) } else { Ok(()) }
    }
    fn illegal(&mut self, i: &Insn) -> Trap {
        Trap { cause: Cause::IllegalInstruction, tval: u64::from(i.bits) }
    }
}
