//! Linux twice: what the first boot executed is translated, and the second runs it, step by step with the
//! interpreter; so does a machine with other memory and harts. An image that was changed is not run.

use std::fs;
use std::process::Command;

use serde_json::Value;
use tests::ahead::{Ahead, LIMIT, boot, sum};
use tests::host::{run_limited, vm_boot};
use vm_cpu::aot::profile::{Profile, ProfilePage};
use vm_cpu::isa::asm::assemble;

#[test]
fn what_one_boot_executed_the_next_runs_from_an_image() {
    let ahead = Ahead::default();
    let (profile, home) = (ahead.profile(), ahead.trust());
    let (first, _) = boot(&["--profile", profile.to_str().expect("text")], home);
    assert_eq!(sum(&first, "ahead"), 0);
    assert!(ahead.build(32) > 1000, "a kernel has more code than that");
    let image = ahead.options();
    let image = image.each_ref().map(String::as_str);

    let (second, _) = boot(&[&image[..], &["--jit", "on,lockstep=chains"]].concat(), home);
    let (from_it, all) = (sum(&second, "ahead"), sum(&second, "instructions"));
    assert!(from_it > all / 10 * 9, "{from_it} of {all} instructions were executed from the image");
    let compared = sum(&second, "lockstep_instructions");
    assert!(compared > all / 2, "{compared} of {all} instructions were compared");

    let (other, _) = boot(&[&image[..], &["--cpus", "2", "--memory", "300M"]].concat(), home);
    let (from_it, all) = (sum(&other, "ahead"), sum(&other, "instructions"));
    assert!(from_it > all / 10 * 8, "{from_it} of {all} instructions were executed from the image");

    let mut file = fs::read(ahead.image()).expect("an image");
    let middle = file.len() / 2;
    file[middle] ^= 1;
    fs::write(ahead.image(), file).expect("a temporary file");
    let (refused, log) = boot(&image, home);
    assert_eq!(sum(&refused, "ahead"), 0);
    assert!(log.contains("no code from the image"), "{log}");
}

/// Runs that learn wait for the compiler: what optimised code learns must not hang on how soon there is some.
const LEARNING: [&str; 2] = ["--jit", "on,wait=on"];

/// Statistics of a run of a program that ends by itself.
fn run(ahead: &Ahead, program: &str, options: &[&str]) -> Value {
    let (firmware, stats) = (ahead.trust().join("program"), ahead.trust().join("stats"));
    fs::write(&firmware, assemble(0x8000_0000, program).expect("instructions").bytes)
        .expect("a temporary file");
    let mut command = Command::new(vm_boot());
    command.arg("run").arg("--firmware").arg(&firmware).arg("--stats-file").arg(&stats).args(options);
    let outcome = run_limited(&mut command, LIMIT);
    assert_eq!(outcome.code, Some(0), "{}", outcome.output);
    serde_json::from_slice(&fs::read(&stats).expect("statistics")).expect("JSON")
}

/// Takes something that the run learnt of accesses out of its profile.
fn forget(ahead: &Ahead, learnt: impl Fn(&mut ProfilePage) -> &mut Vec<u16>) {
    let mut profile = Profile::read(&fs::read(ahead.profile()).expect("a profile")).expect("a profile");
    assert!(profile.pages.iter_mut().any(|page| !learnt(page).is_empty()), "the run learnt it");
    profile.pages.iter_mut().for_each(|page| learnt(page).clear());
    let mut bytes = Vec::new();
    profile.write(&mut bytes).expect("memory");
    fs::write(ahead.profile(), bytes).expect("a temporary file");
}

/// Reads words of two pages in turn as often as told.
const TURNS: &str = "
    auipc x5, 0x10
    lui x7, 1
    li x6, TURNS
turn:
    add x5, x5, x7
    ld x8, 0(x5)
    neg x7, x7
    addi x6, x6, -1
    j over
    over: bnez x6, turn
    lui x5, 0x100
    lui x6, 5
    addi x6, x6, 0x555
    sw x6, 0(x5)
    wfi";

