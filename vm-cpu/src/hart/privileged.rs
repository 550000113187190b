//! Instructions that change how the hart runs: CSR accesses, returns, fences.

use super::port::MAIL;
use super::{Core, Mail};
use crate::csr::fields::status;
use crate::csr::{CsrEnv, Effects, Illegal, looks_at_time};
use crate::fp::HostFp;
use crate::interp::Engine;
use crate::isa::Extensions;
use crate::isa::emit::{CsrOp, Flow};
use vm_mmu::PAGE;

/// A remote fence over more pages than this fences everything.
const FENCE_PAGES: u64 = 64;

/// The CSR `time`, whose readers learn nothing of timers.
const TIME: u16 = 0xc01;

/// CSRs that show `fflags`, or `mstatus.FS`, which a raised flag makes dirty.
fn looks_at_fp(num: u16) -> bool {
    const FFLAGS: u16 = 0x001;
    const FCSR: u16 = 0x003;
    const SSTATUS: u16 = 0x100;
    const MSTATUS: u16 = 0x300;
    matches!(num, FFLAGS..=FCSR | SSTATUS | MSTATUS)
}

impl Core {
    /// Extensions that decode.
    pub(crate) fn extensions(&self) -> Extensions {
        self.cpu.extensions
    }

    /// Carries out a CSR instruction; gives the old value.
    pub(crate) fn access_csr(
        &mut self,
        op: CsrOp,
        num: u16,
        src: u64,
        read: bool,
        write: bool,
    ) -> Result<u64, Illegal> {
        if looks_at_fp(num) {
            self.gather_fp();
        }
        let time = match looks_at_time(num) {
            false => 0,
            true if num == TIME => self.outside(|| self.cluster.clock().now()),
            // What `mip` is about to show is pending from now on.
            true => self.look_at_timers(),
        };
        let env = self.csr_env(time);
        let sum = self.csr.mstatus & status::SUM;
        let (old, effects) = self.csr.access(num, op, src, read, write, &env)?;
        if !effects.is_empty() {
            self.apply(effects, sum);
        }
        Ok(old)
    }

    /// Moves the flags that the host's FPU has gathered to `fflags`.
    pub(crate) fn gather_fp(&mut self) {
        let raised = self.fpu.as_ref().map_or(0, HostFp::take);
        if raised != 0 {
            self.csr.raise_fp(raised);
        }
    }

    /// Derives anew what `effects` say has changed. `sum` is `mstatus.SUM` from before.
    fn apply(&mut self, effects: Effects, sum: u64) {
        if effects.any(Effects::TIMER) {
            self.look_at_timers();
        }
        if sum & !self.csr.mstatus != 0 {
            self.tlb.sum_cleared();
        }
        if effects.any(Effects::WALK) || effects.any(Effects::PMP) {
            self.drop_translations();
        }
        self.pmp_changed |= effects.any(Effects::PMP);
        if effects.any(Effects::TRANSLATION) {
            self.review();
        }
        self.recheck |= effects.any(Effects::INTERRUPTS);
    }

    /// Forgets every translation of addresses, in every space.
    pub(super) fn drop_translations(&mut self) {
        self.tlb.reset();
        self.protection.forget();
        self.review();
    }

    /// What a CSR access may need to know.
    fn csr_env(&self, time: u64) -> CsrEnv {
        // An access that looks at counters ends its block: all of it but this one has retired.
        let before = self.retired.wrapping_sub(1);
        CsrEnv { time, cycle: before, instret: before, lines: self.lines() }
    }

    /// `mret` or `sret`.
    pub(crate) fn return_from_trap(&mut self, machine: bool) -> Result<Flow<u64>, Illegal> {
        self.pc = if machine { self.csr.mret() } else { self.csr.sret() }?;
        self.review();
        self.recheck = true;
        Ok(Flow::Switch)
    }

    /// `sfence.vma`: of one address or all, of one address space or all.
    pub(crate) fn fence_vma(&mut self, va: Option<u64>, asid: Option<u16>) {
        match (va, asid) {
            (None, None) => self.tlb.flush_all(),
            (None, Some(asid)) => self.tlb.flush_asid(asid),
            (Some(va), asid) => {
                self.jumps.forget_page(va);
                self.tlb.flush_page(va, asid);
            }
        }
        self.enter_space();
    }

    /// A fence that another hart asked for.
    pub(super) fn fence_range(&mut self, va: u64, size: u64, asid: Option<u16>) {
        if size.div_ceil(PAGE) > FENCE_PAGES {
            return self.fence_vma(None, asid);
        }
        let mut page = va & !(PAGE - 1);
        while page < va.saturating_add(size) {
            self.fence_vma(Some(page), asid);
            match page.checked_add(PAGE) {
                Some(next) => page = next,
                None => break,
            }
        }
    }

    /// See [`super::Hart::remote_fence`].
    pub(super) fn remote_fence(&mut self, engine: &mut Engine, mask: u64, letter: Mail) {
        let (cluster, id) = (self.cluster.clone(), self.id);
        if mask >> id & 1 == 1 {
            self.act_on(engine, letter);
        }
        cluster.post_and_wait(id, mask, letter);
    }

    /// Posts `letter` to all other harts; gives the letters' numbers.
    pub(crate) fn post_to_others(&self, letter: Mail) -> Vec<(usize, u64)> {
        let others = (0..self.cluster.harts()).filter(|&hart| hart != self.id);
        others.map(|hart| (hart, self.cluster.port(hart).post(letter))).collect()
    }

    pub(crate) fn has_mail(&self) -> bool {
        self.attention() & MAIL != 0
    }
}
