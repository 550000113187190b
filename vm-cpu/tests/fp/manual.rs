//! Sentences of the unprivileged manual that are easily got wrong, each by name.

use vm_cpu::fp::flag::{DZ, NV, NX, OF, UF};
use vm_cpu::fp::{self, HostFp, soft};
use vm_cpu::isa::emit::{Fmt, Fp, Int, Rm};

const NAN: u64 = 0x7ff8_0000_0000_0000;
const SIGNALLING: u64 = 0x7ff0_0000_0000_0001;
const INF: u64 = 0x7ff0_0000_0000_0000;
const SIGN: u64 = 1 << 63;

#[track_caller]
fn gives(op: Fp, fmt: Fmt, rm: Rm, [a, b, c]: [u64; 3], image: u64, raised: u8) {
    let mut flags = 0;
    let got = soft::apply(op, fmt, rm, a, b, c, &mut flags);
    assert_eq!((got, flags), (image, raised), "soft path gives {got:x}");
    let mut flags = 0;
    let got = fp::apply(op, fmt, rm, a, b, c, &mut flags);
    assert_eq!((got, flags), (image, raised), "apply gives {got:x}");
    let session = HostFp::enter();
    let mut flags = 0;
    let got = session.apply(op, fmt, rm, [a, b, c], &mut flags);
    assert_eq!((got, flags | session.take()), (image, raised), "session gives {got:x}");
}

#[track_caller]
fn double(op: Fp, rm: Rm, operands: [f64; 3], result: f64, raised: u8) {
    gives(op, Fmt::D, rm, operands.map(f64::to_bits), result.to_bits(), raised);
}

#[test]
fn infinity_times_zero_is_invalid_even_beside_a_quiet_nan() {
    gives(Fp::Madd, Fmt::D, Rm::Rne, [INF, 0, NAN], NAN, NV);
    gives(Fp::Nmadd, Fmt::D, Rm::Rne, [SIGN, INF, NAN], NAN, NV);
    gives(Fp::Madd, Fmt::D, Rm::Rne, [INF, INF, NAN], NAN, 0);
}

#[test]
fn nan_results_are_canonical_whatever_the_operand() {
    gives(Fp::Add, Fmt::D, Rm::Rne, [NAN | SIGN | 5, 0, 0], NAN, 0);
    gives(Fp::Sqrt, Fmt::D, Rm::Rne, [SIGNALLING, 0, 0], NAN, NV);
    gives(Fp::FromFmt(Fmt::D), Fmt::S, Rm::Rne, [NAN | 9, 0, 0], 0xffff_ffff_7fc0_0000, 0);
}

#[test]
fn badly_boxed_operands_read_as_the_canonical_nan() {
    let one = 0x3f80_0000;
    gives(Fp::Add, Fmt::S, Rm::Rne, [one, !0 << 32 | one, 0], 0xffff_ffff_7fc0_0000, 0);
    gives(Fp::Sgnjx, Fmt::S, Rm::Rne, [one, !0 << 31, 0], 0xffff_ffff_ffc0_0000, 0);
    gives(Fp::Class, Fmt::S, Rm::Rne, [one, 0, 0], 1 << 9, 0);
}

#[test]
fn minus_zero_is_less_than_zero_for_min_and_max_only() {
    double(Fp::Min, Rm::Rne, [0.0, -0.0, 0.0], -0.0, 0);
    double(Fp::Max, Rm::Rne, [-0.0, 0.0, 0.0], 0.0, 0);
    gives(Fp::Lt, Fmt::D, Rm::Rne, [SIGN, 0, 0], 0, 0);
    gives(Fp::Eq, Fmt::D, Rm::Rne, [SIGN, 0, 0], 1, 0);
}

#[test]
fn min_prefers_a_number_and_minm_the_nan() {
    let one = 1f64.to_bits();
    gives(Fp::Min, Fmt::D, Rm::Rne, [NAN, one, 0], one, 0);
    gives(Fp::Max, Fmt::D, Rm::Rne, [one, SIGNALLING, 0], one, NV);
    gives(Fp::Minm, Fmt::D, Rm::Rne, [NAN | 1, one, 0], NAN, 0);
    gives(Fp::Maxm, Fmt::D, Rm::Rne, [SIGNALLING, one, 0], NAN, NV);
}

#[test]
fn flt_signals_for_a_quiet_nan_and_feq_and_fltq_do_not() {
    gives(Fp::Lt, Fmt::D, Rm::Rne, [NAN, 0, 0], 0, NV);
    gives(Fp::Le, Fmt::D, Rm::Rne, [0, NAN, 0], 0, NV);
    gives(Fp::Eq, Fmt::D, Rm::Rne, [NAN, NAN, 0], 0, 0);
    gives(Fp::Ltq, Fmt::D, Rm::Rne, [NAN, 0, 0], 0, 0);
    gives(Fp::Leq, Fmt::D, Rm::Rne, [SIGNALLING, 0, 0], 0, NV);
}

