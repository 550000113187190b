//! Any words as options: they make a machine or a message, and a configuration file says the same as the command
//! line.
//!
//! The input is text: the first line goes to `--cpu` and to a disk's path, the others are `key=value`.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use clap::{CommandFactory, Parser};
use vm_boot::cli::value::{Disk, escape_field};
use vm_boot::cli::{Cli, Command, RunArgs};
use vm_boot::config::MachineConfig;
use vm_cpu::CpuConfig;

use super::{check_message, file};

/// One of each kind.
pub const SEEDS: &[&[u8]] = &[
    b"rv64gc,svinval=off,pmp=8,lrsc=strict,sv57=off\nkernel=Image\nmemory=512M\ncpus=4\nmode=s",
    b"rva22\nfirmware=fw\nkernel=k\ndisk=file=a,,b.img,ro,id=root,transport=v1\nrng=off\nvirtio=v1",
    b"rv64gc,sv48,zfa\nkernel=k\nserial=file=log\nvirtio-console=stdio\nappend=-- x\ndtb=d\ndump-dtb=o",
    b"a,b\nkernel=k\ncpu=rv64gc,zacas=off,zawrs=on\nmemory=1T\ncpus=16\ninitrd=i",
];

/// Options that a file has as keys: those of `run` that describe a machine.
static KEYS: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
    let command = Cli::command();
    let run = command.find_subcommand("run").expect("the command is there");
    let others = ["config", "help", "verbose", "log"];
    let keys = run.get_arguments().filter_map(|argument| argument.get_long());
    keys.filter(|key| !others.contains(key)).map(str::to_owned).collect()
});

/// The target.
pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (first, rest) = text.split_once('\n').unwrap_or((&text, ""));
    check_cpu(first);
    check_disk(first);
    let entries: Vec<(&str, &str)> = rest.split('\n').filter_map(|line| line.split_once('=')).collect();
    let words = entries.iter().map(|(key, value)| format!("--{key}={value}"));
    let line = Cli::try_parse_from(["vm-boot", "run"].map(String::from).into_iter().chain(words));
    let line = line.ok().and_then(|cli| match cli.command {
        Some(Command::Run(args)) => Some(*args),
        _ => None,
    });
    if let Some(Err(error)) = line.clone().map(MachineConfig::from_args) {
        check_message(&error);
    }
    let keys: BTreeSet<&str> = entries.iter().map(|(key, _)| *key).collect();
    if keys.len() == entries.len() && keys.iter().all(|&key| KEYS.contains(key)) {
        check_file(&entries, line);
    }
}

fn check_cpu(text: &str) {
    match CpuConfig::parse(text) {
        Ok(config) => {
            let isa = config.isa_string();
            assert!(isa.starts_with("rv64i") && isa.is_ascii(), "{text:?}: {isa}");
            assert!(config.supports(0) && config.misa() >> 62 == 2, "{text:?}");
        }
        Err(error) => check_message(&error),
    }
}

/// Whatever a path looks like, it can be said.
fn check_disk(path: &str) {
    let disk = format!("file={},ro", escape_field(path)).parse::<Disk>();
    match disk {
        Ok(disk) => assert!(disk.read_only && disk.file.as_os_str() == path, "{path:?}: {disk:?}"),
        Err(error) => assert!(path.is_empty(), "{path:?}: {error}"),
    }
}

/// The same entries in a file give the same machine, or none.
fn check_file(entries: &[(&str, &str)], line: Option<RunArgs>) {
    // JSON's strings are TOML's, but for one character that it leaves as it is.
    let quoted = |value| serde_json::to_string(value).expect("a string").replace('\x7f', "\\u007f");
    let toml: String = entries.iter().map(|(key, value)| format!("{key} = {}\n", quoted(value))).collect();
    let path = file(toml.as_bytes()).into_temp_path();
    let args = RunArgs { config: Some(path.to_path_buf()), ..RunArgs::default() };
    match (args.with_file(), line) {
        (Ok(file), Some(line)) => assert_eq!(told(&file), told(&line), "{toml}"),
        (Err(error), None) => check_message(&error),
        (file, line) => panic!("{toml}: the file gives {file:?}, the command line {line:?}"),
    }
}

/// What is asked for, apart from paths, which a file takes from where it lies.
fn told(args: &RunArgs) -> String {
    let RunArgs { append, mode, memory, cpus, cpu, rng, virtio, .. } = args;
    format!("{append:?} {mode:?} {memory:?} {cpus:?} {cpu:?} {rng:?} {virtio:?} {} disks", args.disk.len())
}
