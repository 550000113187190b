//! The soft path against `rustc_apfloat`, a translation of LLVM's APFloat.

use rustc_apfloat::ieee::{Double, Half, Single};
use rustc_apfloat::{Float, FloatConvert, Round, Status, StatusAnd};
use vm_cpu::fp::{flag, soft};
use vm_cpu::isa::emit::{Fmt, Fp, Int, Rm};

use crate::operands::{MODES, Operands, boxed};

const ROUNDS: u64 = 150_000;
const INTS: [Int; 4] = [Int::W, Int::Wu, Int::L, Int::Lu];

fn round(rm: Rm) -> Round {
    match rm {
        Rm::Rne | Rm::Dyn => Round::NearestTiesToEven,
        Rm::Rtz => Round::TowardZero,
        Rm::Rdn => Round::TowardNegative,
        Rm::Rup => Round::TowardPositive,
        Rm::Rmm => Round::NearestTiesToAway,
    }
}

fn flags(status: Status) -> u8 {
    let pairs = [
        (Status::INVALID_OP, flag::NV),
        (Status::DIV_BY_ZERO, flag::DZ),
        (Status::OVERFLOW, flag::OF),
        (Status::UNDERFLOW, flag::UF),
        (Status::INEXACT, flag::NX),
    ];
    pairs.iter().filter(|(s, _)| status.intersects(*s)).map(|(_, f)| f).sum()
}

/// What a format is called on both sides.
trait Oracle: Float {
    const FMT: Fmt;

    fn operand(image: u64) -> Self {
        let number = Self::from_bits(u128::from(image) & (u128::MAX >> (128 - Self::BITS)));
        if boxed(Self::FMT, number.to_bits() as u64) == image { number } else { Self::qnan(None) }
    }

    fn answer(result: StatusAnd<Self>) -> (u64, u8) {
        let value = if result.value.is_nan() { Self::qnan(None) } else { result.value };
        (boxed(Self::FMT, value.to_bits() as u64), flags(result.status))
    }
}

impl Oracle for Half {
    const FMT: Fmt = Fmt::H;
}

impl Oracle for Single {
    const FMT: Fmt = Fmt::S;
}

impl Oracle for Double {
    const FMT: Fmt = Fmt::D;
}

fn arithmetic<F: Oracle>(op: Fp, rm: Rm, [a, b, c]: [u64; 3]) -> Option<(u64, u8)> {
    let (x, y, z, r) = (F::operand(a), F::operand(b), F::operand(c), round(rm));
    let result = match op {
        Fp::Add => x.add_r(y, r),
        Fp::Sub => x.sub_r(y, r),
        Fp::Mul => x.mul_r(y, r),
        Fp::Div => x.div_r(y, r),
        Fp::Madd => x.mul_add_r(y, z, r),
        Fp::Msub => x.mul_add_r(y, -z, r),
        Fp::Nmsub => (-x).mul_add_r(y, z, r),
        Fp::Nmadd => (-x).mul_add_r(y, -z, r),
        _ => return None,
    };
    let (bits, mut flags) = F::answer(result);
    // What the oracle does not say of NaNs: a signalling addend, and inf × 0 whatever the addend.
    let fused = matches!(op, Fp::Madd | Fp::Msub | Fp::Nmsub | Fp::Nmadd);
    let void = x.is_infinite() && y.is_zero() || x.is_zero() && y.is_infinite();
    let signal = x.is_signaling() || y.is_signaling() || fused && z.is_signaling();
    if signal || fused && void {
        flags |= flag::NV;
    }
    Some((bits, flags))
}

/// Compares, except where the oracle's flags mean another thing:
/// - `UF` of a result that is the least normal number: it asks whether the rounded result is subnormal,
///   RISC-V whether it would be with an exponent unbounded below;
/// - `OF` of a result that is the greatest number: it asks whether infinity came out.
fn same<F: Oracle>(what: &str, rm: Rm, operands: &[u64], got: (u64, u8), want: (u64, u8)) {
    let is = |n: F| [n, -n].iter().any(|n| boxed(F::FMT, n.to_bits() as u64) == got.0);
    let ignored = match () {
        () if is(F::smallest_normalized()) => flag::UF,
        () if is(F::largest()) => flag::OF,
        () => 0,
    };
    assert!(
        got.0 == want.0 && got.1 & !ignored == want.1 & !ignored,
        "{what} {:?} {rm:?} of {operands:x?}: got {got:x?}, want {want:x?}",
        F::FMT
    );
}

fn arithmetic_agrees<F: Oracle>(seed: u64) {
    let ops = [Fp::Add, Fp::Sub, Fp::Mul, Fp::Div, Fp::Madd, Fp::Msub, Fp::Nmsub, Fp::Nmadd];
    let mut stream = Operands::new(seed);
    for _ in 0..ROUNDS {
        let t = stream.triple(F::FMT);
        for op in ops {
            let rm = MODES[stream.below(5) as usize];
            let mut flags = 0;
            let bits = soft::apply(op, F::FMT, rm, t[0], t[1], t[2], &mut flags);
            let want = arithmetic::<F>(op, rm, t).expect("an operation of the oracle");
            same::<F>(&format!("{op:?}"), rm, &t, (bits, flags), want);
        }
    }
}

