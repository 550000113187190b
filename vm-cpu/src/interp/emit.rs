//! The meaning of instructions, done at once: [`Emit`] for the state of a hart.

use crate::csr::Illegal;
use crate::fp::HostFp;
use crate::hart::{Core, Stop};
use crate::isa::Insn;
use crate::isa::emit::{Amo, Bin, Cbo, Cmp, CsrOp, Emit, Flow, Fmt, Fp, Mem, Order, Rm, Size, Step, Sys, Un};
use crate::trap::Cause;

impl Emit for Core {
    type X = u64;
    type Stop = Stop;

    #[inline(always)]
    fn x(&mut self, r: u8) -> u64 {
        self.x[r as usize & 31]
    }

    #[inline(always)]
    fn set_x(&mut self, r: u8, v: u64) {
        self.x[r as usize & 31] = v;
        self.x[0] = 0;
    }

    #[inline(always)]
    fn f(&mut self, r: u8) -> u64 {
        self.f[r as usize & 31]
    }

    #[inline(always)]
    fn set_f(&mut self, r: u8, v: u64) {
        self.f[r as usize & 31] = v;
        self.csr.dirty_fp();
    }

    #[inline(always)]
    fn imm(&mut self, v: i64) -> u64 {
        v as u64
    }

    #[inline(always)]
    fn pc(&mut self, i: &Insn) -> u64 {
        self.pc.wrapping_add(u64::from(i.at) * 2)
    }

    #[inline(always)]
    fn un(&mut self, op: Un, a: u64) -> u64 {
        op.eval(a)
    }

    #[inline(always)]
    fn bin(&mut self, op: Bin, a: u64, b: u64) -> u64 {
        op.eval(a, b)
    }

    #[inline(always)]
    fn cmp(&mut self, op: Cmp, a: u64, b: u64) -> u64 {
        u64::from(op.eval(a, b))
    }

    #[inline(always)]
    fn select(&mut self, c: u64, a: u64, b: u64) -> u64 {
        if c != 0 { a } else { b }
    }

    #[inline(always)]
    fn load(&mut self, _: &Insn, m: Mem, addr: u64) -> Result<u64, Stop> {
        Ok(match (m.size, m.signed) {
            (Size::B, false) => u64::from(self.load_word::<u8>(addr)?),
            (Size::B, true) => self.load_word::<u8>(addr)? as i8 as u64,
            (Size::H, false) => u64::from(self.load_word::<u16>(addr)?),
            (Size::H, true) => self.load_word::<u16>(addr)? as i16 as u64,
            (Size::W, false) => u64::from(self.load_word::<u32>(addr)?),
            (Size::W, true) => self.load_word::<u32>(addr)? as i32 as u64,
            (Size::D, _) => self.load_word::<u64>(addr)?,
        })
    }

    #[inline(always)]
    fn store(&mut self, _: &Insn, m: Mem, addr: u64, v: u64) -> Result<(), Stop> {
        match m.size {
            Size::B => self.store_word(addr, v as u8),
            Size::H => self.store_word(addr, v as u16),
            Size::W => self.store_word(addr, v as u32),
            Size::D => self.store_word(addr, v),
        }
    }

    #[inline(always)]
    fn amo(&mut self, _: &Insn, size: Size, op: Amo, addr: u64, v: u64, _: Order) -> Result<u64, Stop> {
        match size {
            Size::D => self.amo_word(addr, op, v),
            _ => Ok(self.amo_word(addr, op, v as u32)? as i32 as u64),
        }
    }

    fn lr(&mut self, _: &Insn, size: Size, addr: u64, _: Order) -> Result<u64, Stop> {
        match size {
            Size::D => self.load_reserved::<u64>(addr),
            _ => Ok(self.load_reserved::<u32>(addr)? as i32 as u64),
        }
    }

    fn sc(&mut self, _: &Insn, size: Size, addr: u64, v: u64, _: Order) -> Result<u64, Stop> {
        match size {
            Size::D => self.store_conditional::<u64>(addr, v),
            _ => self.store_conditional::<u32>(addr, v as u32),
        }
    }

    fn cas(&mut self, _: &Insn, size: Size, addr: u64, old: u64, new: u64, _: Order) -> Result<u64, Stop> {
        match size {
            Size::D => self.exchange_word(addr, old, new),
            _ => Ok(self.exchange_word(addr, old as u32, new as u32)? as i32 as u64),
        }
    }

