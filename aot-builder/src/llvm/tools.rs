//! `opt` and `llc` of the one version of LLVM that images are made with.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use thiserror::Error;

use super::child;

/// The version. Another gives other code for the same text, and takes another dialect.
pub const VERSION: u32 = 19;
/// Where Debian's package puts them under their plain names.
const DIRECTORY: &str = "/usr/lib/llvm-19/bin";
/// What is done to the text. No vectors: helpers keep only what scalars need. No loop is unrolled or peeled, which
/// the guest's compiler has decided, and nothing is put into other words (`instcombine`): of the sign extension
/// behind each 32-bit operation that makes three shifts instead of one instruction, and addresses live longer.
const PASSES: &str =
    "-passes=early-cse<memssa>,simplifycfg,gvn,instsimplify,loop-mssa(licm),gvn,bdce,dse,adce,simplifycfg";
/// How hard the code generator tries.
const LEVEL: &str = "-O3";

/// Both tools.
#[derive(Clone, Debug)]
pub struct Tools {
    opt: PathBuf,
    llc: PathBuf,
    /// What they say they are.
    pub version: String,
}

/// Why LLVM cannot be used.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ToolsError {
    /// Not there.
    #[error(
        "expected {tool}-{VERSION} on the path or {tool} in {DIRECTORY}, found neither: install Debian's llvm-{VERSION}"
    )]
    Missing {
        /// Which one.
        tool: &'static str,
    },
    /// There, but cannot be used.
    #[error("{}: expected LLVM {VERSION}, found {found}", path.display())]
    Other {
        /// Where.
        path: PathBuf,
        /// What it says.
        found: String,
    },
}

/// Why a tool gave nothing.
#[derive(Debug, Error)]
pub enum RunError {
    /// It could not be run.
    #[error("{}: {error}", tool.display())]
    Start {
        /// Which one.
        tool: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It refused.
    #[error("{}: {status}: {first}", tool.display())]
    Failed {
        /// Which one.
        tool: PathBuf,
        /// How it ended.
        status: ExitStatus,
        /// The first line of what it said.
        first: String,
    },
}

impl Tools {
    /// Those of this host, looked for in the directories of `path`, then in Debian's own.
    pub fn find(path: &OsStr) -> Result<Tools, ToolsError> {
        Tools::among(path, Path::new(DIRECTORY))
    }

    /// Those in the directories of `path`, under names with a version, or in `directory`.
    pub(super) fn among(path: &OsStr, directory: &Path) -> Result<Tools, ToolsError> {
        let find = |tool: &'static str| {
            let on_path = std::env::split_paths(path).map(|dir| dir.join(format!("{tool}-{VERSION}")));
            let mut all = on_path.chain([directory.join(tool)]);
            all.find(|file| file.is_file()).ok_or(ToolsError::Missing { tool })
        };
        let (opt, llc) = (find("opt")?, find("llc")?);
        let version = version(&opt)?;
        let of_llc = self::version(&llc)?;
        if of_llc != version {
            return Err(ToolsError::Other { path: llc, found: format!("{of_llc}, with {version} of opt") });
        }
        Ok(Tools { opt, llc, version })
    }

    /// Text to bitcode.
    pub(super) fn optimise(&self, module: &[u8]) -> Result<Vec<u8>, RunError> {
        run(&self.opt, &[PASSES], module)
    }

    /// Bitcode to an object file.
    pub(super) fn generate(&self, bitcode: &[u8]) -> Result<Vec<u8>, RunError> {
        // The guest's compiler has chosen its addresses already; another choice takes more registers.
        let flags = [LEVEL, "-filetype=obj", "-relocation-model=pic", "-disable-lsr"];
        run(&self.llc, &flags, bitcode)
    }
}

fn run(tool: &Path, flags: &[&str], input: &[u8]) -> Result<Vec<u8>, RunError> {
    let start = |error| RunError::Start { tool: tool.to_owned(), error };
    let ended = child::run(Command::new(tool).args(flags).args(["-o", "-", "-"]), input).map_err(start)?;
    if ended.status.success() {
        return Ok(ended.output);
    }
    let first = ended.errors.lines().next().unwrap_or("it said nothing").to_owned();
    Err(RunError::Failed { tool: tool.to_owned(), status: ended.status, first })
}

/// The version that a tool says it has.
fn version(tool: &Path) -> Result<String, ToolsError> {
    let other = |found: String| ToolsError::Other { path: tool.to_owned(), found };
    let told =
        child::run(Command::new(tool).arg("--version"), &[]).map_err(|error| other(error.to_string()))?;
    let text = String::from_utf8_lossy(&told.output);
    let mut versions = text.lines().filter_map(|line| line.split_once("LLVM version "));
    let Some((_, version)) = versions.next() else { return Err(other("no version".to_owned())) };
    let major = version.split('.').next().and_then(|major| major.parse().ok());
    if major == Some(VERSION) { Ok(version.to_owned()) } else { Err(other(version.to_owned())) }
}
