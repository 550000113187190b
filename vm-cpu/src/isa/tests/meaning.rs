//! What instructions do, against facts of the manual.

use super::super::calculator::Calculator;
use super::super::emit::{CsrOp, Order, Rm, Sys};
use super::super::{Extensions, decode};
use crate::trap::{Cause, Trap};
use proptest::prelude::*;

const A0: usize = 10;
const A1: usize = 11;
const A2: usize = 12;

/// a0 after `line`, with these values in a1 and a2.
fn a0(line: &str, a1: u64, a2: u64) -> u64 {
    let mut c = Calculator::new();
    (c.x[A1], c.x[A2]) = (a1, a2);
    c.run(line).expect("no trap");
    c.x[A0]
}

fn check(facts: &[(&str, u64, u64, u64)]) {
    for &(line, a1, a2, expected) in facts {
        let found = a0(line, a1, a2);
        assert_eq!(found, expected, "{line} of {a1:#x}, {a2:#x}: {found:#x} is not {expected:#x}");
    }
}

const MIN: u64 = 1 << 63;
const MIN_W: u64 = 0xffff_ffff_8000_0000;
const ONES: u64 = u64::MAX;

#[test]
fn word_arithmetic_looks_at_low_words_and_extends_the_sign() {
    check(&[
        ("addw a0,a1,a2", 0x7fff_ffff, 1, MIN_W),
        ("addiw a0,a1,-1", 0x1_0000_0000, 0, ONES),
        ("subw a0,a1,a2", 0x5_0000_0000, 1, ONES),
        ("mulw a0,a1,a2", 0x1_0001_0000, 0x8000, MIN_W),
        ("sllw a0,a1,a2", 1, 31 + 32, MIN_W),
        ("srlw a0,a1,a2", 0xf_8000_0000, 31 + 64, 1),
        ("sraw a0,a1,a2", 0xf_8000_0000, 31, ONES),
        ("srlw a0,a1,a2", 0xf_8000_0000, 32, MIN_W),
        ("slliw a0,a1,31", 3, 0, MIN_W),
        ("srliw a0,a1,4", ONES, 0, 0x0fff_ffff),
        ("sraiw a0,a1,4", 0x7_8000_0000, 0, 0xffff_ffff_f800_0000),
    ]);
}

#[test]
fn division_by_zero_and_overflow_have_the_manuals_results() {
    check(&[
        ("div a0,a1,a2", 7, 0, ONES),
        ("divu a0,a1,a2", 7, 0, ONES),
        ("rem a0,a1,a2", 7, 0, 7),
        ("remu a0,a1,a2", 7, 0, 7),
        ("div a0,a1,a2", MIN, ONES, MIN),
        ("rem a0,a1,a2", MIN, ONES, 0),
        ("div a0,a1,a2", -7i64 as u64, 2, -3i64 as u64),
        ("rem a0,a1,a2", -7i64 as u64, 2, ONES),
        ("divw a0,a1,a2", MIN_W, ONES, MIN_W),
        ("remw a0,a1,a2", MIN_W, ONES, 0),
        ("divw a0,a1,a2", 7, 0x1_0000_0000, ONES),
        ("divuw a0,a1,a2", 7, 0x1_0000_0000, ONES),
        ("remw a0,a1,a2", 0x8000_0007, 0, 0xffff_ffff_8000_0007),
        ("remuw a0,a1,a2", 0x8000_0007, 0, 0xffff_ffff_8000_0007),
        ("divuw a0,a1,a2", ONES, 2, 0x7fff_ffff),
    ]);
}

#[test]
fn high_products_have_the_right_signs() {
    check(&[
        ("mulh a0,a1,a2", ONES, ONES, 0),
        ("mulhu a0,a1,a2", ONES, ONES, ONES - 1),
        ("mulhsu a0,a1,a2", ONES, ONES, ONES),
        ("mulhsu a0,a1,a2", 2, MIN, 1),
    ]);
}

