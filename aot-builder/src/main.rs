//! Makes, signs and shows images of code translated ahead of time. One file a command.

mod build;
mod cpio;
mod feed;
mod file;
mod inspect;
mod keygen;
mod listing;
mod merge;
mod named;
mod needs;
mod places;
mod profiled;
mod sign;
mod survey;
mod symbols;
mod tree;
mod verify;

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

const EXAMPLES: &str = "\
Examples:
  aot-builder keygen builder                 make builder.key, to sign with, and builder.pub
  aot-builder build boot.profile -o boot.aot --key builder.key
  aot-builder sign image.aot --key new.key   vouch for an image with another key
  aot-builder verify image.aot --aot-trust keys/
  aot-builder inspect image.aot --unit 0     guest and host instructions of the hottest unit
  aot-builder inspect image.aot --symbols vmlinux

Exit code: 1 if something is refused or cannot be done, 2 if the command was wrong.";

/// Translates code of RISC-V guests ahead of time.
#[derive(Debug, Parser)]
#[command(name = "aot-builder", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build and sign an image from profiles of runs
    Build(build::Args),
    /// Make an image of what runs have left in the store, if there is something new (`vm-boot run --aot auto`)
    #[command(hide = true)]
    Feed(feed::Args),
    /// Note what code of a kernel may run, before any run
    Kernel(survey::Args),
    /// Note what code of programs and libraries may run, before any run
    Rootfs(survey::Args),
    /// Put profiles of several runs together
    Merge(merge::Args),
    /// Make a pair of keys
    #[command(after_help = keygen::NOTES)]
    Keygen(keygen::Args),
    /// Sign an image anew, with another key or under another version
    Sign(sign::Args),
    /// Check every byte of images, and that they are signed by a trusted key
    #[command(after_help = verify::NOTES)]
    Verify(verify::Args),
    /// Tell what is in an image, whoever signed it, or in a profile
    Inspect(inspect::Args),
}

fn main() -> ExitCode {
    let told = match Cli::parse().command {
        Command::Build(args) => build::run(&args),
        Command::Feed(args) => feed::run(&args),
        Command::Kernel(args) => survey::kernel(&args),
        Command::Rootfs(args) => survey::rootfs(&args),
        Command::Merge(args) => merge::run(&args),
        Command::Keygen(args) => keygen::run(&args),
        Command::Sign(args) => sign::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::Inspect(args) => inspect::run(&args),
    };
    match told.and_then(|text| tell(&text)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("aot-builder: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Writes to standard output; a reader that has seen enough is no failure.
fn tell(text: &str) -> Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}
