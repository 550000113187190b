//! Options on where guest memory lies on the host, and when it is taken.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

use super::nearest::hint;
use super::value::{ValueError, number, switch};

/// Threads that bring memory in, unless somebody says.
const THREADS: usize = 4;
const KEYS: [&str; 2] = ["huge", "threads"];

/// When guest memory is taken from the host, and what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ram {
    /// All of it at the start, by so many threads; else each page when it is touched.
    pub eager: Option<usize>,
    /// In huge pages, where the host has some.
    pub huge: bool,
    /// Stores go to a file, to which the host may page out.
    pub file: Option<RamFile>,
}

/// Where the file of guest memory is. It has no name there, and goes with the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RamFile {
    /// In `$TMPDIR`, or where large temporary files go.
    Usual,
    /// In this directory.
    In(PathBuf),
}

impl Default for Ram {
    fn default() -> Self {
        Self { eager: None, huge: true, file: None }
    }
}

impl FromStr for Ram {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let mut fields = text.split(',');
        let mut ram = Self::default();
        match fields.next() {
            Some("lazy") => {}
            Some("eager") => ram.eager = Some(THREADS),
            Some("file") => ram.file = Some(RamFile::Usual),
            Some(word) if word.strip_prefix("file=").is_some_and(|dir| !dir.is_empty()) => {
                ram.file = Some(RamFile::In(word["file=".len()..].into()));
            }
            _ => {
                let expected = "expected lazy, eager, file or file=DIR, with options such as eager,threads=2";
                return Err(ValueError::new(format!("{expected}, found {text:?}")));
            }
        }
        for field in fields {
            let (key, value) = field.split_once('=').unwrap_or((field, ""));
            match key {
                "huge" => ram.huge = switch(key, value)?,
                "threads" if ram.eager.is_some() => {
                    ram.eager = Some(number(key, value, 1..=64)? as usize);
                }
                _ => return Err(ValueError::new(format!("unknown option {key:?}{}", hint(key, KEYS)))),
            }
        }
        Ok(ram)
    }
}

/// Options of `run` and `restore` on guest memory.
#[derive(Clone, Debug, Default, Args)]
pub struct RamArgs {
    /// How guest memory is taken from the host: lazy, when it is touched; eager[,threads=N], all at the start;
    /// file or file=DIR, in a file that the host may page out to. ,huge=off: never in huge pages [default: lazy]
    #[arg(long, value_name = "HOW")]
    pub ram: Option<Ram>,
    /// Let the host keep equal pages of machines once (KSM): others can then find out by timing what is in them
    #[arg(long)]
    pub ksm: bool,
}

impl RamArgs {
    /// These where given, else those of `base`.
    pub(super) fn over(self, base: Self) -> Self {
        Self { ram: self.ram.or(base.ram), ksm: self.ksm | base.ksm }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_to_take_memory() {
        let ram = |text: &str| text.parse::<Ram>().unwrap();
        assert_eq!(ram("lazy"), Ram::default());
        assert_eq!(ram("eager").eager, Some(THREADS));
        assert_eq!(ram("eager,threads=2,huge=off"), Ram { eager: Some(2), huge: false, file: None });
        assert_eq!(ram("file").file, Some(RamFile::Usual));
        assert_eq!(ram("file=/a/b").file, Some(RamFile::In("/a/b".into())));
        for (text, part) in [
            ("lasy", "expected lazy, eager, file or file=DIR"),
            ("file=", "expected lazy"),
            ("lazy,threads=2", "unknown option \"threads\""),
            ("lazy,hug=on", "did you mean"),
            ("eager,threads=0", "from 1 to 64"),
            ("lazy,huge=maybe", "expected on or off"),
        ] {
            let refused = text.parse::<Ram>().unwrap_err().to_string();
            assert!(refused.contains(part), "{text}: {refused}");
        }
    }
}