#[test]
fn comparisons_and_upper_immediates() {
    check(&[
        ("slt a0,a1,a2", ONES, 0, 1),
        ("sltu a0,a1,a2", ONES, 0, 0),
        ("slti a0,a1,-1", MIN, 0, 1),
        ("sltiu a0,a1,-1", 5, 0, 1),
        ("lui a0,0x80000", 0, 0, MIN_W),
        ("auipc a0,0xfffff", 0, 0, 0),
    ]);
}

#[test]
fn zba_extends_before_it_shifts() {
    check(&[
        ("sh3add a0,a1,a2", 0x2000_0000_0000_0001, 1, 9),
        ("sh1add.uw a0,a1,a2", 0xf_8000_0000, 1, 0x1_0000_0001),
        ("add.uw a0,a1,a2", ONES, 1, 0x1_0000_0000),
        ("slli.uw a0,a1,32", 0xf_0000_0001, 0, 0x1_0000_0000),
    ]);
}

#[test]
fn zbb_counts_rotates_and_reverses() {
    check(&[
        ("clz a0,a1", 0, 0, 64),
        ("clzw a0,a1", 0xf_0000_0000, 0, 32),
        ("ctzw a0,a1", 0x1_0000_0000, 0, 32),
        ("cpopw a0,a1", ONES, 0, 32),
        ("rolw a0,a1,a2", 0x8000_0001, 1, 3),
        ("rolw a0,a1,a2", 0x8000_0001, 32, 0xffff_ffff_8000_0001),
        ("rorw a0,a1,a2", 1, 1, MIN_W),
        ("roriw a0,a1,4", 0xf_0000_0008, 0, MIN_W),
        ("roriw a0,a1,0", 0xf_8000_0000, 0, MIN_W),
        ("rori a0,a1,63", MIN, 0, 1),
        ("rol a0,a1,a2", 3, 63, MIN | 1),
        ("orc.b a0,a1", 0x8000_0100_0010_0001, 0, 0xff00_ff00_00ff_00ff),
        ("orc.b a0,a1", 0x7f01_0000_0000_0080, 0, 0xffff_0000_0000_00ff),
        ("rev8 a0,a1", 0x0102_0304_0506_0708, 0, 0x0807_0605_0403_0201),
        ("sext.b a0,a1", 0x180, 0, -128i64 as u64),
        ("zext.h a0,a1", ONES, 0, 0xffff),
        ("andn a0,a1,a2", 0xff, 0x0f, 0xf0),
        ("orn a0,a1,a2", 0, 0x0f, !0x0f),
        ("xnor a0,a1,a2", 0xff, 0x0f, !0xf0),
        ("max a0,a1,a2", ONES, 1, 1),
        ("maxu a0,a1,a2", ONES, 1, ONES),
        ("min a0,a1,a2", ONES, 1, ONES),
        ("minu a0,a1,a2", ONES, 1, 1),
    ]);
}

#[test]
fn zbs_takes_bit_numbers_modulo_64() {
    check(&[
        ("bset a0,a1,a2", 0, 127, MIN),
        ("bclr a0,a1,a2", ONES, 64, ONES - 1),
        ("binv a0,a1,a2", 1, 0, 0),
        ("bext a0,a1,a2", MIN, 63, 1),
        ("bseti a0,a1,63", 0, 0, MIN),
        ("bclri a0,a1,63", ONES, 0, MIN - 1),
        ("binvi a0,a1,2", 0, 0, 4),
        ("bexti a0,a1,2", 4, 0, 1),
    ]);
}

