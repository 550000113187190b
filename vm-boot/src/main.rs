//! The program: command line in, exit code out.

use std::fs::File;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Error, Result};
use clap::Parser;
use vm_boot::aot;
use vm_boot::cli::value::Serial;
use vm_boot::cli::{Cli, Command, DemoArgs, RestoreArgs, RunArgs, SnapshotCommand, Switch};
use vm_boot::clones;
use vm_boot::config::{MachineConfig, UsageError};
use vm_boot::console::terminal::{self, RawMode};
use vm_boot::console::{Console, ConsoleError, Consoles, Input, Port, Reader};
use vm_boot::defect::{self, FAILURE, say};
use vm_boot::runtime::{Control, Runtime, RuntimeError};
use vm_boot::snapshot::{Asked, Opened, tool};
use vm_cpu::CpuConfig;

/// The command was wrong.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    // While there is one thread that costs nothing. A machine on a host that cannot does without.
    let _ = vm_mmu::can_order_everywhere();
    let cli = Cli::parse();
    vm_boot::log::init(cli.logging);
    defect::end_on_panic();
    let ended = match cli.command.unwrap_or(Command::Demo(DemoArgs::default())) {
        Command::Run(args) => match args.with_file().map_err(Error::from).and_then(configure) {
            Ok(config) => run(config, None),
            Err(error) => return fail(&error, USAGE),
        },
        Command::Demo(args) => match MachineConfig::demo(args) {
            Ok(config) => run(config, None),
            Err(error) => return fail(&error.into(), USAGE),
        },
        Command::Restore(args) => match args.cpu.as_deref().map(CpuConfig::parse).transpose() {
            Ok(cpu) => restore(*args, cpu),
            Err(error) => return fail(&UsageError::Cpu(error).into(), USAGE),
        },
        Command::Snapshot(command) => look_at(command),
        Command::Aot(command) => aot::run(&command).and_then(|told| {
            tell(&told.text)?;
            Ok(if told.good { 0 } else { FAILURE })
        }),
    };
    match ended {
        Ok(code) => ExitCode::from(code),
        Err(error) => fail(&error, FAILURE),
    }
}

fn configure(args: RunArgs) -> Result<MachineConfig> {
    Ok(MachineConfig::from_args(args)?)
}

fn restore(args: RestoreArgs, cpu: Option<CpuConfig>) -> Result<u8> {
    let opened = Opened::open(&args.dir)?;
    let asked = Asked { memory: args.memory, cpus: args.cpus, cpu, disks: args.disk };
    let mut config = opened.config(&asked)?;
    if let Some(place) = args.serial {
        config.serial = place;
    }
    if let Some(place) = args.virtio_console {
        config.virtio_console = place;
    }
    config.jit = args.jit.map_or(config.jit, |jit| jit.0);
    (config.ram, config.ksm) = (args.host.ram.unwrap_or_default(), args.host.ksm);
    if config.ram.file.is_some() {
        return Err(UsageError::RamOfSnapshot.into());
    }
    (config.stats, config.stats_file) = (args.stats, args.stats_file);
    config.snapshot_on = args.snapshot.snapshot_on;
    config.snapshot_dir = args.snapshot.snapshot_dir.unwrap_or(config.snapshot_dir);
    config.snapshot_base = args.snapshot.snapshot_base;
    config.snapshot_zstd = args.snapshot.snapshot_zstd;
    config.snapshot_code = args.snapshot.snapshot_code != Some(Switch::Off);
    config.code = opened.code().filter(|_| config.snapshot_code);
    if let Some(count) = args.clone {
        config.disks.iter_mut().for_each(|disk| disk.overlay = !disk.read_only);
        if count > 1 {
            drop(opened);
            return clone(count, &config);
        }
    }
    if args.one_of_many {
        clones::stay_with_parent();
    }
    config.check()?;
    run(config, Some(opened))
}

/// Several machines cannot share one terminal.
fn clone(count: u32, config: &MachineConfig) -> Result<u8> {
    let own = |place: &Serial, option| (*place == Serial::Stdio).then_some(option);
    let more = [own(&config.serial, "--serial=pty"), own(&config.virtio_console, "--virtio-console=pty")];
    let words: Vec<_> = std::env::args_os().skip(1).collect();
    Ok(clones::run(count, &words, &more.into_iter().flatten().collect::<Vec<_>>())?)
}

fn look_at(command: SnapshotCommand) -> Result<u8> {
    match command {
        SnapshotCommand::List { dirs } => tell(&tool::list(&dirs)?)?,
        SnapshotCommand::Inspect { dir } => tell(&tool::inspect(&dir)?)?,
        SnapshotCommand::Verify { dirs } => {
            for dir in dirs {
                tell(&tool::verify(&dir)?)?;
            }
        }
        SnapshotCommand::Merge { dir, into, zstd } => tell(&tool::merge(&dir, into.as_deref(), zstd)?)?,
        SnapshotCommand::Prune { dirs, keep, dry_run } => {
            for dir in dirs {
                tell(&tool::prune(&dir, keep, dry_run).with_context(|| dir.display().to_string())?)?;
            }
        }
    }
    Ok(0)
}

fn tell(text: &str) -> Result<()> {
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

/// Runs a machine to its end: from its payload, or from where a snapshot has it.
fn run(config: MachineConfig, from: Option<Opened>) -> Result<u8> {
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
    match from {
        Some(snapshot) => runtime.restore(&snapshot)?,
        None => runtime.start()?,
    }
    // Only now, so that whatever was wrong so far was said on a sane terminal.
    let inputs = [serial.input.take(), virtio.as_mut().and_then(|line| line.input.take())];
    let terminal = inputs.iter().flatten().any(|input| input.escapes);
    let control = Control::new(&runtime).map_err(RuntimeError::from)?;
    let raw = if terminal { RawMode::enter().map_err(ConsoleError::Stdio)? } else { None };
    let readers = listen(&runtime, inputs).map_err(ConsoleError::Thread)?;
    let ended = control.drive(&mut runtime, raw.as_ref());
    let reported = report(&mut runtime).and_then(|()| runtime.write_profile());
    runtime.machine().settle_image();
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

fn fail(error: &Error, code: u8) -> ExitCode {
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
