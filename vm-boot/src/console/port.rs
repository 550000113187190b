//! Where the console is connected on the host, as `--serial` says.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;

use thiserror::Error;

use super::terminal::{self, Pty};
use crate::cli::value::Serial;

/// Why the console could not be connected.
#[derive(Debug, Error)]
pub enum ConsoleError {
    /// The file for output.
    #[error("--serial file={}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the host said.
        source: io::Error,
    },
    /// The pseudo-terminal.
    #[error("--serial pty: the host gives no pseudo-terminal: {0}")]
    Pty(io::Error),
    /// Standard input or output.
    #[error("--serial stdio: {0}")]
    Stdio(io::Error),
    /// A thread.
    #[error("console: cannot start a thread: {0}")]
    Thread(io::Error),
}

/// A way in with the rules for what comes from it.
pub struct Input {
    /// Where bytes come from.
    pub source: Box<dyn Source>,
    /// Whether Ctrl-A begins an escape.
    pub escapes: bool,
}

/// Something to read from that can be waited for.
pub trait Source: io::Read + AsFd + Send {}
impl<T: io::Read + AsFd + Send> Source for T {}

/// Both ways, as the host gives them.
pub struct Port {
    /// Where the guest's output goes.
    pub sink: Box<dyn Write + Send>,
    /// Where input comes from, if any does.
    pub input: Option<Input>,
    /// Keeps a pseudo-terminal alive, with its path.
    pub pty: Option<(File, PathBuf)>,
}

impl Port {
    /// Opens what `--serial` names.
    pub fn open(serial: &Serial) -> Result<Self, ConsoleError> {
        match serial {
            Serial::Stdio => Self::stdio().map_err(ConsoleError::Stdio),
            Serial::None => Ok(Self { sink: Box::new(io::sink()), input: None, pty: None }),
            Serial::File(path) => match File::create(path) {
                Ok(file) => Ok(Self { sink: Box::new(file), input: None, pty: None }),
                Err(source) => Err(ConsoleError::File { path: path.clone(), source }),
            },
            Serial::Pty => Self::pty().map_err(ConsoleError::Pty),
        }
    }

    /// Unbuffered descriptors: what is read ahead would be lost to whoever reads after us.
    fn stdio() -> io::Result<Self> {
        let source = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        let sink = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        let input = Input { source: Box::new(source), escapes: true };
        Ok(Self { sink: Box::new(sink), input: Some(input), pty: None })
    }

    fn pty() -> io::Result<Self> {
        let Pty { master, other, path } = terminal::open_pty()?;
        let input = Input { source: Box::new(master.try_clone()?), escapes: false };
        Ok(Self { sink: Box::new(master), input: Some(input), pty: Some((other, path)) })
    }
}