#[test]
fn arithmetic_of_half_is_apfloats() {
    arithmetic_agrees::<Half>(1);
}

#[test]
fn arithmetic_of_single_is_apfloats() {
    arithmetic_agrees::<Single>(2);
}

#[test]
fn arithmetic_of_double_is_apfloats() {
    arithmetic_agrees::<Double>(3);
}

fn to_int<F: Oracle>(int: Int, x: F, rm: Rm) -> (u64, u8) {
    let (signed, width) = match int {
        Int::W => (true, 32),
        Int::Wu => (false, 32),
        Int::L => (true, 64),
        Int::Lu => (false, 64),
    };
    let exact = &mut false;
    let (value, status) = if signed {
        let result = x.to_i128_r(width, round(rm), exact);
        (result.value as u64, result.status)
    } else {
        let result = x.to_u128_r(width, round(rm), exact);
        (result.value as u64, result.status)
    };
    // The oracle gives 0 for a NaN, RISC-V the greatest.
    let value = if x.is_nan() { (u64::MAX >> (64 - width)) >> u32::from(signed) } else { value };
    (if width == 32 { value as i32 as u64 } else { value }, flags(status))
}

fn from_int<F: Oracle>(int: Int, image: u64, rm: Rm) -> (u64, u8) {
    F::answer(match int {
        Int::W => F::from_i128_r((image as i32).into(), round(rm)),
        Int::Wu => F::from_u128_r((image as u32).into(), round(rm)),
        Int::L => F::from_i128_r((image as i64).into(), round(rm)),
        Int::Lu => F::from_u128_r(image.into(), round(rm)),
    })
}

fn integers_agree<F: Oracle>(seed: u64) {
    let mut stream = Operands::new(seed);
    for _ in 0..ROUNDS {
        let [a, ..] = stream.triple(F::FMT);
        let n = stream.integer();
        let rm = MODES[stream.below(5) as usize];
        for int in INTS {
            let mut flags = 0;
            let got = soft::apply(Fp::ToInt(int), F::FMT, rm, a, 0, 0, &mut flags);
            let want = to_int(int, F::operand(a), rm);
            assert_eq!((got, flags), want, "{:?} to {int:?} {rm:?} of {a:x}", F::FMT);
            let mut flags = 0;
            let bits = soft::apply(Fp::FromInt(int), F::FMT, rm, n, 0, 0, &mut flags);
            same::<F>(&format!("{int:?} to"), rm, &[n], (bits, flags), from_int::<F>(int, n, rm));
        }
    }
}

#[test]
fn integers_and_half_are_apfloats() {
    integers_agree::<Half>(4);
}

#[test]
fn integers_and_single_are_apfloats() {
    integers_agree::<Single>(5);
}

#[test]
fn integers_and_double_are_apfloats() {
    integers_agree::<Double>(6);
}

fn formats_agree<From: Oracle + FloatConvert<F>, F: Oracle>(seed: u64) {
    let mut stream = Operands::new(seed);
    for _ in 0..ROUNDS {
        let [a, ..] = stream.triple(From::FMT);
        let rm = MODES[stream.below(5) as usize];
        let x = From::operand(a);
        let mut flags = 0;
        let bits = soft::apply(Fp::FromFmt(From::FMT), F::FMT, rm, a, 0, 0, &mut flags);
        let (want, mut want_flags) = F::answer(x.convert_r(round(rm), &mut false));
        if x.is_nan() {
            want_flags = if x.is_signaling() { flag::NV } else { 0 };
        }
        same::<F>(&format!("{:?} to", From::FMT), rm, &[a], (bits, flags), (want, want_flags));
    }
}

#[test]
fn conversions_between_formats_are_apfloats() {
    formats_agree::<Half, Single>(7);
    formats_agree::<Half, Double>(8);
    formats_agree::<Single, Half>(9);
    formats_agree::<Single, Double>(10);
    formats_agree::<Double, Half>(11);
    formats_agree::<Double, Single>(12);
}

fn integral_agrees<F: Oracle>(seed: u64) {
    let mut stream = Operands::new(seed);
    for _ in 0..ROUNDS {
        let [a, ..] = stream.triple(F::FMT);
        let rm = MODES[stream.below(5) as usize];
        let x = F::operand(a);
        let (want, _) = F::answer(x.round_to_integral(round(rm)));
        let signal = if x.is_signaling() { flag::NV } else { 0 };
        let inexact = if x.is_nan() || want == a { 0 } else { flag::NX };
        for (op, flags) in [(Fp::Round, signal), (Fp::RoundNx, signal | inexact)] {
            let mut got = 0;
            let bits = soft::apply(op, F::FMT, rm, a, 0, 0, &mut got);
            assert_eq!((bits, got), (want, flags), "{op:?} {:?} {rm:?} of {a:x}", F::FMT);
        }
    }
}

#[test]
fn integral_values_are_apfloats() {
    integral_agrees::<Half>(13);
    integral_agrees::<Single>(14);
    integral_agrees::<Double>(15);
}
