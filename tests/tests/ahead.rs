//! Linux twice: what the first boot executed is translated, and the second runs it, step by step with the
//! interpreter; so does a machine with other memory and harts. An image that was changed is not run.

use tests::ahead::{Ahead, boot, sum};

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

    let mut file = std::fs::read(ahead.image()).expect("an image");
    let middle = file.len() / 2;
    file[middle] ^= 1;
    std::fs::write(ahead.image(), file).expect("a temporary file");
    let (refused, log) = boot(&image, home);
    assert_eq!(sum(&refused, "ahead"), 0);
    assert!(log.contains("no code from the image"), "{log}");
}
