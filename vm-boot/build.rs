//! Collects the facts that `vm-boot --version` states: commit, compiler, profile, target.
//!
//! A build outside a checkout (an unpacked archive) has no commit and says so.

use std::path::Path;
use std::process::Command;

fn main() {
    let commit = commit().unwrap_or_else(|| "not built in a checkout".to_owned());
    println!("cargo:rustc-env=BUILD_COMMIT={commit}");
    let rustc = std::env::var("RUSTC").ok().and_then(|rustc| output(&rustc, &["--version"]));
    println!("cargo:rustc-env=BUILD_RUSTC={}", rustc.as_deref().unwrap_or("unknown"));
    for fact in ["PROFILE", "TARGET"] {
        println!("cargo:rustc-env=BUILD_{fact}={}", std::env::var(fact).unwrap_or_default());
    }
    println!("cargo:rerun-if-changed=build.rs");
}

/// Short commit id, marked when the tree differs from it. Tells cargo to look again when HEAD moves.
fn commit() -> Option<String> {
    let git = output("git", &["rev-parse", "--absolute-git-dir"])?;
    let head = Path::new(&git).join("HEAD");
    println!("cargo:rerun-if-changed={}", head.display());
    if let Some(branch) = output("git", &["symbolic-ref", "-q", "HEAD"]) {
        println!("cargo:rerun-if-changed={}", Path::new(&git).join(branch).display());
    }
    output("git", &["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"])
}

fn output(program: &str, args: &[&str]) -> Option<String> {
    let out = Command::new(program).args(args).output().ok()?;
    let text = String::from_utf8(out.stdout).ok()?.trim().to_owned();
    (out.status.success() && !text.is_empty()).then_some(text)
}
