//! The configuration file: TOML whose keys are the long options of `run`.
//!
//! Each entry is turned into the option it stands for and parsed by the same parser, so the file can
//! say exactly what the command line can, with the same checks. Relative paths start at the file's own
//! directory, so that a machine and its files can be moved together.

use std::path::{Path, PathBuf};

use clap::{CommandFactory, Parser};
use thiserror::Error;
use toml::{Table, Value};

use super::RunArgs;
use super::nearest::hint;
use super::value::{Aot, Serial, escape_field};

/// Why a configuration file was refused.
#[derive(Debug, Error)]
pub enum FileError {
    /// Cannot be read.
    #[error("configuration file {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the host said.
        source: std::io::Error,
    },
    /// Not TOML.
    #[error("configuration file {}: {source}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// A key that is no option.
    #[error("configuration file {}: unknown key {key:?}{hint}", path.display())]
    UnknownKey {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// The nearest known key, as the end of the sentence.
        hint: String,
    },
    /// A value of the wrong kind for its key.
    #[error("configuration file {}: key {key:?}: expected {expected}, found {found}", path.display())]
    Kind {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// What fits here.
        expected: &'static str,
        /// The kind of value found.
        found: &'static str,
    },
    /// A value that the option itself refuses.
    #[error("configuration file {}: {message}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// What the option expected and found.
        message: String,
    },
}

/// The options of `run` alone, for parsing what the file says.
#[derive(Parser)]
#[command(no_binary_name = true)]
struct Entries {
    #[command(flatten)]
    run: RunArgs,
}

/// Reads and checks a configuration file.
pub(super) fn read(path: &Path) -> Result<RunArgs, FileError> {
    let text =
        std::fs::read_to_string(path).map_err(|source| FileError::Read { path: path.to_owned(), source })?;
    let mut args = parse(path, &text)?;
    if let Some(directory) = path.parent() {
        rebase(&mut args, directory);
    }
    Ok(args)
}

fn parse(path: &Path, text: &str) -> Result<RunArgs, FileError> {
    let table: Table = text
        .parse()
        .map_err(|source| FileError::Syntax { path: path.to_owned(), source: Box::new(source) })?;
    let mut words = Vec::new();
    for (key, value) in &table {
        known(path, key)?;
        for word in words_of(path, key, value)? {
            words.push(format!("--{key}={word}"));
        }
    }
    Entries::try_parse_from(words)
        .map(|entries| entries.run)
        .map_err(|error| FileError::Value { path: path.to_owned(), message: first_paragraph(&error) })
}

/// The keys are the long options, asked of the parser itself; a file cannot name another file.
fn known(path: &Path, key: &str) -> Result<(), FileError> {
    let command = Entries::command();
    let keys: Vec<&str> =
        command.get_arguments().filter_map(|arg| arg.get_long()).filter(|&long| long != "config").collect();
    if keys.contains(&key) {
        return Ok(());
    }
    Err(FileError::UnknownKey { path: path.to_owned(), key: key.to_owned(), hint: hint(key, keys) })
}

/// The values of one key as words of the command line: an array gives one word an element.
fn words_of(path: &Path, key: &str, value: &Value) -> Result<Vec<String>, FileError> {
    match value {
        Value::Array(elements) => elements.iter().map(|element| word_of(path, key, element)).collect(),
        _ => Ok(vec![word_of(path, key, value)?]),
    }
}

fn word_of(path: &Path, key: &str, value: &Value) -> Result<String, FileError> {
    match value {
        Value::Table(fields) => {
            let fields: Result<Vec<String>, FileError> = fields
                .iter()
                .map(|(name, value)| Ok(format!("{name}={}", escape_field(&scalar(path, key, value)?))))
                .collect();
            Ok(fields?.join(","))
        }
        _ => scalar(path, key, value),
    }
}

