//! Runs the host's programs: quietly, with what they said last in the error.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result, ensure};

/// Lines of a failed program's messages that go into the error.
const TAIL: usize = 15;

/// Runs a program to its end and gives its standard output.
pub fn output(command: &mut Command) -> Result<Vec<u8>> {
    let name = name(command);
    let done = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("starting {name}: is its package installed? (see tools/set-up)"))?;
    let said = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "{name}: expected success, found {}\n{}", done.status, tail(&said));
    Ok(done.stdout)
}

/// Like [`output`], for a program that prints text.
pub fn text(command: &mut Command) -> Result<String> {
    let name = name(command);
    String::from_utf8(output(command)?).with_context(|| format!("{name}: expected UTF-8 on its output"))
}

/// Runs a program and hands each line of its standard output to `line` as it comes.
pub fn lines(command: &mut Command, mut line: impl FnMut(&str)) -> Result<()> {
    let name = name(command);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("starting {name}: is its package installed? (see tools/set-up)"))?;
    let stderr = child.stderr.take();
    let messages = thread::spawn(move || {
        let mut text = Vec::new();
        if let Some(mut stderr) = stderr {
            let _ = stderr.read_to_end(&mut text);
        }
        text
    });
    if let Some(stdout) = child.stdout.take() {
        for bytes in BufReader::new(stdout).split(b'\n') {
            line(&String::from_utf8_lossy(&bytes?));
        }
    }
    let status = child.wait()?;
    let said = messages.join().unwrap_or_default();
    ensure!(
        status.success(),
        "{name}: expected success, found {status}\n{}",
        tail(&String::from_utf8_lossy(&said))
    );
    Ok(())
}

fn name(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

/// The last lines of a text, for an error message.
pub fn tail(text: &str) -> String {
    let lines: Vec<_> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(TAIL)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_failure_carries_what_the_program_said() {
        let error = output(&mut shell("echo lost >&2; exit 3")).unwrap_err().to_string();
        assert!(error.contains("exit status: 3") && error.contains("lost"), "{error}");
    }

    #[test]
    fn lines_come_one_by_one() {
        let mut seen = Vec::new();
        lines(&mut shell("echo a; echo b"), |line| seen.push(line.to_owned())).unwrap();
        assert_eq!(seen, ["a", "b"]);
    }

    #[test]
    fn an_absent_program_is_named() {
        let error = format!("{:#}", output(&mut Command::new("no-such-program")).unwrap_err());
        assert!(error.contains("no-such-program") && error.contains("set-up"), "{error}");
    }

    #[test]
    fn a_tail_is_the_end_of_a_long_text() {
        let text: String = (0..100).map(|line| format!("{line}\n")).collect();
        assert!(tail(&text).starts_with("85\n") && tail(&text).ends_with("99"));
    }
}
