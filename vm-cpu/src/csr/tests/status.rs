//! What registers hold after a write.

use super::*;
use crate::csr::fields::{envcfg, status as ms};

const XL: u64 = ms::UXL | ms::SXL;

#[test]
fn warl_registers_keep_what_they_can_hold() {
    let counters = 0xffff_ffff;
    for (name, written, kept) in [
        ("mvendorid", None, 0),
        ("mtvec", Some(u64::MAX), !2),
        ("stvec", Some(0x8000_0003), 0x8000_0001),
        ("mepc", Some(u64::MAX), !1),
        ("sepc", Some(0x1003), 0x1002),
        ("mscratch", Some(u64::MAX), u64::MAX),
        ("mcause", Some(1 << 63 | 7), 1 << 63 | 7),
        ("mcounteren", Some(u64::MAX), counters),
        ("scounteren", Some(u64::MAX), counters),
        ("mcountinhibit", Some(u64::MAX), 5),
        ("medeleg", Some(u64::MAX), 0xb3ff),
        ("mideleg", Some(u64::MAX), 0x222),
        ("mie", Some(u64::MAX), 0xaaa),
        ("mhpmevent3", Some(u64::MAX), 0),
        ("mhpmcounter31", Some(u64::MAX), 0),
        ("pmpaddr0", Some(u64::MAX), (1 << 54) - 1),
        ("pmpaddr16", Some(u64::MAX), 0),
        ("pmpcfg14", Some(u64::MAX), 0),
        ("senvcfg", Some(u64::MAX), 0xf1),
        ("menvcfg", Some(u64::MAX), 0xe000_0000_0000_00f1),
        ("misa", Some(0), 0x8000_0000_0014_112f),
    ] {
        let mut file = hart();
        let got = match written {
            Some(value) => file.keep(name, value),
            None => file.get(name).unwrap(),
        };
        assert_eq!(got, kept, "{name}: {got:#x} for {kept:#x}");
    }
}

#[test]
fn mstatus_has_its_fields_and_no_others() {
    let mut file = hart();
    let all = ms::SIE | ms::MIE | ms::SPIE | ms::MPIE | ms::SPP | ms::MPP | ms::FS | ms::MPRV;
    let all = all | ms::SUM | ms::MXR | ms::TVM | ms::TW | ms::TSR;
    assert_eq!(file.keep("mstatus", u64::MAX), all | ms::SD | XL);
    assert_eq!(file.keep("mstatus", 0), XL);
}

#[test]
fn sd_shows_dirty_fp_and_only_that() {
    for (fs, sd) in [(0, 0), (1, 0), (2, 0), (3, ms::SD)] {
        let mut file = hart();
        assert_eq!(file.keep("mstatus", fs << 13), fs << 13 | sd | XL);
        assert_eq!(file.get("sstatus"), Ok(fs << 13 | sd | ms::UXL));
    }
}

#[test]
fn the_reserved_privilege_leaves_mpp_as_it_was() {
    for before in [0, 1, 3] {
        let mut file = hart();
        file.keep("mstatus", before << ms::MPP_SHIFT);
        let after = file.keep("mstatus", 2 << ms::MPP_SHIFT | ms::MIE);
        assert_eq!(after, before << ms::MPP_SHIFT | ms::MIE | XL);
    }
}

#[test]
fn sstatus_neither_shows_nor_changes_machine_fields() {
    let mut file = hart();
    file.keep("mstatus", ms::MIE | ms::MPP | ms::MPRV | ms::TW);
    assert_eq!(file.get("sstatus"), Ok(ms::UXL));
    file.put("sstatus", u64::MAX).unwrap();
    let shown = ms::SIE | ms::SPIE | ms::SPP | ms::FS | ms::SUM | ms::MXR | ms::UXL | ms::SD;
    assert_eq!(file.get("sstatus"), Ok(shown));
    file.put("sstatus", 0).unwrap();
    assert_eq!(file.get("mstatus"), Ok(ms::MIE | ms::MPP | ms::MPRV | ms::TW | XL));
}

#[test]
fn without_f_the_fp_state_stays_off() {
    let mut file = configured("rv64gc,f=off,d=off,zfa=off");
    assert_eq!(file.keep("mstatus", ms::FS), XL);
}

#[test]
fn without_c_trap_pcs_are_multiples_of_four() {
    let mut file = configured("rv64gc,c=off");
    assert_eq!(file.keep("mepc", u64::MAX), !3);
    assert_eq!(file.keep("sepc", u64::MAX), !3);
}

#[test]
fn an_unsupported_satp_mode_changes_no_field() {
    let old = 8 << 60 | 0x1234 << 44 | 0x80000;
    for (config, modes) in [
        ("rv64gc", &[0, 8, 9, 10][..]),
        ("rv64gc,sv57=off", &[0, 8, 9]),
        ("rv64gc,sv57=off,sv48=off", &[0, 8]),
    ] {
        for mode in 0..16 {
            let mut file = configured(config);
            assert_eq!(file.keep("satp", old), old);
            let new = mode << 60 | 0xffff << 44 | ((1 << 44) - 1);
            let expected = if modes.contains(&mode) { new } else { old };
            assert_eq!(file.keep("satp", new), expected, "{config} mode {mode}");
        }
    }
}

