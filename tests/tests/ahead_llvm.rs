//! Linux twice: what the first boot executed is translated by LLVM where it is hot, and the second runs that, step
//! by step with the interpreter.

use tests::ahead::{Ahead, boot, sum};

/// Executions from which on code is LLVM's: of a boot, that leaves the hottest sixth.
const HOT: &str = "2000";

/// The units that LLVM made, as `aot-builder build` tells.
fn by_llvm(told: &str) -> u64 {
    let count = told.split(" units by LLVM 19").next().and_then(|text| text.rsplit(' ').next());
    count.and_then(|count| count.parse().ok()).unwrap_or_else(|| panic!("expected units by LLVM: {told}"))
}

#[test]
fn a_boot_from_code_by_llvm_is_in_lock_step_with_the_interpreter() {
    let ahead = Ahead::default();
    let (profile, home) = (ahead.profile(), ahead.trust());
    boot(&["--profile", profile.to_str().expect("text")], home);
    // LLVM 19 has to be there: `tools/set-up test` installs it, and without it this says so.
    let told = ahead.build_by(&["--backend", "llvm", "--hot", HOT, "--least", "32"]);
    assert!(by_llvm(&told) > 500, "a boot has more hot code than that: {told}");

    let image = ahead.options();
    let image = image.each_ref().map(String::as_str);
    let (second, log) = boot(&[&image[..], &["--jit", "on,lockstep=chains"]].concat(), home);
    let (from_it, all) = (sum(&second, "ahead"), sum(&second, "instructions"));
    assert!(from_it > all / 10 * 9, "{from_it} of {all} instructions were executed from the image: {log}");
    let compared = sum(&second, "lockstep_instructions");
    assert!(compared > all / 2, "{compared} of {all} instructions were compared");
}