fn scalar(path: &Path, key: &str, value: &Value) -> Result<String, FileError> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Boolean(true) => Ok("on".to_owned()),
        Value::Boolean(false) => Ok("off".to_owned()),
        _ => Err(FileError::Kind {
            path: path.to_owned(),
            key: key.to_owned(),
            expected: "a string, a number or true/false",
            found: value.type_str(),
        }),
    }
}

/// The parser's message without its advice on usage, which speaks of the command line.
fn first_paragraph(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let paragraph = text.split("\n\n").next().unwrap_or_default().trim();
    paragraph.strip_prefix("error: ").unwrap_or(paragraph).to_owned()
}

fn rebase(args: &mut RunArgs, directory: &Path) {
    let paths = [
        &mut args.kernel,
        &mut args.initrd,
        &mut args.firmware,
        &mut args.dtb,
        &mut args.dump_dtb,
        &mut args.stats_file,
        &mut args.profile,
        &mut args.aot_trust,
        &mut args.snapshot.snapshot_dir,
        &mut args.snapshot.snapshot_base,
    ];
    let disks = args.disk.iter_mut().map(|disk| &mut disk.file);
    let lines = [&mut args.serial, &mut args.virtio_console].into_iter().filter_map(|line| match line {
        Some(Serial::File(path)) => Some(path),
        _ => None,
    });
    let image = args.aot.as_mut().and_then(|aot| match aot {
        Aot::File(path) => Some(path),
        Aot::Auto => None,
    });
    for path in paths.into_iter().flatten().chain(disks).chain(lines).chain(image) {
        *path = directory.join(&*path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::value::{Cpus, Memory};

    fn parse_text(text: &str) -> Result<RunArgs, FileError> {
        parse(Path::new("vm.toml"), text)
    }

    #[test]
    fn keys_are_the_options() {
        let args = parse_text(
            "kernel = 'Image'\nmemory = '2G'\ncpus = 4\nrng = false\nappend = '-- single'\n\
             disk = ['a.img', { file = 'b,c.img', ro = true }]\ndump-dtb = 'out.dtb'\n",
        )
        .unwrap();
        assert_eq!(args.kernel, Some("Image".into()));
        assert_eq!(args.memory, Some(Memory(2 << 30)));
        assert_eq!(args.cpus, Some(Cpus(4)));
        assert_eq!(args.append.as_deref(), Some("-- single"));
        assert_eq!(args.rng, Some(crate::cli::Switch::Off));
        assert_eq!(args.dump_dtb, Some("out.dtb".into()));
        assert_eq!(args.disk.len(), 2);
        assert_eq!(args.disk[1].file, PathBuf::from("b,c.img"));
        assert!(args.disk[1].read_only);
    }

    #[test]
    fn refusals_name_the_key() {
        for (text, part) in [
            ("kernal = 'x'", "unknown key \"kernal\"; did you mean \"kernel\"?"),
            ("config = 'x'", "unknown key \"config\""),
            ("memory = '1P'", "--memory"),
            ("cpus = 0", "from 1 to 16"),
            ("memory = 1.5", "expected a string, a number or true/false, found float"),
            ("disk = [{ fiel = 'x' }]", "did you mean \"file\"?"),
            ("kernel = ", "vm.toml"),
        ] {
            let message = parse_text(text).unwrap_err().to_string();
            assert!(message.contains(part), "{text:?}: {message}");
            assert!(!message.contains("Usage"), "{message}");
        }
    }

    #[test]
    fn command_line_comes_first_and_paths_start_at_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("vm.toml");
        std::fs::write(&path, "kernel = 'Image'\ninitrd = '/abs/initrd'\ncpus = 2\ndisk = 'a.img'").unwrap();
        let args =
            RunArgs { cpus: Some(Cpus(8)), config: Some(path), ..RunArgs::default() }.with_file().unwrap();
        assert_eq!(args.cpus, Some(Cpus(8)));
        assert_eq!(args.kernel, Some(directory.path().join("Image")));
        assert_eq!(args.initrd, Some("/abs/initrd".into()));
        assert_eq!(args.disk[0].file, directory.path().join("a.img"));
    }
}
