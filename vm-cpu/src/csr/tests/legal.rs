//! A file from outside is refused if a register holds what it may not hold.

use super::*;
use crate::csr::CsrError;
use crate::csr::fields::{envcfg, status as ms};

fn checked(change: impl FnOnce(&mut CsrFile)) -> Result<(), CsrError> {
    let mut file = hart();
    change(&mut file);
    file.check(&hart().config, 0)
}

/// The name of the register that is refused.
fn refused(change: impl FnOnce(&mut CsrFile)) -> String {
    match checked(change) {
        Err(CsrError::Register { name, .. }) => name,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_harts_hold_is_legal() {
    assert_eq!(checked(|_| ()), Ok(()));
    assert_eq!(checked(CsrFile::hand_to_supervisor), Ok(()));
    assert_eq!(checked(|file| file.prv = Priv::User), Ok(()));
    assert_eq!(checked(|file| _ = file.keep("satp", 8 << 60 | 1234)), Ok(()));
    // Locked, and with a lock above.
    let locked = |file: &mut CsrFile| {
        file.keep("pmpaddr3", 77);
        file.keep("pmpaddr4", 78);
        file.keep("pmpcfg0", 0x8f << 32 | 0x99 << 24);
    };
    assert_eq!(checked(locked), Ok(()));
    // STIP of software, then hidden by `stimecmp`.
    let hidden = |file: &mut CsrFile| {
        file.keep("mip", 1 << 5);
        file.keep("menvcfg", envcfg::STCE);
    };
    assert_eq!(checked(hidden), Ok(()));
}

#[test]
fn what_no_write_leaves_is_refused_by_name() {
    assert_eq!(refused(|file| file.mstatus |= 2 << 11), "mstatus");
    assert_eq!(refused(|file| file.mstatus &= !ms::UXL), "sstatus");
    assert_eq!(refused(|file| file.mstatus |= 1 << 40), "mstatus");
    assert_eq!(refused(|file| file.satp = 2 << 60), "satp");
    assert_eq!(refused(|file| file.satp = 11 << 60), "satp");
    assert_eq!(refused(|file| file.medeleg = u64::MAX), "medeleg");
    assert_eq!(refused(|file| file.mideleg = u64::MAX), "mideleg");
    assert_eq!(refused(|file| file.mie = u64::MAX), "mie");
    assert_eq!(refused(|file| file.mip = 1 << 60), "mip");
    assert_eq!(refused(|file| file.stvec = 2), "stvec");
    assert_eq!(refused(|file| file.mepc = 1), "mepc");
    assert_eq!(refused(|file| file.senvcfg = envcfg::CBIE_RESERVED), "senvcfg");
    assert_eq!(refused(|file| file.mcounteren = 1 << 32), "mcounteren");
    assert_eq!(refused(|file| file.frm = 9), "frm");
    assert_eq!(refused(|file| file.fflags = 0x20), "fflags");
}

#[test]
fn another_cpu_or_hart_is_refused() {
    let other = CpuConfig::parse("rva22").unwrap();
    assert_eq!(hart().check(&other, 0), Err(CsrError::Config));
    assert_eq!(hart().check(&hart().config, 1), Err(CsrError::Hart { expected: 1, found: 0 }));
    assert_eq!(checked(|file| file.config.pmp_entries = 200), Err(CsrError::Config));
}

#[test]
fn entries_of_pmp_that_are_not_there_are_refused() {
    let config = CpuConfig::parse("rv64gc,pmp=3").unwrap();
    let mut file = CsrFile { config, ..hart() };
    assert_eq!(file.check(&config, 0), Err(CsrError::Hidden), "sixteen entries");
    file = CsrFile::new(&config, 0);
    assert_eq!(file.check(&config, 0), Ok(()));
    file.pmp = serde_json::from_value(serde_json::json!({
        "cfg": vec![0x1f; 16], "addr": vec![0; 16], "count": 3
    }))
    .unwrap();
    assert!(
        matches!(file.check(&config, 0), Err(CsrError::Register { name, .. }) if name.starts_with("pmpcfg"))
    );
    file.pmp = serde_json::from_value(serde_json::json!({
        "cfg": vec![0; 16], "addr": vec![0; 16], "count": 200
    }))
    .unwrap();
    assert_eq!(file.check(&config, 0), Err(CsrError::Hidden));
}
