//! The program: command line in, exit code out.

use std::fs::File;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Parser;
use vm_boot::cli::value::Serial;
use vm_boot::cli::{Cli, Command, DemoArgs, RunArgs};
use vm_boot::config::MachineConfig;
use vm_boot::console::terminal::{self, RawMode};
use vm_boot::console::{Console, ConsoleError, Consoles, Input, Port, Reader};
use vm_boot::defect::{self, FAILURE, say};
use vm_boot::runtime::{Runtime, RuntimeError, drive};

/// The command was wrong.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let cli = Cli::parse();
    vm_boot::log::init(cli.logging);
    defect::end_on_panic();
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
    let mut serial = Line::open(&config.serial)?;
    let mut virtio = match &config.virtio_console {
        Serial::None => None,
        place => Some(Line::open(place)?),
    };
    let consoles =
        Consoles { serial: serial.console.clone(), virtio: virtio.as_ref().map(|line| line.console.clone()) };
    let mut runtime = Runtime::new(config, consoles.clone())?;
    runtime.start()?;
    // Only now, so that whatever was wrong so far was said on a sane terminal.
    let inputs = [serial.input.take(), virtio.as_mut().and_then(|line| line.input.take())];
    let terminal = inputs.iter().flatten().any(|input| input.escapes);
    let raw = if terminal { RawMode::enter().map_err(ConsoleError::Stdio)? } else { None };
    let readers = listen(&runtime, inputs).map_err(ConsoleError::Thread)?;
    let ended = drive(&mut runtime, raw.as_ref());
    let reported = report(&mut runtime);
    drop(readers);
    consoles.iter().for_each(|console| console.close());
    let code = ended?;
    reported?;
    Ok(code)
}

/// The figures at the end, if they were asked for.
fn report(runtime: &mut Runtime) -> Result<(), RuntimeError> {
    let config = runtime.machine().config();
    if !config.stats && config.stats_file.is_none() {
        return Ok(());
    }
    terminal::restore();
    runtime.report()
}

/// A console, and what is read on it.
struct Line {
    console: Arc<Console>,
    input: Option<Input>,
    /// Keeps the other end of a pseudo-terminal open.
    _pty: Option<File>,
}

impl Line {
    fn open(place: &Serial) -> Result<Self, ConsoleError> {
        let Port { sink, input, pty } = Port::open(place)?;
        let console = Arc::new(Console::new(sink).map_err(ConsoleError::Thread)?);
        let pty = pty.map(|(file, path)| {
            say(&format!("console on {}", path.display()));
            file
        });
        Ok(Self { console, input, _pty: pty })
    }
}

fn listen(runtime: &Runtime, [serial, virtio]: [Option<Input>; 2]) -> std::io::Result<Vec<Reader>> {
    let serial = serial.map(|input| runtime.listen(input)).transpose()?;
    let virtio = virtio.map(|input| runtime.listen_virtio(input)).transpose()?.flatten();
    Ok(serial.into_iter().chain(virtio).collect())
}

fn dump_device_tree(config: MachineConfig) -> Result<u8> {
    let Some(path) = config.dump_dtb.clone() else { return Ok(0) };
    let console = || Console::new(Box::new(std::io::sink())).map(Arc::new).map_err(ConsoleError::Thread);
    let virtio = if config.virtio_console == Serial::None { None } else { Some(console()?) };
    let consoles = Consoles { serial: console()?, virtio };
    let tree = Runtime::new(config, consoles)?.device_tree()?;
    std::fs::write(&path, tree).with_context(|| format!("--dump-dtb {}", path.display()))?;
    Ok(0)
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
    say(&said);
    ExitCode::from(code)
}
