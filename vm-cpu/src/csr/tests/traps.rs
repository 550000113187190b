//! Entry into handlers and return from them.

use super::*;
use crate::csr::fields::{irq, status as ms};
use crate::trap::{Cause, Trap};

const M_VECTOR: u64 = 0x8000_1000;
const S_VECTOR: u64 = 0x9000_1000;
const XL: u64 = ms::UXL | ms::SXL;

/// A hart at `prv` with vectors set and everything delegated that can be.
fn delegating(prv: Priv) -> CsrFile {
    let mut file = hart();
    file.keep("mtvec", M_VECTOR);
    file.keep("stvec", S_VECTOR);
    file.keep("medeleg", u64::MAX);
    file.keep("mideleg", u64::MAX);
    file.prv = prv;
    file
}

#[test]
fn a_delegated_exception_goes_to_s_mode_and_leaves_m_registers_alone() {
    for (prv, spp) in [(Priv::User, 0), (Priv::Supervisor, ms::SPP)] {
        let mut file = delegating(prv);
        file.mstatus |= ms::SIE | ms::MIE;
        let pc = file.take_trap(Trap { cause: Cause::LoadPage, tval: 0xdead }, 0x1002);
        assert_eq!((pc, file.prv), (S_VECTOR, Priv::Supervisor));
        assert_eq!((file.sepc, file.scause, file.stval), (0x1002, 13, 0xdead));
        assert_eq!((file.mepc, file.mcause, file.mtval), (0, 0, 0));
        assert_eq!(file.mstatus, XL | ms::SPIE | ms::MIE | spp);
    }
}

#[test]
fn exceptions_of_m_mode_are_never_delegated() {
    let mut file = delegating(Priv::Machine);
    let pc = file.take_trap(Trap { cause: Cause::LoadPage, tval: 1 }, 0x1000);
    assert_eq!((pc, file.prv, file.mcause, file.mtval), (M_VECTOR, Priv::Machine, 13, 1));
    assert_eq!(file.mstatus, XL | ms::MPP);
}

#[test]
fn undelegated_exceptions_go_to_m_mode_and_record_where_from() {
    for (prv, mpp) in [(Priv::User, 0), (Priv::Supervisor, 1), (Priv::Machine, 3)] {
        let mut file = delegating(prv);
        file.mstatus |= ms::MIE | ms::SIE;
        let pc = file.take_trap(Trap { cause: Cause::EcallM, tval: 0 }, 0x1000);
        assert_eq!((pc, file.prv, file.mcause, file.mepc), (M_VECTOR, Priv::Machine, 11, 0x1000));
        assert_eq!(file.mstatus, XL | ms::MPIE | ms::SIE | mpp << ms::MPP_SHIFT);
    }
}

#[test]
fn only_interrupts_use_the_vector_table() {
    for (mode, offset) in [(0, 0), (1, 1)] {
        let mut file = delegating(Priv::Supervisor);
        file.keep("mtvec", M_VECTOR | mode);
        file.keep("stvec", S_VECTOR | mode);
        assert_eq!(file.clone().take_interrupt(irq::MTI, 0), M_VECTOR + 0x1c * offset);
        assert_eq!(file.clone().take_interrupt(irq::SEI, 0), S_VECTOR + 0x24 * offset);
        let illegal = Trap { cause: Cause::IllegalInstruction, tval: 0 };
        assert_eq!(file.take_trap(illegal, 0), S_VECTOR);
    }
}

#[test]
fn the_pc_kept_by_a_trap_is_one_that_its_register_can_hold() {
    let odd = Trap { cause: Cause::InstructionAccess, tval: 0x1003 };
    for (prv, kept) in [(Priv::Supervisor, [0x1002, 0]), (Priv::Machine, [0, 0x1002])] {
        let mut file = delegating(prv);
        file.take_trap(odd, 0x1003);
        assert_eq!([file.sepc, file.mepc], kept, "{prv:?}");
    }
}

#[test]
fn interrupt_causes_have_the_top_bit_and_no_value() {
    let mut file = delegating(Priv::User);
    file.stval = 5;
    file.take_interrupt(irq::SSI, 0x44);
    assert_eq!((file.scause, file.stval, file.sepc), (1 << 63 | 1, 0, 0x44));
    file.take_interrupt(irq::MEI, 0x48);
    assert_eq!((file.mcause, file.mtval, file.mepc), (1 << 63 | 11, 0, 0x48));
}

#[test]
fn mret_restores_the_stack_and_ends_mprv_unless_it_stays_in_m() {
    for (mpp, prv) in [(0, Priv::User), (1, Priv::Supervisor), (3, Priv::Machine)] {
        for (mpie, mie) in [(0, 0), (ms::MPIE, ms::MIE)] {
            let mut file = hart();
            file.keep("mstatus", ms::MPRV | mpie | mpp << ms::MPP_SHIFT);
            file.keep("mepc", 0x5550);
            assert_eq!(file.mret(), Ok(0x5550));
            let mprv = if prv == Priv::Machine { ms::MPRV } else { 0 };
            assert_eq!((file.prv, file.mstatus), (prv, XL | ms::MPIE | mie | mprv), "{prv:?}");
        }
    }
}

#[test]
fn sret_restores_the_stack_and_ends_mprv() {
    for from in [Priv::Supervisor, Priv::Machine] {
        for (spp, prv) in [(0, Priv::User), (ms::SPP, Priv::Supervisor)] {
            let mut file = hart();
            file.keep("mstatus", ms::MPRV | ms::SPIE | spp);
            file.keep("sepc", 0x5550);
            file.prv = from;
            assert_eq!(file.sret(), Ok(0x5550));
            assert_eq!((file.prv, file.mstatus), (prv, XL | ms::SPIE | ms::SIE));
        }
    }
}

#[test]
fn returns_need_their_privilege_and_tsr_traps_sret() {
    // (TSR, sret in U S M)
    for (tsr, sret) in [(0, [false, true, true]), (ms::TSR, [false, false, true])] {
        let mut file = hart();
        file.keep("mstatus", tsr);
        assert_eq!(MODES.map(|prv| CsrFile { prv, ..file.clone() }.sret().is_ok()), sret);
        let mret = MODES.map(|prv| CsrFile { prv, ..file.clone() }.mret().is_ok());
        assert_eq!(mret, [false, false, true]);
    }
}

#[test]
fn a_refused_return_changes_nothing() {
    let mut file = delegating(Priv::User);
    file.mstatus |= ms::SPIE | ms::MPIE | ms::MPP;
    let before = file.clone();
    assert_eq!((file.mret(), file.sret()), (Err(Illegal), Err(Illegal)));
    assert_eq!(file, before);
}

#[test]
fn mprv_lends_loads_and_stores_the_privilege_of_mpp() {
    for (mprv, mpp, expected) in
        [(0, 0, Priv::Machine), (ms::MPRV, 0, Priv::User), (ms::MPRV, 1, Priv::Supervisor)]
    {
        let mut file = hart();
        file.keep("mstatus", mprv | mpp << ms::MPP_SHIFT);
        assert_eq!(file.data_privilege(), expected);
    }
}