#[test]
fn tininess_is_detected_after_rounding() {
    let least = f64::MIN_POSITIVE;
    // least × (1 − 2^-53) has 53 bits, so it is tiny; it becomes `least` only for lack of exponent.
    let below_one = 1.0 - f64::EPSILON / 2.0;
    double(Fp::Mul, Rm::Rne, [least, below_one, 0.0], least, NX | UF);
    // least × (1 − 2^-56) has more, and rounds to `least` with any exponent.
    let step = 1.0 / f64::from(1 << 28);
    let operands = [least * (1.0 + step), 1.0 - step, 0.0];
    double(Fp::Mul, Rm::Rne, operands, least, NX);
    double(Fp::Madd, Rm::Rne, operands, least, NX);
    double(Fp::Madd, Rm::Rtz, operands, f64::from_bits(least.to_bits() - 1), NX | UF);
}

#[test]
fn overflow_gives_the_greatest_number_in_modes_towards_it() {
    let max = f64::MAX;
    double(Fp::Add, Rm::Rne, [max, max, 0.0], f64::INFINITY, OF | NX);
    double(Fp::Add, Rm::Rtz, [max, max, 0.0], max, OF | NX);
    double(Fp::Add, Rm::Rup, [-max, -max, 0.0], -max, OF | NX);
    double(Fp::Add, Rm::Rmm, [max, max, 0.0], f64::INFINITY, OF | NX);
    double(Fp::Div, Rm::Rtz, [1.0, -0.0, 0.0], f64::NEG_INFINITY, DZ);
}

#[test]
fn an_exact_zero_sum_is_negative_only_when_rounding_down() {
    double(Fp::Sub, Rm::Rne, [1.0, 1.0, 0.0], 0.0, 0);
    double(Fp::Sub, Rm::Rdn, [1.0, 1.0, 0.0], -0.0, 0);
    double(Fp::Nmadd, Rm::Rdn, [1.0, 1.0, -1.0], -0.0, 0);
}

#[test]
fn ties_go_away_from_zero_in_rmm() {
    gives(Fp::ToInt(Int::W), Fmt::D, Rm::Rmm, [2.5f64.to_bits(), 0, 0], 3, NX);
    gives(Fp::ToInt(Int::W), Fmt::D, Rm::Rne, [2.5f64.to_bits(), 0, 0], 2, NX);
    double(Fp::Round, Rm::Rmm, [-0.5, 0.0, 0.0], -1.0, 0);
    double(Fp::RoundNx, Rm::Rne, [-0.5, 0.0, 0.0], -0.0, NX);
}

#[test]
fn conversions_saturate_and_are_then_invalid_but_not_inexact() {
    let to = |int, x: f64, rm, n: i64, raised| {
        gives(Fp::ToInt(int), Fmt::D, rm, [x.to_bits(), 0, 0], n as u64, raised);
    };
    to(Int::W, f64::NAN, Rm::Rtz, i32::MAX.into(), NV);
    to(Int::W, -2147483648.5, Rm::Rtz, i32::MIN.into(), NX);
    to(Int::W, -2147483648.5, Rm::Rdn, i32::MIN.into(), NV);
    to(Int::Wu, -0.5, Rm::Rtz, 0, NX);
    to(Int::Wu, -0.5, Rm::Rdn, 0, NV);
    to(Int::Wu, 4294967295.5, Rm::Rtz, -1, NX);
    to(Int::Wu, 4294967295.5, Rm::Rup, -1, NV);
    to(Int::Lu, f64::INFINITY, Rm::Rne, -1, NV);
    to(Int::Lu, -1.0, Rm::Rne, 0, NV);
    to(Int::L, 9223372036854775808.0, Rm::Rne, i64::MAX, NV);
}

#[test]
fn fcvtmod_wraps_and_raises_what_fcvt_w_raises() {
    let wraps = |x: f64, n: i64, raised| {
        gives(Fp::ToIntMod, Fmt::D, Rm::Rtz, [x.to_bits(), 0, 0], n as u64, raised);
    };
    wraps(4294967297.5, 1, NV);
    wraps(-4294967297.0, -1, NV);
    wraps(2147483648.0, i32::MIN.into(), NV);
    wraps(-1.5, -1, NX);
    wraps(f64::INFINITY, 0, NV);
    wraps(1e300, 0, NV);
}

#[test]
fn fli_has_its_special_entries_in_each_format() {
    assert_eq!(fp::fli_value(Fmt::D, 1), f64::MIN_POSITIVE.to_bits());
    assert_eq!(fp::fli_value(Fmt::S, 1), 0xffff_ffff_0080_0000);
    assert_eq!(fp::fli_value(Fmt::H, 1), 0xffff_ffff_ffff_0400);
    assert_eq!(fp::fli_value(Fmt::H, 29), 0xffff_ffff_ffff_7c00);
    assert_eq!(fp::fli_value(Fmt::D, 31), NAN);
    assert_eq!(fp::fli_value(Fmt::S, 0), 0xffff_ffff_bf80_0000);
}
