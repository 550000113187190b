//! An image of a kernel that has never run: made from its file alone, it serves the first boot.

use std::process::Command;

use tests::ahead::{Ahead, boot, sum};

/// Guest instructions that are translated: about a twentieth of the kernel's.
const MOST: &str = "200000";

#[test]
fn an_image_made_of_the_kernel_s_file_alone_serves_the_first_boot() {
    let ahead = Ahead::default();
    ahead.survey_kernel(MOST);
    let options = ahead.options();
    let (first, log) = boot(&options.each_ref().map(String::as_str), ahead.trust());
    let (from_it, all) = (sum(&first, "ahead"), sum(&first, "instructions"));
    assert!(from_it > all / 4, "{from_it} of {all} instructions were executed from the image: {log}");
}

#[test]
fn a_kernel_that_is_none_is_refused() {
    let ahead = Ahead::default();
    let text = ahead.trust().join("text");
    std::fs::write(&text, "MZ, and nothing else").expect("a temporary file");
    let mut command = Command::new(tests::host::aot_builder());
    let output =
        command.arg("kernel").arg(&text).arg("-o").arg(ahead.profile()).output().expect("aot-builder");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("text: "), "{output:?}");
}
