//! `mip` and its views, and which interrupt is taken.

use super::*;
use crate::csr::fields::{envcfg, irq, mip, status as ms};

fn lines(lines: u64) -> CsrEnv {
    CsrEnv { lines, ..CsrEnv::default() }
}

#[test]
fn only_software_bits_of_mip_are_written() {
    let mut file = hart();
    assert_eq!(file.keep("mip", u64::MAX), mip::SUPERVISOR);
    file.keep("mip", 0);
    file.keep("menvcfg", envcfg::STCE);
    assert_eq!(file.keep("mip", u64::MAX), mip::SSIP | mip::SEIP, "STIP belongs to stimecmp");
    file.keep("menvcfg", 0);
    assert_eq!(file.get("mip"), Ok(mip::SSIP | mip::SEIP), "what was written meanwhile is not kept either");
}

#[test]
fn the_external_wire_is_read_in_seip_but_never_written_back() {
    let wire = lines(mip::SEIP);
    for (op, source, before, after) in [
        (CsrOp::Set, mip::SSIP, 0, mip::SSIP),
        (CsrOp::Set, mip::SEIP, 0, mip::SEIP),
        (CsrOp::Clear, mip::SSIP, mip::SSIP, 0),
        (CsrOp::Clear, mip::SEIP, mip::SEIP, 0),
        (CsrOp::Write, mip::SEIP, 0, mip::SEIP),
        (CsrOp::Write, 0, mip::SEIP, 0),
    ] {
        let mut file = hart();
        file.mip = before;
        let (old, _) = file.op("mip", op, source, &wire).unwrap();
        assert_eq!(old, before | mip::SEIP, "{op:?} {source:#x} reads the wire");
        assert_eq!(file.get("mip"), Ok(after), "{op:?} {source:#x} on {before:#x}");
    }
}

#[test]
fn stip_follows_time_and_stimecmp_while_stce() {
    let mut file = hart();
    file.keep("mip", mip::STIP);
    file.keep("menvcfg", envcfg::STCE);
    file.keep("stimecmp", 50);
    let stip = |file: &CsrFile, time| file.peek(num("mip"), &CsrEnv { time, ..CsrEnv::default() }).unwrap();
    assert_eq!((stip(&file, 49), stip(&file, 50), stip(&file, u64::MAX)), (0, mip::STIP, mip::STIP));
    assert_eq!((file.timer_line(49), file.timer_line(50)), (0, mip::STIP));
    assert_eq!(file.timer_deadline(), Some(50));
    // A wire that the hart has not looked at again does not outlive a new deadline.
    file.keep("stimecmp", 90);
    let late = CsrEnv { time: 60, lines: mip::STIP, ..CsrEnv::default() };
    assert_eq!(file.peek(num("mip"), &late), Some(0));
    file.keep("menvcfg", 0);
    assert_eq!((file.timer_deadline(), file.timer_line(u64::MAX)), (None, 0));
    assert_eq!(stip(&file, 0), mip::STIP, "without STCE it is software's again");
}

#[test]
fn without_stce_the_timer_wire_of_a_built_in_sbi_is_pending_and_never_stored() {
    for config in ["rv64gc", "rv64gc,sstc=off"] {
        let mut file = configured(config);
        file.keep("mideleg", mip::STIP);
        file.keep("mie", mip::STIP);
        file.prv = Priv::User;
        assert_eq!(file.pending_interrupt(mip::STIP), Some(irq::STI), "{config}");
        file.prv = Priv::Machine;
        let (old, _) = file.op("mip", CsrOp::Set, 0, &lines(mip::STIP)).unwrap();
        assert_eq!((old, file.mip), (mip::STIP, 0), "{config}");
        assert_eq!(file.get("sip"), Ok(0), "{config}");
    }
}

#[test]
fn sip_and_sie_show_and_change_delegated_interrupts_only() {
    let mut file = hart();
    file.keep("mie", u64::MAX);
    file.keep("mip", u64::MAX);
    file.keep("mideleg", mip::SSIP | mip::SEIP);
    file.prv = Priv::Supervisor;
    assert_eq!(file.get("sie"), Ok(mip::SSIP | mip::SEIP));
    assert_eq!(file.get("sip"), Ok(mip::SSIP | mip::SEIP));
    file.put("sie", mip::SSIP).unwrap();
    file.put("sip", 0).unwrap();
    assert_eq!(file.get("sie"), Ok(mip::SSIP));
    assert_eq!(file.get("sip"), Ok(mip::SEIP), "SEIP is read-only in sip");
    assert_eq!(file.mie, mip::MACHINE | mip::SSIP | mip::STIP, "other enables stay");
    file.keep("mip", 0);
    file.keep("mideleg", 0);
    file.put("sip", mip::SSIP).unwrap();
    assert_eq!((file.get("sip"), file.mip), (Ok(0), 0), "what is not delegated is not S-mode's to set");
}

