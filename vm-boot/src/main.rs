//! The program: command line in, exit code out.

use clap::Parser;
use vm_boot::cli::Cli;

fn main() {
    let cli = Cli::parse();
    vm_boot::log::init(cli.logging);
}