#[test]
fn conditional_zero_and_may_be_operations() {
    check(&[
        ("czero.eqz a0,a1,a2", 5, 0, 0),
        ("czero.eqz a0,a1,a2", 5, MIN, 5),
        ("czero.nez a0,a1,a2", 5, 0, 5),
        ("czero.nez a0,a1,a2", 5, MIN, 0),
        ("li a0,7; mop.r.31 a0,a1", 5, 5, 0),
        ("li a0,7; mop.rr.0 a0,a1,a2", 5, 5, 0),
        ("li a0,7; c.mop.5", 5, 5, 7),
    ]);
}

#[test]
fn zcb_expands_to_what_it_says() {
    check(&[
        ("mv a0,a1; c.zext.b a0", 0x1ff, 0, 0xff),
        ("mv a0,a1; c.sext.h a0", 0x8000, 0, 0xffff_ffff_ffff_8000),
        ("mv a0,a1; c.zext.w a0", ONES, 0, 0xffff_ffff),
        ("mv a0,a1; c.not a0", 5, 0, !5),
        ("mv a0,a1; c.mul a0,a2", 5, 6, 30),
    ]);
}

#[test]
fn loads_extend_as_their_names_say() {
    let mut c = Calculator::new();
    c.memory[8..16].copy_from_slice(&0xfedc_ba98_8765_4381u64.to_le_bytes());
    for (line, expected) in [
        ("lb a0,8(x0)", 0xffff_ffff_ffff_ff81),
        ("lbu a0,8(x0)", 0x81),
        ("lh a0,9(x0)", 0x6543),
        ("lhu a0,14(x0)", 0xfedc),
        ("lw a0,8(x0)", 0xffff_ffff_8765_4381),
        ("lwu a0,8(x0)", 0x8765_4381),
        ("ld a0,8(x0)", 0xfedc_ba98_8765_4381),
    ] {
        c.run(line).expect("no trap");
        assert_eq!(c.x[A0], expected, "{line}");
    }
}

#[test]
fn a_load_to_x0_still_faults() {
    let trap = Calculator::new().run("lb x0,-1(x0)");
    assert_eq!(trap, Err(Trap { cause: Cause::LoadAccess, tval: ONES }));
}

#[test]
fn a_trap_leaves_the_destination_as_it_was() {
    let mut c = Calculator::new();
    c.x[A0] = 0x1_0000;
    c.run("amoadd.w a0,a0,(a0)").expect_err("beyond the memory");
    assert_eq!(c.x[A0], 0x1_0000);
}

#[test]
fn a_link_is_the_address_behind_the_instruction_also_when_it_is_short() {
    let mut c = Calculator::new();
    c.run("jal ra,0x2000").expect("no trap");
    assert_eq!((c.pc, c.x[1]), (0x2000, 0x1004));
    c.x[A0] = 0x3001;
    c.run("c.jalr a0").expect("no trap");
    assert_eq!((c.pc, c.x[1]), (0x3000, 0x2002));
    c.run("jalr ra,8(ra)").expect("no trap");
    assert_eq!((c.pc, c.x[1]), (0x200a, 0x3004));
}

#[test]
fn branches_compare_as_their_names_say() {
    for (line, a1, a2, taken) in [
        ("beq a1,a2,.+8", 1, 1, true),
        ("bne a1,a2,.+8", 1, 1, false),
        ("blt a1,a2,.+8", ONES, 1, true),
        ("bge a1,a2,.+8", ONES, 1, false),
        ("bltu a1,a2,.+8", ONES, 1, false),
        ("bgeu a1,a2,.+8", ONES, 1, true),
        ("bge a1,a2,.+8", 1, 1, true),
    ] {
        let mut c = Calculator::new();
        (c.x[A1], c.x[A2]) = (a1, a2);
        c.run(line).expect("no trap");
        assert_eq!(c.pc, if taken { 0x1008 } else { 0x1004 }, "{line}");
    }
}

