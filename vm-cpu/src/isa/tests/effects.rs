//! The effects analysis, by name and against what instructions do.

use super::super::calculator::Calculator;
use super::super::effects::Effects;
use super::super::{Extensions, Op, decode};
use proptest::prelude::*;

const ALL: Extensions = Extensions::all();

fn of(word: u32) -> Effects {
    Effects::of(&decode(word, ALL).expect("a legal instruction"))
}

#[test]
fn registers_are_told_by_role_and_x0_is_none() {
    let add = of(0x0031_82b3);
    assert_eq!(add, Effects { x_read: 1 << 3, x_written: 1 << 5, ..Effects::default() });
    let nop = of(0x0000_0013);
    assert_eq!(nop, Effects::default());
    let fmadd = of(0x2031_70c3);
    assert_eq!((fmadd.f_read, fmadd.f_written), (1 << 2 | 1 << 3 | 1 << 4, 1 << 1));
    let amocas_q = of(0x2e83_422f);
    assert_eq!((amocas_q.x_read, amocas_q.x_written), (0x370, 0x30));
}

#[test]
fn what_may_stop_and_what_ends_a_block() {
    for (word, may_stop, ends) in [
        (0x0031_82b3, false, false),
        (0x0001_3083, true, false),
        (0x0031_30a3, true, false),
        (0x0020_8463, false, true),
        (0x0000_00ef, false, true),
        (0x0000_8067, false, true),
        (0x0ff0_000f, false, false),
        (0x1800_1073, true, true),
        (0x1400_1073, true, false),
        (0x0000_0073, true, true),
        (0x0100_000f, true, false),
        (0x0200_0053, true, false),
    ] {
        let e = of(word);
        assert_eq!((e.may_stop, e.ends), (may_stop, ends), "{word:#010x}");
    }
}

/// A state where most addresses are in memory.
fn state(seed: u64) -> Calculator {
    let mut c = Calculator::new();
    let mix = |n: u64| (seed ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    (1..32).for_each(|r| c.x[r as usize] = mix(r) & 0x7f);
    (0..32).for_each(|r| c.f[r as usize] = mix(r + 32).wrapping_mul(0x1_0001_0001) | 0x3ff0 << 48);
    (0..256).for_each(|n| c.memory[n as usize] = mix(n + 64) as u8);
    c
}

proptest! {
    /// Two runs from states that differ in registers that are not read end alike, but for those registers;
    /// and what is not written stays.
    #[test]
    fn registers_beyond_the_effects_matter_to_no_instruction(open in any::<u32>(), seed in any::<u64>()) {
        for &op in Op::ALL {
            let p = op.row().pattern;
            let Some(i) = decode(p.value | open & p.open, ALL) else { continue };
            let effects = Effects::of(&i);
            let (mut a, mut b) = (state(seed), state(seed));
            let before = (b.x, b.f);
            for r in 0..32 {
                if effects.x_read >> r & 1 == 0 && r != 0 { b.x[r] ^= 0xa5; }
                if effects.f_read >> r & 1 == 0 { b.f[r] ^= 0xa5; }
            }
            let results = (a.step(&i), b.step(&i));
            prop_assert_eq!(results.0, results.1, "{}", op.name());
            prop_assert!(results.0.is_ok() || effects.may_stop, "{}", op.name());
            prop_assert_eq!(a.pc, b.pc, "{}", op.name());
            prop_assert_eq!(&a.memory, &b.memory, "{}", op.name());
            for r in 0..32 {
                if effects.x_written >> r & 1 == 0 { prop_assert_eq!(a.x[r], before.0[r], "{}", op.name()); }
                else if results.0.is_ok() { prop_assert_eq!(a.x[r], b.x[r], "{}", op.name()); }
                if effects.f_written >> r & 1 == 0 { prop_assert_eq!(a.f[r], before.1[r], "{}", op.name()); }
                else if results.0.is_ok() { prop_assert_eq!(a.f[r], b.f[r], "{}", op.name()); }
            }
        }
    }
}