#[test]
fn a_wire_makes_only_its_own_bits_pending() {
    assert_eq!(hart().pending(u64::MAX), mip::MACHINE | mip::SEIP | mip::STIP);
}

#[test]
fn a_software_interrupt_from_outside_is_the_guests_to_clear() {
    let mut file = hart();
    file.keep("mideleg", mip::SSIP);
    file.prv = Priv::Supervisor;
    file.post_software();
    let (old, effects) = file.op("sip", CsrOp::Clear, mip::SSIP, &lines(0)).unwrap();
    assert_eq!((old, effects), (mip::SSIP, Effects::INTERRUPTS));
    assert_eq!(file.get("sip"), Ok(0));
}

#[test]
fn interrupts_come_in_the_order_of_the_manual() {
    let order = [irq::MEI, irq::MSI, irq::MTI, irq::SEI, irq::SSI, irq::STI];
    let mut file = hart();
    file.keep("mie", u64::MAX);
    file.prv = Priv::User;
    // Wires for those that have one, software bits for the rest.
    let take = |file: &mut CsrFile, pending: u64| {
        file.keep("mip", pending);
        file.pending_interrupt(pending)
    };
    for (k, &first) in order.iter().enumerate() {
        let rest = order[k..].iter().fold(0, |bits, irq| bits | 1u64 << irq);
        assert_eq!(take(&mut file, rest), Some(first));
    }
    assert_eq!(take(&mut file, 0), None);
    // One for M-mode goes before any that is delegated.
    file.keep("mideleg", mip::SEIP | mip::SSIP);
    assert_eq!(take(&mut file, mip::SUPERVISOR), Some(irq::STI));
}

#[test]
fn privilege_and_global_enables_decide_what_is_taken() {
    let both = ms::MIE | ms::SIE;
    // (privilege, enables, MEI taken, delegated SEI taken)
    for (prv, enables, machine, supervisor) in [
        (Priv::Machine, 0, false, false),
        (Priv::Machine, ms::SIE, false, false),
        (Priv::Machine, both, true, false),
        (Priv::Supervisor, 0, true, false),
        (Priv::Supervisor, ms::MIE, true, false),
        (Priv::Supervisor, ms::SIE, true, true),
        (Priv::User, 0, true, true),
        (Priv::User, both, true, true),
    ] {
        let mut file = hart();
        file.keep("mie", mip::MEIP | mip::SEIP);
        file.keep("mideleg", mip::SEIP);
        file.keep("mstatus", enables);
        file.prv = prv;
        let mei = file.pending_interrupt(mip::MEIP);
        assert_eq!(mei, machine.then_some(irq::MEI), "{prv:?} {enables:#x}");
        let sei = file.pending_interrupt(mip::SEIP);
        assert_eq!(sei, supervisor.then_some(irq::SEI), "{prv:?} {enables:#x}");
        let mask = if machine { mip::MEIP } else { 0 } | if supervisor { mip::SEIP } else { 0 };
        assert_eq!(file.interrupt_mask(), mask, "{prv:?} {enables:#x}");
    }
}

#[test]
fn an_interrupt_that_mie_disables_neither_is_taken_nor_wakes() {
    let mut file = hart();
    file.prv = Priv::User;
    assert_eq!((file.pending_interrupt(mip::MEIP), file.wakes(mip::MEIP)), (None, false));
}

#[test]
fn wfi_wakes_for_what_is_enabled_though_it_cannot_be_taken() {
    let mut file = hart();
    file.keep("mie", mip::SEIP);
    for mideleg in [0, mip::SEIP] {
        file.keep("mideleg", mideleg);
        assert_eq!(file.pending_interrupt(mip::SEIP), None);
        assert!(file.wakes(mip::SEIP));
        assert!(!file.wakes(mip::MTIP));
    }
}