#[test]
fn without_compressed_instructions_a_target_between_words_traps_before_the_link_is_written() {
    let run = |line: &str, a1: u64| {
        let mut c = Calculator::new();
        c.x[A1] = a1;
        let result = c.run_with(line, Extensions::all().without(Extensions::C));
        (result, c.pc, c.x[1])
    };
    let misaligned = |tval| Err(Trap { cause: Cause::InstructionMisaligned, tval });
    assert_eq!(run("jal ra,0x2002", 0), (misaligned(0x2002), 0x1000, 0));
    assert_eq!(run("jalr ra,3(a1)", 0x2000), (misaligned(0x2002), 0x1000, 0));
    assert_eq!(run("jalr ra,1(a1)", 0x2000), (Ok(()), 0x2000, 0x1004));
    assert_eq!(run("beqz a1,0x1006", 0), (misaligned(0x1006), 0x1000, 0));
    assert_eq!(run("beqz a1,0x1006", 1), (Ok(()), 0x1004, 0));
    assert_eq!(run("beqz a1,0x1008", 0), (Ok(()), 0x1008, 0));
    assert_eq!(run("jal ra,0x2004", 0), (Ok(()), 0x2004, 0x1004));
}

#[test]
fn atomics_give_the_old_value_and_their_order() {
    let mut c = Calculator::new();
    c.memory[0..4].copy_from_slice(&[0xff; 4]);
    c.x[A1] = 1;
    c.run("amominu.w.aq a0,a1,(x0)").expect("no trap");
    assert_eq!((c.x[A0], c.memory[0], c.memory[4]), (ONES, 1, 0));
    c.run("lr.d.rl a0,(x0); sc.d.aqrl a2,a1,(x0); sc.d a0,a1,(x0)").expect("no trap");
    assert_eq!((c.x[A2], c.x[A0]), (0, 1));
    let order = |aq, rl| Order { aq, rl };
    assert_eq!(c.orders, [order(true, false), order(false, true), order(true, true), order(false, false)]);
    assert_eq!(c.fences, [(3, 3)], "stores before lr.rl come before it");
}

#[test]
fn a_compare_and_swap_compares_the_destination() {
    let mut c = Calculator::new();
    c.memory[0] = 5;
    (c.x[A0], c.x[A2]) = (5, 9);
    c.run("amocas.w a0,a2,(x0)").expect("no trap");
    assert_eq!((c.x[A0], c.memory[0]), (5, 9));
    c.run("amocas.d a0,a1,(x0)").expect("no trap");
    assert_eq!((c.x[A0], c.memory[0]), (9, 9));
}

#[test]
fn a_pair_of_x0_reads_zero_and_swallows_the_old_value() {
    let mut c = Calculator::new();
    (c.x[1], c.x[A0], c.x[A1]) = (77, 1, 2);
    c.run("amocas.q x0,a0,(x0)").expect("no trap");
    assert_eq!((c.memory[0], c.memory[8], c.x[1]), (1, 2, 77));
    (c.x[4], c.x[5]) = (1, 2);
    c.run("amocas.q x4,x0,(x0)").expect("no trap");
    assert_eq!((c.memory[0], c.memory[8], c.x[4], c.x[5]), (0, 0, 1, 2));
}

#[test]
fn csr_instructions_read_and_write_only_when_they_should() {
    for (line, expected, sync) in [
        ("csrrw a0,satp,a1", (CsrOp::Write, 0x180, 5, true, true), true),
        ("csrrw x0,satp,a1", (CsrOp::Write, 0x180, 5, false, true), true),
        ("csrrw x0,satp,x0", (CsrOp::Write, 0x180, 0, false, true), true),
        ("csrrs a0,satp,x0", (CsrOp::Set, 0x180, 0, true, false), false),
        ("csrrs x0,satp,a1", (CsrOp::Set, 0x180, 5, true, true), true),
        ("csrrs x0,satp,a2", (CsrOp::Set, 0x180, 0, true, true), true),
        ("csrrc a0,mstatus,a1", (CsrOp::Clear, 0x300, 5, true, true), true),
        ("csrrwi x0,mie,0", (CsrOp::Write, 0x304, 0, false, true), true),
        ("csrrci a0,mie,0", (CsrOp::Clear, 0x304, 0, true, false), false),
        ("csrrsi a0,mie,31", (CsrOp::Set, 0x304, 31, true, true), true),
        ("csrrw a0,sscratch,a1", (CsrOp::Write, 0x140, 5, true, true), false),
        ("csrrwi a0,frm,1", (CsrOp::Write, 0x002, 1, true, true), false),
    ] {
        let mut c = Calculator::new();
        (c.x[A1], c.csr) = (5, 0x1234);
        c.run(line).expect("no trap");
        assert_eq!(c.csrs, [expected], "{line}");
        assert_eq!(c.synced, sync, "{line}");
        assert_eq!(c.x[A0], if line.contains("a0") { 0x1234 } else { 0 }, "{line}");
    }
}

