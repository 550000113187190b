//! The program: command line in, exit code out.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Parser;
use vm_boot::cli::{Cli, Command, DemoArgs, RunArgs};
use vm_boot::config::MachineConfig;
use vm_boot::console::terminal::{self, RawMode};
use vm_boot::console::{Console, ConsoleError, Port};
use vm_boot::runtime::{Runtime, drive};

/// The command was wrong.
const USAGE: u8 = 2;
/// The machine failed.
const FAILURE: u8 = 1;

fn main() -> ExitCode {
    let cli = Cli::parse();
    vm_boot::log::init(cli.logging);
    restore_terminal_on_panic();
    let config = match configure(cli.command.unwrap_or(Command::Demo(DemoArgs::default()))) {
        Ok(config) => config,
        Err(error) => return fail(&error, USAGE),
    };
    match run(config) {
        Ok(code) => ExitCode::from(code),
        Err(error) => fail(&error, FAILURE),
    }
}

fn configure(command: Command) -> Result<MachineConfig> {
    let args: RunArgs = match command {
        Command::Run(args) => args.with_file()?,
        Command::Demo(args) => return Ok(MachineConfig::demo(args)?),
    };
    Ok(MachineConfig::from_args(args)?)
}

fn run(config: MachineConfig) -> Result<u8> {
    if config.dump_dtb.is_some() {
        return dump_device_tree(config);
    }
    let port = Port::open(&config.serial)?;
    if let Some((_, path)) = &port.pty {
        eprintln!("serial port: {}", path.display());
    }
    let console = Arc::new(Console::new(port.sink).map_err(ConsoleError::Thread)?);
    let mut runtime = Runtime::new(config, console.clone())?;
    runtime.start()?;
    // Only now, so that whatever was wrong so far was said on a sane terminal.
    let escapes = port.input.as_ref().is_some_and(|input| input.escapes);
    let raw = if escapes { RawMode::enter().map_err(ConsoleError::Stdio)? } else { None };
    let reader = port.input.map(|input| runtime.listen(input)).transpose().map_err(ConsoleError::Thread)?;
    let ended = drive(&mut runtime, raw.as_ref());
    drop(reader);
    console.close();
    Ok(ended?)
}

fn dump_device_tree(config: MachineConfig) -> Result<u8> {
    let Some(path) = config.dump_dtb.clone() else { return Ok(0) };
    let console = Arc::new(Console::new(Box::new(std::io::sink())).map_err(ConsoleError::Thread)?);
    let tree = Runtime::new(config, console)?.device_tree()?;
    std::fs::write(&path, tree).with_context(|| format!("--dump-dtb {}", path.display()))?;
    Ok(0)
}

fn restore_terminal_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        terminal::restore();
        report(panic);
    }));
}

fn fail(error: &anyhow::Error, code: u8) -> ExitCode {
    terminal::restore();
    let mut said = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        // Most errors quote their cause.
        if !said.contains(&cause) {
            said = format!("{said}: {cause}");
        }
    }
    eprintln!("vm-boot: {said}");
    ExitCode::from(code)
}
