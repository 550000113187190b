//! Whatever a guest writes wherever: no panic, and every register stays legal.

use proptest::prelude::*;

use super::*;
use crate::csr::fields::{envcfg, mip, status as ms};

/// What holds of every file, however it came about.
fn assert_legal(file: &CsrFile) {
    let kept = ms::UXL | ms::SXL;
    assert_eq!(file.mstatus & (3 << 32 | 3 << 34 | ms::SD), kept, "mstatus {:#x}", file.mstatus);
    assert_ne!(file.mstatus >> ms::MPP_SHIFT & 3, 2, "mstatus {:#x}", file.mstatus);
    assert_eq!(file.mip & !mip::SUPERVISOR, 0);
    assert!(file.config.supports(file.satp), "satp {:#x}", file.satp);
    for envcfg in [file.menvcfg, file.senvcfg] {
        assert_ne!(envcfg & envcfg::CBIE, envcfg::CBIE_RESERVED);
    }
    assert_eq!((file.mtvec | file.stvec) & 2, 0);
    assert_eq!((file.mepc | file.sepc) & 1, 0);
    assert!(file.frm < 8 && file.fflags < 32);
    assert_eq!(file.check(&file.config, file.mhartid), Ok(()));
}

/// Writing back what was read changes nothing, but for FP state that any write makes dirty.
fn assert_stable(file: &CsrFile, number: u16, env: &CsrEnv) {
    if let Some(value) = file.peek(number, env) {
        let mut again = CsrFile { prv: Priv::Machine, ..file.clone() };
        let _ = again.access(number, CsrOp::Write, value, true, true, env);
        assert_eq!(again.peek(number, env), file.peek(number, env), "{number:#x}");
    }
}

fn op() -> impl Strategy<Value = CsrOp> {
    prop_oneof![Just(CsrOp::Write), Just(CsrOp::Set), Just(CsrOp::Clear)]
}

fn config() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        Just("rv64gc"),
        Just("rva22"),
        Just("rv64gc,pmp=3,sv48=off,sv57=off"),
        Just("rv64gc,pmp=0,sstc=off,zicbom=off,f=off,d=off,zfa=off"),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn noise_in_every_csr_at_every_privilege_keeps_the_file_legal(
        config in config(),
        values in prop::collection::vec((op(), any::<u64>(), any::<bool>(), any::<bool>()), 64),
        (time, count, lines) in any::<(u64, u64, u64)>(),
    ) {
        let mut file = configured(config);
        let env = CsrEnv { time, cycle: count, instret: count, lines };
        for prv in MODES {
            for number in 0..=4096 {
                let (op, value, read, write) = values[usize::from(number) % values.len()];
                file.prv = prv;
                let before = file.clone();
                match file.access(number, op, value, read, write, &env) {
                    Err(Illegal) => prop_assert!(file == before, "a refused access to {number:#x} changed the file"),
                    Ok((_, effects)) if !write => prop_assert!(file == before && effects.is_empty()),
                    Ok(_) => assert_legal(&file),
                }
            }
        }
    }

    #[test]
    fn what_is_read_can_be_written_back(
        values in prop::collection::vec(any::<u64>(), 64),
    ) {
        let mut file = hart();
        let env = CsrEnv { time: 3, ..CsrEnv::default() };
        for row in rows() {
            let value = values[usize::from(row.num) % values.len()];
            let _ = file.access(row.num, CsrOp::Write, value, true, true, &env);
        }
        for row in rows().iter().filter(|row| !["mcycle", "minstret"].contains(&row.name.to_string().as_str())) {
            assert_stable(&file, row.num, &env);
        }
    }
}
