//! The constants of Zfa's `fli` (unprivileged manual, 27.1).

use super::soft;
use crate::isa::emit::{Fmt, Fp, Rm};

/// In binary32, where all are exact. Entry 1 differs by format and is not read from here.
const VALUES: [f32; 32] = [
    -1.0,
    f32::MIN_POSITIVE,
    1.0 / 65536.0,
    1.0 / 32768.0,
    1.0 / 256.0,
    1.0 / 128.0,
    0.0625,
    0.125,
    0.25,
    0.3125,
    0.375,
    0.4375,
    0.5,
    0.625,
    0.75,
    0.875,
    1.0,
    1.25,
    1.5,
    1.75,
    2.0,
    2.5,
    3.0,
    4.0,
    8.0,
    16.0,
    128.0,
    256.0,
    32768.0,
    65536.0,
    f32::INFINITY,
    f32::NAN,
];

/// The register image that `fli` with the index of its `rs1` field (0..=31; higher bits are ignored)
/// puts into a register. 2^16 has no binary16 image and becomes infinity, as the manual says.
pub fn fli_value(fmt: Fmt, index: u8) -> u64 {
    let index = usize::from(index % 32);
    if index == 1 {
        return soft::min_normal(fmt);
    }
    let single = u64::from(VALUES[index].to_bits()) | !u64::from(u32::MAX);
    soft::apply(Fp::FromFmt(Fmt::S), fmt, Rm::Rne, single, 0, 0, &mut 0)
}