#[test]
fn the_reserved_cbie_leaves_that_field_as_it_was() {
    for name in ["menvcfg", "senvcfg"] {
        for before in [0, 1, 3] {
            let mut file = hart();
            file.keep(name, before << 4);
            assert_eq!(file.keep(name, 2 << 4 | envcfg::CBZE), before << 4 | envcfg::CBZE, "{name}");
        }
    }
}

#[test]
fn envcfg_fields_of_absent_extensions_read_as_zero() {
    for (off, gone) in [
        ("zicbom", envcfg::CBIE | envcfg::CBCFE),
        ("zicboz", envcfg::CBZE),
        ("svadu", envcfg::ADUE),
        ("svpbmt", envcfg::PBMTE),
        ("sstc", envcfg::STCE),
    ] {
        let all = hart().keep("menvcfg", u64::MAX);
        let got = configured(&format!("rv64gc,{off}=off")).keep("menvcfg", u64::MAX);
        assert_eq!(got, all & !gone, "{off}");
    }
}

#[test]
fn effects_name_what_the_write_touched_and_nothing_else() {
    for (name, value, effects) in [
        ("mscratch", 1, Effects::NONE),
        ("mstatus", XL, Effects::NONE),
        ("mstatus", ms::TW, Effects::NONE),
        ("mstatus", ms::SUM, Effects::MODE),
        ("mstatus", ms::MPRV, Effects::MODE),
        ("mstatus", ms::MIE, Effects::INTERRUPTS),
        ("mstatus", ms::FS, Effects::FP),
        ("sstatus", ms::SIE | ms::MXR, Effects::INTERRUPTS | Effects::MODE),
        ("satp", 8 << 60, Effects::SPACE),
        ("satp", 7 << 60, Effects::NONE),
        ("menvcfg", envcfg::ADUE | envcfg::PBMTE, Effects::WALK),
        ("menvcfg", envcfg::ADUE | envcfg::STCE, Effects::TIMER | Effects::INTERRUPTS),
        ("stimecmp", 5, Effects::TIMER | Effects::INTERRUPTS),
        ("mie", 2, Effects::INTERRUPTS),
        ("mip", 2, Effects::INTERRUPTS),
        ("mideleg", 2, Effects::INTERRUPTS),
        ("pmpcfg0", 0x1f, Effects::PMP),
        ("pmpaddr0", 1, Effects::PMP),
        ("pmpaddr16", 1, Effects::NONE),
        ("mcounteren", 1, Effects::COUNTERS),
        ("minstret", 0, Effects::COUNTERS),
    ] {
        assert_eq!(hart().put(name, value), Ok(effects), "{name} {value:#x}");
    }
}

#[test]
fn counters_run_are_set_and_stand_still() {
    let at = |n| CsrEnv { cycle: n, instret: n, ..CsrEnv::default() };
    for (counter, shadow, stop) in [("minstret", "instret", 4), ("mcycle", "cycle", 1)] {
        let mut file = hart();
        let read = |file: &CsrFile, name, n| file.peek(num(name), &at(n)).unwrap();
        assert_eq!(read(&file, counter, 70), 70);
        // csrwi counter, 0; csrr a0, counter
        file.op(counter, CsrOp::Write, 0, &at(100)).unwrap();
        assert_eq!((read(&file, counter, 101), read(&file, shadow, 103)), (0, 2));
        file.op("mcountinhibit", CsrOp::Set, stop, &at(104)).unwrap();
        assert_eq!((read(&file, counter, 105), read(&file, counter, 999)), (4, 4), "{counter}");
        file.op("mcountinhibit", CsrOp::Clear, stop, &at(999)).unwrap();
        assert_eq!((read(&file, counter, 1000), read(&file, shadow, 1001)), (4, 5), "{counter}");
    }
}

#[test]
fn hardware_ad_update_is_preset_only_where_svade_is_not_promised() {
    for (config, preset) in
        [("rv64gc", envcfg::ADUE), ("rv64gc,svade=on", 0), ("rv64gc,svade=on,svadu=off", 0), ("rva22", 0)]
    {
        let mut file = configured(config);
        assert_eq!(file.menvcfg, preset, "{config} after reset");
        file.hand_to_supervisor();
        assert_eq!(file.menvcfg & envcfg::ADUE, preset, "{config} in the supervisor's hands");
    }
}

#[test]
fn a_supervisor_is_handed_what_it_needs() {
    let mut file = hart();
    file.hand_to_supervisor();
    assert_eq!(file.prv, Priv::Supervisor);
    for name in ["cycle", "time", "instret", "hpmcounter4", "stimecmp", "satp"] {
        assert!(file.get(name).is_ok(), "{name}");
    }
    assert_eq!(file.medeleg, 0xb1ff, "its own calls stay with the firmware");
    assert_eq!(file.mideleg, 0x222);
    assert!(!file.pmp.active());
}

#[test]
fn a_file_survives_storing() {
    let mut file = hart();
    file.hand_to_supervisor();
    file.put("satp", 9 << 60 | 77).unwrap();
    let text = serde_json::to_string(&file).unwrap();
    assert_eq!(serde_json::from_str::<CsrFile>(&text).unwrap(), file);
}