#[test]
fn a_unit_of_an_image_gives_way_if_its_inline_caches_are_of_no_use_for_long() {
    let ahead = Ahead::default();
    let turns =
        |turns: u32, options: &[&str]| run(&ahead, &TURNS.replace("TURNS", &turns.to_string()), options);
    turns(2_000_000, &[&LEARNING[..], &["--profile", ahead.profile().to_str().expect("text")]].concat());
    forget(&ahead, |page| &mut page.roaming);
    ahead.build(32);
    let image = ahead.options();
    for (count, grounded, least) in [(4000, 0, 90), (2_000_000, 1, 0)] {
        let stats = turns(count, &image.each_ref().map(String::as_str));
        let (from_it, all) = (sum(&stats, "ahead"), sum(&stats, "instructions"));
        assert_eq!(stats["compiler"]["grounded"], grounded);
        assert!(from_it > all / 100 * least, "{from_it} of {all} instructions were executed from the image");
    }
}

#[test]
fn a_profile_says_which_way_branches_went() {
    let ahead = Ahead::default();
    let path = ahead.profile();
    let options = [&LEARNING[..], &["--profile", path.to_str().expect("text")]].concat();
    run(&ahead, &TURNS.replace("TURNS", "4000"), &options);
    let profile = Profile::read(&fs::read(ahead.profile()).expect("a profile")).expect("a profile");
    let ways: Vec<[u64; 2]> =
        profile.pages.iter().flat_map(|page| &page.blocks).map(|block| block.ways).collect();
    // One that asks for a unit has not branched yet.
    assert!(ways.iter().any(|&[taken, not]| taken > 8 && not <= 1), "a loop goes round: {ways:?}");
    assert!(ways.contains(&[0, 0]), "a block that ends with a jump: {ways:?}");
}

/// Reads two words that lie beside each other 100 000 times in one page, then as often at the border of two.
const ACROSS: &str = "
    auipc x5, 0x10
    li x9, 2
again:
    li x6, 100000
sum:
    ld x7, 0(x5)
    ld x8, 8(x5)
    add x10, x7, x8
    j over
    over: addi x6, x6, -1
    bnez x6, sum
    lui x11, 1
    addi x11, x11, -8
    add x5, x5, x11
    addi x9, x9, -1
    bnez x9, again
    lui x5, 0x100
    lui x6, 5
    addi x6, x6, 0x555
    sw x6, 0(x5)
    wfi";

#[test]
fn a_unit_of_an_image_gives_way_if_what_it_checks_at_once_comes_to_lie_across_pages() {
    let ahead = Ahead::default();
    let run = |options: &[&str]| run(&ahead, ACROSS, options);
    run(&[&LEARNING[..], &["--profile", ahead.profile().to_str().expect("text")]].concat());
    ahead.build(32);
    let image = ahead.options();
    let stats = run(&image.each_ref().map(String::as_str));
    let (from_it, all) = (sum(&stats, "ahead"), sum(&stats, "instructions"));
    assert!(from_it > all / 10 * 9, "{from_it} of {all} instructions were executed from an image that knows");
    assert_eq!(stats["compiler"]["apart"], 0);

    // Of a run that had not come to the second half.
    forget(&ahead, |page| &mut page.apart);
    ahead.build(32);
    let stats = run(&image.each_ref().map(String::as_str));
    let (from_it, all) = (sum(&stats, "ahead"), sum(&stats, "instructions"));
    assert!(from_it > all / 3, "{from_it} of {all} instructions were executed from the image");
    let compiled = sum(&stats, "compiled");
    assert!(compiled > all / 10 * 9, "{compiled} of {all} instructions were not left to the interpreter");
    assert!(from_it < all / 10 * 6, "{from_it} of {all} instructions: what took its place was made here");
    assert_eq!(stats["compiler"]["apart"], 1);
}
