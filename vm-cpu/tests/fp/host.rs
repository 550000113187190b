//! The host's FPU against the soft path: same bits, same flags, whatever the operands and the mode.

use vm_cpu::fp::{self, HostFp, facts, soft};
use vm_cpu::isa::emit::{Fmt, Fp, Int, Rm};

use crate::operands::{MODES, Operands};

/// Rounds a format; each does every operation once, in one mode.
const ROUNDS: u64 = 60_000;

const OPS: [Fp; 38] = [
    Fp::Add,
    Fp::Sub,
    Fp::Mul,
    Fp::Div,
    Fp::Sqrt,
    Fp::Madd,
    Fp::Msub,
    Fp::Nmsub,
    Fp::Nmadd,
    Fp::Sgnj,
    Fp::Sgnjn,
    Fp::Sgnjx,
    Fp::Min,
    Fp::Max,
    Fp::Minm,
    Fp::Maxm,
    Fp::Eq,
    Fp::Lt,
    Fp::Le,
    Fp::Ltq,
    Fp::Leq,
    Fp::Class,
    Fp::ToInt(Int::W),
    Fp::ToInt(Int::Wu),
    Fp::ToInt(Int::L),
    Fp::ToInt(Int::Lu),
    Fp::ToIntMod,
    Fp::FromInt(Int::W),
    Fp::FromInt(Int::Wu),
    Fp::FromInt(Int::L),
    Fp::FromInt(Int::Lu),
    Fp::FromFmt(Fmt::H),
    Fp::FromFmt(Fmt::S),
    Fp::FromFmt(Fmt::D),
    Fp::Round,
    Fp::RoundNx,
    // Twice: the densest in rare cases.
    Fp::Madd,
    Fp::Nmsub,
];

fn operands(stream: &mut Operands, op: Fp, fmt: Fmt) -> [u64; 3] {
    match op {
        Fp::FromInt(_) => [stream.integer(), 0, 0],
        Fp::FromFmt(from) => stream.triple(from),
        _ => stream.triple(fmt),
    }
}

fn agree(fmt: Fmt, seed: u64) {
    let mut stream = Operands::new(seed);
    let session = HostFp::enter();
    for round in 0..ROUNDS {
        let rm = MODES[(round % 5) as usize];
        for op in OPS {
            let [a, b, c] = operands(&mut stream, op, fmt);
            let mut flags = 0;
            let want = (soft::apply(op, fmt, rm, a, b, c, &mut flags), flags);

            let mut flags = 0;
            let alone = (fp::apply(op, fmt, rm, a, b, c, &mut flags), flags);
            assert_eq!(alone, want, "{op:?} {fmt:?} {rm:?} of {a:x} {b:x} {c:x}, alone");
            assert_eq!(session.take(), 0, "{op:?} {fmt:?} {rm:?} alone left a trace in the FPU");

            let mut flags = 0;
            let bits = session.apply(op, fmt, rm, [a, b, c], &mut flags);
            let within = (bits, flags | session.take());
            assert_eq!(within, want, "{op:?} {fmt:?} {rm:?} of {a:x} {b:x} {c:x}, in a session");
        }
    }
}

#[test]
fn half_on_the_host_is_soft() {
    agree(Fmt::H, 21);
}

#[test]
fn single_on_the_host_is_soft() {
    agree(Fmt::S, 22);
}

#[test]
fn double_on_the_host_is_soft() {
    agree(Fmt::D, 23);
}

/// Every exponent by every exponent, with fractions that round and that do not.
#[test]
fn products_and_quotients_of_all_exponents_are_soft() {
    let fractions = [0u64, 1, 0x55_5555, 0x7f_fffe, 0x7f_ffff];
    let numbers = |step| (0u64..=255).step_by(step).flat_map(|e| fractions.map(|f| !0 << 32 | e << 23 | f));
    for (i, a) in numbers(1).enumerate() {
        for (j, b) in numbers(5).enumerate() {
            for op in [Fp::Mul, Fp::Div] {
                let rm = MODES[(i + j) % 4];
                let (mut got, mut want) = (0, 0);
                let bits = fp::apply(op, Fmt::S, rm, a, b, 0, &mut got);
                assert_eq!(
                    bits,
                    soft::apply(op, Fmt::S, rm, a, b, 0, &mut want),
                    "{op:?} {rm:?} {a:x} {b:x}"
                );
                assert_eq!(got, want, "flags of {op:?} {rm:?} {a:x} {b:x}");
            }
        }
    }
}

/// Where the numbers end that a conversion to an unsigned integer takes on the host.
#[test]
fn unsigned_conversions_are_soft_at_the_limit_of_the_host() {
    let session = HostFp::enter();
    for (fmt, boxes) in [(Fmt::S, !0 << 32), (Fmt::D, 0)] {
        for int in [Int::Wu, Int::Lu] {
            for bits in facts::limit(int, fmt) - 2..=facts::limit(int, fmt) + 3 {
                for rm in MODES {
                    let (mut got, mut want) = (0, 0);
                    let n = session.apply(Fp::ToInt(int), fmt, rm, [bits | boxes, 0, 0], &mut got);
                    got |= session.take();
                    let soft = soft::apply(Fp::ToInt(int), fmt, rm, bits | boxes, 0, 0, &mut want);
                    assert_eq!((n, got), (soft, want), "{int:?} {fmt:?} {rm:?} of {bits:x}");
                }
            }
        }
    }
}

#[test]
fn flags_of_a_session_gather_until_taken() {
    let session = HostFp::enter();
    let mut flags = 0;
    let one = 1f64.to_bits();
    session.apply(Fp::Div, Fmt::D, Rm::Rne, [one, 3f64.to_bits(), 0], &mut flags);
    session.apply(Fp::Div, Fmt::D, Rm::Rne, [one, 0, 0], &mut flags);
    session.apply(Fp::Add, Fmt::D, Rm::Rne, [one, one, 0], &mut flags);
    session.apply(Fp::Lt, Fmt::D, Rm::Rne, [one, f64::NAN.to_bits(), 0], &mut flags);
    flags |= session.take();
    assert_eq!(flags, fp::flag::NX | fp::flag::DZ | fp::flag::NV);
    assert_eq!(session.take(), 0);
}

#[test]
fn floats_outside_leave_no_flag() {
    let session = HostFp::enter();
    let mut flags = 0;
    session.apply(Fp::Div, Fmt::D, Rm::Rne, [1f64.to_bits(), 0, 0], &mut flags);
    let third = session.outside(&mut flags, || std::hint::black_box(1.0) / std::hint::black_box(3.0));
    assert!(third < 0.34);
    flags |= session.take();
    assert_eq!(flags, fp::flag::DZ);
}