#[test]
fn every_floating_point_instruction_asks_for_the_unit_first() {
    use super::super::{Op, execute};
    let mut count = 0;
    for &op in Op::ALL {
        let needs = op.row().needs;
        let float = [Extensions::F, Extensions::D, Extensions::Zfa, Extensions::Zfhmin];
        let mut c = Calculator::new();
        c.fp_off = true;
        c.x.fill(0x1_0000_0000);
        let i = decode(op.row().pattern.value, Extensions::all()).expect("a legal instruction");
        let illegal = execute(&mut c, &i).is_err_and(|trap| trap.cause == Cause::IllegalInstruction);
        assert_eq!(illegal, float.iter().any(|&f| needs.has(f)), "{}", op.name());
        count += u32::from(illegal);
    }
    assert!(count > 80, "only {count} instructions of floating point");
}

#[test]
fn fp_registers_are_moved_raw_and_filled_boxed() {
    let mut c = Calculator::new();
    c.x[A1] = 0x1_8000_8000;
    c.run("fmv.w.x fa0,a1; fmv.h.x fa1,a1; fmv.d.x fa2,a1").expect("no trap");
    assert_eq!(c.f[10..13], [0xffff_ffff_8000_8000, 0xffff_ffff_ffff_8000, 0x1_8000_8000]);
    c.run("fmv.x.w a0,fa2").expect("no trap");
    assert_eq!(c.x[A0], 0xffff_ffff_8000_8000);
    c.run("fmv.x.h a0,fa2").expect("no trap");
    assert_eq!(c.x[A0], 0xffff_ffff_ffff_8000);
    c.run("fsd fa2,0(x0); flh fa3,0(x0); flw fa4,0(x0); fsw fa2,8(x0); fld fa5,8(x0)").expect("no trap");
    assert_eq!(c.f[13..16], [0xffff_ffff_ffff_8000, 0xffff_ffff_8000_8000, 0x8000_8000]);
    c.run("fsh fa2,16(x0); fli.d fa0,0.3125; fli.s fa1,nan").expect("no trap");
    assert_eq!((c.memory[17], c.memory[18]), (0x80, 0));
    assert_eq!((c.f[10], c.f[11]), (0.3125f64.to_bits(), 0xffff_ffff_7fc0_0000));
}

#[test]
fn fp_operands_go_to_their_places() {
    let mut c = Calculator::new();
    (c.f[1], c.f[2], c.f[3]) = (7f64.to_bits(), 2f64.to_bits(), 3f64.to_bits());
    for (line, expected) in [
        ("fsub.d f0,f1,f2", 5.0),
        ("fdiv.d f0,f1,f2", 3.5),
        ("fmadd.d f0,f1,f2,f3", 17.0),
        ("fmsub.d f0,f1,f2,f3", 11.0),
        ("fnmsub.d f0,f1,f2,f3", -11.0),
        ("fnmadd.d f0,f1,f2,f3", -17.0),
        ("fsgnjn.d f0,f1,f2", -7.0),
        ("fminm.d f0,f1,f2", 2.0),
    ] {
        c.run(line).expect("no trap");
        assert_eq!(f64::from_bits(c.f[0]), expected, "{line}");
    }
    c.run("flt.d a0,f2,f1; fle.d a1,f1,f2; fcvt.w.d a2,f1; fclass.d a3,f1").expect("no trap");
    assert_eq!(c.x[A0..A0 + 4], [1, 0, 7, 1 << 6]);
    c.run("fcvt.s.d f4,f1; fcvt.d.s f5,f4; fcvt.d.l f6,a2; fcvtmod.w.d a0,f1,rtz").expect("no trap");
    assert_eq!((c.f[5], c.f[6], c.x[A0]), (c.f[1], c.f[1], 7));
}