    fn cas_pair(
        &mut self,
        _: &Insn,
        addr: u64,
        old: (u64, u64),
        new: (u64, u64),
        _: Order,
    ) -> Result<(u64, u64), Stop> {
        self.exchange_pair(addr, old, new)
    }

    #[inline(always)]
    fn fence(&mut self, pred: u8, succ: u8) {
        // x86 keeps every order but that of a store before a later load.
        if pred & 0b0101 != 0 && succ & 0b1010 != 0 {
            std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
        }
    }

    fn cbo(&mut self, i: &Insn, op: Cbo, addr: u64) -> Result<(), Stop> {
        if !self.csr.cbo_permitted(op) {
            return Err(self.illegal(i));
        }
        self.cache_block(op, addr)
    }

    #[inline(always)]
    fn fp_on(&mut self, i: &Insn) -> Result<(), Stop> {
        if self.csr.fp_on() { Ok(()) } else { Err(self.illegal(i)) }
    }

    #[inline(always)]
    fn fp(&mut self, i: &Insn, op: Fp, fmt: Fmt, rm: Rm, a: u64, b: u64, c: u64) -> Result<u64, Stop> {
        let rm = match rm {
            Rm::Dyn => match self.csr.rounding() {
                Some(rm) => rm,
                None => return Err(self.illegal(i)),
            },
            rm => rm,
        };
        let mut flags = 0;
        let result = self.fpu.get_or_insert_with(HostFp::enter).apply(op, fmt, rm, [a, b, c], &mut flags);
        if flags != 0 {
            self.csr.raise_fp(flags);
        }
        Ok(result)
    }

    fn csr(&mut self, i: &Insn, op: CsrOp, num: u16, src: u64, read: bool, write: bool) -> Result<u64, Stop> {
        if let Some(word) = self.csr.handler_word(num) {
            let old = *word;
            match op {
                _ if !write => {}
                CsrOp::Write => *word = src,
                CsrOp::Set => *word |= src,
                CsrOp::Clear => *word &= !src,
            }
            return Ok(old);
        }
        match self.access_csr(op, num, src, read, write) {
            Ok(old) => Ok(old),
            Err(Illegal) => Err(self.illegal(i)),
        }
    }

    #[inline(never)]
    fn sys(&mut self, i: &Insn, op: Sys, a: u64, b: u64) -> Step<Self> {
        match op {
            Sys::Ecall => Err(self.stop_with(self.csr.prv.ecall(), 0)),
            Sys::Ebreak => {
                let pc = Emit::pc(self, i);
                Err(self.stop_with(Cause::Breakpoint, pc))
            }
            Sys::Mret | Sys::Sret => {
                self.return_from_trap(op == Sys::Mret).map_err(|Illegal| self.illegal(i))
            }
            Sys::Wfi => {
                if !self.csr.wfi_permitted() {
                    return Err(self.illegal(i));
                }
                if self.is_on_trial() {
                    return Err(Stop::Outside);
                }
                self.wait_for_interrupt();
                Ok(Flow::Sync)
            }
            Sys::WrsNto | Sys::WrsSto | Sys::Pause => {
                std::thread::yield_now();
                Ok(Flow::Next)
            }
            Sys::SfenceVma | Sys::SinvalVma => {
                if !self.csr.sfence_permitted() {
                    return Err(self.illegal(i));
                }
                self.fence_vma((i.rs1 != 0).then_some(a), (i.rs2 != 0).then_some(b as u16));
                Ok(Flow::Sync)
            }
            Sys::SfenceWInval | Sys::SfenceInvalIr => {
                if !self.csr.fence_inval_permitted() {
                    return Err(self.illegal(i));
                }
                Ok(Flow::Next)
            }
            Sys::FenceI => {
                self.fence_i = true;
                Ok(Flow::Sync)
            }
        }
    }

    #[cold]
    fn trap(&mut self, _: &Insn, cause: Cause, tval: u64) -> Stop {
        self.stop_with(cause, tval)
    }

    #[inline(always)]
    fn trap_if(&mut self, _: &Insn, cond: u64, cause: Cause, tval: u64) -> Result<(), Stop> {
        if cond != 0 { Err(self.stop_with(cause, tval)) } else { Ok(()) }
    }

    #[cold]
    fn illegal(&mut self, i: &Insn) -> Stop {
        self.stop_with(Cause::IllegalInstruction, u64::from(i.bits))
    }
}
