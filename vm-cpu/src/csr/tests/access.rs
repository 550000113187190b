//! Who may access what.

use super::*;
use crate::csr::fields::{counter, envcfg, status as ms};
use crate::csr::{looks_at_time, name};
use crate::isa::emit::Cbo;

/// The least privilege that can read `name`, in a hart where nothing is opened or trapped.
fn least(file: &CsrFile, name: &str) -> Option<Priv> {
    MODES.into_iter().find(|&prv| CsrFile { prv, ..file.clone() }.get(name).is_ok())
}

#[test]
fn each_csr_needs_the_privilege_in_its_number() {
    for (name, prv) in [
        ("fcsr", Priv::User),
        ("sstatus", Priv::Supervisor),
        ("satp", Priv::Supervisor),
        ("sip", Priv::Supervisor),
        ("mstatus", Priv::Machine),
        ("mhartid", Priv::Machine),
        ("pmpaddr0", Priv::Machine),
        ("mhpmcounter31", Priv::Machine),
        ("tselect", Priv::Machine),
    ] {
        let mut file = hart();
        file.mstatus |= ms::FS;
        assert_eq!(least(&file, name), Some(prv), "{name}");
    }
}

#[test]
fn unimplemented_numbers_are_illegal_even_in_m_mode() {
    // vsstatus, hstatus, mtinst, mtval2, mseccfg, mstateen0, scountovf, pmpcfg1, seed, cycleh, 0x1000.
    for number in [0x200, 0x600, 0x34a, 0x34b, 0x747, 0x30c, 0xda0, 0x3a1, 0x015, 0xc80, 0x1000, u16::MAX] {
        let mut file = hart();
        let got = file.access(number, CsrOp::Set, 0, true, false, &CsrEnv::default());
        assert_eq!(got, Err(Illegal), "{number:#x}");
        assert_eq!(name(number), None, "{number:#x}");
    }
}

#[test]
fn read_only_csrs_refuse_writes_but_not_csrrs_with_x0() {
    for name in ["cycle", "time", "instret", "mhartid", "mvendorid", "hpmcounter3"] {
        let mut file = hart();
        assert_eq!(file.put(name, 0), Err(Illegal), "{name}");
        assert!(file.get(name).is_ok(), "{name}");
    }
}

#[test]
fn counters_open_by_mcounteren_for_s_and_also_scounteren_for_u() {
    for (name, bit) in [("cycle", 0), ("time", 1), ("instret", 2), ("hpmcounter3", 3), ("hpmcounter31", 31)] {
        for (m, s, expected) in
            [(0, 0, Priv::Machine), (0, 1, Priv::Machine), (1, 0, Priv::Supervisor), (1, 1, Priv::User)]
        {
            let mut file = hart();
            file.keep("mcounteren", m << bit);
            file.keep("scounteren", s << bit);
            assert_eq!(least(&file, name), Some(expected), "{name} {m} {s}");
        }
    }
}

#[test]
fn stimecmp_below_m_needs_counteren_tm_and_stce() {
    for (tm, stce, expected) in [
        (0, 0, Priv::Machine),
        (counter::TM, 0, Priv::Machine),
        (0, envcfg::STCE, Priv::Machine),
        (counter::TM, envcfg::STCE, Priv::Supervisor),
    ] {
        let mut file = hart();
        file.keep("mcounteren", tm);
        file.keep("menvcfg", stce);
        assert_eq!(least(&file, "stimecmp"), Some(expected), "{tm} {stce:#x}");
    }
}

#[test]
fn an_absent_extension_takes_its_csrs_away() {
    for (config, name) in [
        ("rv64gc,sstc=off", "stimecmp"),
        ("rv64gc,f=off,d=off,zfa=off", "fcsr"),
        ("rv64gc,zihpm=off,zicntr=off", "cycle"),
        ("rv64gc,zihpm=off", "hpmcounter3"),
        ("rv64gc,pmp=0", "pmpcfg0"),
        ("rv64gc,pmp=0", "pmpaddr63"),
    ] {
        let mut file = configured(config);
        file.mstatus |= ms::FS;
        assert_eq!(least(&file, name), None, "{name} with {config}");
        file = hart();
        file.mstatus |= ms::FS;
        assert!(least(&file, name).is_some(), "{name} with everything");
    }
}