#[test]
fn rounding_modes_are_read_from_the_instruction() {
    let modes = [Rm::Rne, Rm::Rtz, Rm::Rdn, Rm::Rup, Rm::Rmm];
    for (name, rm) in ["rne", "rtz", "rdn", "rup", "rmm"].into_iter().zip(modes) {
        let mut c = Calculator::new();
        c.run(&format!("fadd.s f0,f1,f2,{name}")).expect("no trap");
        assert_eq!(c.rounding, Some(rm));
        c.run(&format!("fcvt.d.w f0,x1,{name}")).expect("no trap");
        assert_eq!(c.rounding, Some(rm));
    }
    let mut c = Calculator::new();
    c.run("fsqrt.d f0,f1").expect("no trap");
    assert_eq!(c.rounding, Some(Rm::Dyn));
    c.run("fcvtmod.w.d x0,f1,rtz").expect("no trap");
    assert_eq!(c.rounding, Some(Rm::Rtz));
}

#[test]
fn system_instructions_carry_their_operands() {
    let mut c = Calculator::new();
    (c.x[A1], c.x[A2]) = (0x1000, 7);
    c.run("sfence.vma a1,a2; sinval.vma a1,x0; fence.i; wfi; pause; mret; sret; wrs.sto").expect("no trap");
    let ops: Vec<_> = c.systems.iter().map(|s| s.0).collect();
    use Sys::*;
    assert_eq!(ops, [SfenceVma, SinvalVma, FenceI, Wfi, Pause, Mret, Sret, WrsSto]);
    assert_eq!((c.systems[0].1, c.systems[0].2), (0x1000, 7));
    assert_eq!(c.run("ecall").expect_err("a trap").cause, Cause::EcallM);
    assert_eq!(c.run("c.ebreak").expect_err("a trap").cause, Cause::Breakpoint);
}

#[test]
fn a_fence_has_its_sets_and_a_tso_fence_lets_stores_pass_loads() {
    let mut c = Calculator::new();
    c.run("fence rw,w; fence io,r; fence.tso").expect("no trap");
    assert_eq!(c.fences, [(3, 1), (12, 2), (2, 3), (1, 1)]);
    let reserved = decode(0x4330_000f, Extensions::all()).expect("a fence with a reserved mode");
    c.step(&reserved).expect("no trap");
    assert_eq!(c.fences.last(), Some(&(3, 3)), "it is a normal fence");
}

#[test]
fn a_cache_block_is_zeroed_from_its_start() {
    let mut c = Calculator::new();
    c.memory.fill(0xff);
    c.x[A1] = 0x7f;
    c.run("cbo.zero (a1); cbo.clean (a1)").expect("no trap");
    assert_eq!((c.memory[0x3f], c.memory[0x40], c.memory[0x7f], c.memory[0x80]), (0xff, 0, 0, 0xff));
}

proptest! {
    #[test]
    fn li_loads_any_number(value in any::<i64>(), shift in 0..64) {
        let value = value >> shift;
        let mut c = Calculator::new();
        c.run(&format!("li a0,{value}")).expect("no trap");
        prop_assert_eq!(c.x[A0], value as u64);
    }
}
