//! Several machines that go on from one snapshot: each is a process of its own, so that what happens to one
//! happens to no other. They share what none of them has changed: the host's page cache.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;

use rustix::process::{Signal, set_parent_process_death_signal};

use crate::defect::{FAILURE, say};

/// Runs `count` clones to their ends, by this program with the words it was called with and some `more`. Gives
/// the exit code: the first one that is not 0.
pub fn run(count: u32, words: &[OsString], more: &[&str]) -> io::Result<u8> {
    let program = std::env::current_exe()?;
    let mut clones = Vec::new();
    for number in 0..count {
        let mut command = Command::new(&program);
        command.args(words_of(words, number)).args(more).stdin(Stdio::null()).stderr(Stdio::piped());
        match command.spawn() {
            Ok(mut clone) => {
                pass_on(number, &mut clone)?;
                clones.push(clone);
            }
            Err(error) => {
                clones.iter_mut().for_each(end);
                return Err(error);
            }
        }
    }
    let ends: io::Result<Vec<ExitStatus>> = clones.iter_mut().map(Child::wait).collect();
    let codes =
        ends?.into_iter().map(|end| end.code().and_then(|code| code.try_into().ok()).unwrap_or(FAILURE));
    Ok(codes.into_iter().find(|&code| code != 0).unwrap_or(0))
}

/// Ends this process with the one that started it.
pub fn stay_with_parent() {
    if let Err(error) = set_parent_process_death_signal(Some(Signal::TERM)) {
        tracing::warn!(%error, "this clone may outlive the others");
    }
}

/// The words for one clone: that it is one of many instead of how many, and its number for `%N`.
fn words_of(words: &[OsString], number: u32) -> Vec<OsString> {
    let mut own = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.to_str() {
            Some("--clone") => _ = words.next(),
            Some(word) if word.starts_with("--clone=") => {}
            Some(word) => own.push(word.replace("%N", &number.to_string()).into()),
            None => own.push(word.clone()),
        }
    }
    own.extend(["--clone=1", "--one-of-many"].map(OsString::from));
    own
}

/// Says what a clone says, with its number.
fn pass_on(number: u32, clone: &mut Child) -> io::Result<()> {
    let Some(said) = clone.stderr.take() else { return Ok(()) };
    thread::Builder::new().name(format!("clone {number}")).spawn(move || {
        for line in BufReader::new(said).lines().map_while(Result::ok) {
            say(&format!("clone {number}: {}", line.strip_prefix("vm-boot: ").unwrap_or(&line)));
        }
    })?;
    Ok(())
}

fn end(clone: &mut Child) {
    // Both fail only where it has ended already.
    let _ = clone.kill();
    let _ = clone.wait();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_gets_the_words_but_for_the_count() {
        let words = |text: &str| -> Vec<OsString> { text.split_whitespace().map(OsString::from).collect() };
        assert_eq!(
            words_of(&words("restore warm --clone 3 --serial file=log-%N"), 2),
            words("restore warm --serial file=log-2 --clone=1 --one-of-many")
        );
        assert_eq!(
            words_of(&words("restore --clone=20 warm"), 7),
            words("restore warm --clone=1 --one-of-many")
        );
    }
}
