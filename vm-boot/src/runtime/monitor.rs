//! The monitor: a few commands typed at the console's prompt (Ctrl-A c).

use std::path::PathBuf;

use super::state::Command;
use crate::cli::nearest::hint;

const COMMANDS: [(&str, &str); 12] = [
    ("help", "this list"),
    ("info", "state, harts and memory of the machine"),
    ("stats", "what the machine has done, in figures"),
    ("regs", "registers of a hart: regs 0"),
    ("pause", "let the harts rest"),
    ("resume", "let them go on"),
    ("save", "take a snapshot: save DIR, or where --snapshot-dir says; save DIR on BASE: what differs"),
    ("load", "go back to a snapshot: load DIR"),
    ("profile", "write what code has run: profile FILE, or where --profile says"),
    ("reset", "start again from the loaded payload"),
    ("shutdown", "end the machine in order"),
    ("stop", "end the machine at once"),
];

/// What a line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// Text that is the whole answer.
    Say(String),
    /// The state of the machine.
    Info,
    /// What the machine has done.
    Statistics,
    /// The registers of a hart.
    Registers(usize),
    /// A snapshot.
    Save {
        /// There, or at the usual place.
        dir: Option<PathBuf>,
        /// On top of this one, or as usual.
        base: Option<PathBuf>,
    },
    /// Go on from a snapshot.
    Load(Option<PathBuf>),
    /// What code has run, to a file or where it goes at the end.
    Profile(Option<PathBuf>),
    /// A command.
    Do(Command),
}

impl Request {
    /// Understands a line.
    pub fn parse(line: &str) -> Self {
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            (None, _) => Self::Say(String::new()),
            (Some("help"), _) => Self::Say(help()),
            (Some("info"), None) => Self::Info,
            (Some("stats"), None) => Self::Statistics,
            (Some("regs"), None) => Self::Registers(0),
            (Some("regs"), Some(hart)) => match hart.parse() {
                Ok(hart) => Self::Registers(hart),
                Err(_) => Self::Say(format!("expected the number of a hart, found {hart:?}\n")),
            },
            (Some("save"), dir) => match (words.next(), words.next()) {
                (None, None) => Self::Save { dir: dir.map(PathBuf::from), base: None },
                (Some("on"), Some(base)) => {
                    Self::Save { dir: dir.map(PathBuf::from), base: Some(base.into()) }
                }
                _ => Self::Say(format!("expected save DIR or save DIR on BASE, found {line:?}\n")),
            },
            (Some("load"), dir) => Self::Load(dir.map(PathBuf::from)),
            (Some("profile"), file) => Self::Profile(file.map(PathBuf::from)),
            (Some("pause"), None) => Self::Do(Command::Pause),
            (Some("resume"), None) => Self::Do(Command::Resume),
            (Some("reset"), None) => Self::Do(Command::Reset),
            (Some("shutdown"), None) => Self::Do(Command::Shutdown),
            (Some("stop"), None) => Self::Do(Command::Stop),
            (Some(word), _) => {
                let near = hint(word, COMMANDS.map(|(name, _)| name));
                Self::Say(format!("unknown command {line:?}{near}; help lists them\n"))
            }
        }
    }
}

fn help() -> String {
    COMMANDS.map(|(name, meaning)| format!("{name:<10}{meaning}\n")).concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_command_is_understood() {
        for (name, _) in COMMANDS {
            match Request::parse(name) {
                Request::Say(text) => assert_eq!((name, text), ("help", help())),
                Request::Info | Request::Statistics | Request::Registers(0) | Request::Do(_) => {}
                Request::Save { dir: None, base: None } | Request::Load(None) | Request::Profile(None) => {}
                other => panic!("{name}: {other:?}"),
            }
        }
        assert_eq!(Request::parse("  regs  3 "), Request::Registers(3));
        let save = |dir: &str, base: Option<&str>| Request::Save {
            dir: Some(dir.into()),
            base: base.map(PathBuf::from),
        };
        assert_eq!(Request::parse("save a/b"), save("a/b", None));
        assert_eq!(Request::parse("save a/b on c"), save("a/b", Some("c")));
        assert!(matches!(Request::parse("save a/b c"), Request::Say(_)));
        assert_eq!(Request::parse(""), Request::Say(String::new()));
    }

    #[test]
    fn slips_are_answered_with_the_nearest_command() {
        let Request::Say(text) = Request::parse("puase") else { panic!() };
        assert!(text.contains("did you mean \"pause\"?"), "{text}");
        let Request::Say(text) = Request::parse("regs x") else { panic!() };
        assert!(text.contains("found \"x\""), "{text}");
    }
}