#[test]
fn fp_csrs_are_illegal_while_fs_is_off() {
    for name in ["fflags", "frm", "fcsr"] {
        let mut file = hart();
        assert_eq!(file.get(name), Err(Illegal), "{name}");
        file.keep("mstatus", 1 << 13);
        assert!(file.put(name, 0).unwrap().any(Effects::FP), "{name}");
        assert_eq!(file.mstatus & ms::FS, ms::FS, "a write to {name} makes FS dirty");
    }
}

#[test]
fn fcsr_is_frm_above_fflags() {
    let mut file = hart();
    file.keep("mstatus", ms::FS);
    assert_eq!(file.keep("fcsr", u64::MAX), 0xff);
    assert_eq!((file.frm, file.fflags), (7, 0x1f));
    assert_eq!(file.rounding(), None);
    assert_eq!(file.keep("frm", 0b1001), 1);
    assert_eq!(file.keep("fflags", 0x22), 2);
    file.raise_fp(1);
    assert_eq!(file.get("fcsr"), Ok(0b001_00011));
}

#[test]
fn tvm_traps_satp_and_sfence_in_s_mode_only() {
    let mut file = hart();
    file.keep("mstatus", ms::TVM);
    for (prv, permitted) in [(Priv::Machine, true), (Priv::Supervisor, false), (Priv::User, false)] {
        file.prv = prv;
        assert_eq!(file.get("satp").is_ok(), permitted, "{prv:?}");
        assert_eq!(file.sfence_permitted(), permitted, "{prv:?}");
        assert_eq!(file.fence_inval_permitted(), prv != Priv::User, "{prv:?}");
    }
    file.keep("mstatus", 0);
    file.prv = Priv::Supervisor;
    assert!(file.get("satp").is_ok() && file.sfence_permitted());
}

#[test]
fn wfi_is_illegal_in_u_mode_and_in_s_mode_while_tw() {
    for (tw, permitted) in [(0, [false, true, true]), (ms::TW, [false, false, true])] {
        let mut file = hart();
        file.keep("mstatus", tw);
        let got = MODES.map(|prv| CsrFile { prv, ..file.clone() }.wfi_permitted());
        assert_eq!(got, permitted, "TW {tw:#x}");
    }
}

#[test]
fn cache_block_operations_open_by_menvcfg_for_s_and_also_senvcfg_for_u() {
    for (op, bits) in [
        (Cbo::Inval, 1 << 4),
        (Cbo::Inval, 3 << 4),
        (Cbo::Clean, envcfg::CBCFE),
        (Cbo::Flush, envcfg::CBCFE),
        (Cbo::Zero, envcfg::CBZE),
    ] {
        for (m, s, permitted) in [
            (0, 0, [false, false, true]),
            (0, bits, [false, false, true]),
            (bits, 0, [false, true, true]),
            (bits, bits, [true, true, true]),
        ] {
            let mut file = hart();
            file.keep("menvcfg", m);
            file.keep("senvcfg", s);
            let got = MODES.map(|prv| CsrFile { prv, ..file.clone() }.cbo_permitted(op));
            assert_eq!(got, permitted, "{op:?} {m:#x} {s:#x}");
        }
    }
}

#[test]
fn no_csr_depends_on_time_but_those_that_say_so() {
    let mut file = hart();
    file.keep("menvcfg", envcfg::STCE);
    file.keep("stimecmp", 5);
    file.keep("mideleg", u64::MAX);
    for row in rows() {
        let at = |time| file.peek(row.num, &CsrEnv { time, ..CsrEnv::default() });
        assert_eq!(at(0) != at(9), looks_at_time(row.num), "{}", row.name);
    }
}

#[test]
fn no_trigger_is_found() {
    let mut file = hart();
    assert_eq!(file.keep("tselect", u64::MAX), 0);
    assert_eq!(file.keep("tdata1", u64::MAX), 0);
}

#[test]
fn a_dump_names_every_register() {
    let mut file = hart();
    file.keep("mscratch", 0xfeed);
    file.keep("pmpaddr3", 0x77);
    let text = file.dump(CsrEnv { time: 0xabc, ..CsrEnv::default() }).to_string();
    for expected in ["privilege Machine", "mscratch      000000000000feed", "pmpaddr3      0000000000000077"]
    {
        assert!(text.contains(expected), "{expected:?} in:\n{text}");
    }
    assert!(text.contains("time          0000000000000abc"), "{text}");
    assert!(!text.contains("pmpaddr4"), "empty members of a family are left out:\n{text}");
}
