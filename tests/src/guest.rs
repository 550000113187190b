//! Bare-metal guest programs of `tests/guest`: what their header comments ask for, how they are built and run.
//!
//! A program is one C file over a small runtime. Its header is a comment that says what it shows, then lines of
//! `key: value`:
//!
//! ```text
//! // entry: M                    mode it starts in: M (a bare ELF) or S (a kernel on SBI)
//! // modes: all                  engines it must pass in: interp, jit, aot
//! // machine: cpus=4 memory=32M  and `disk` for one that must stay as it was, `scratch` for one to write to
//! // exit: 0                     the exit code that means success
//! // prints: noise survived      text that must be on the console (may be left out)
//! // qemu: yes                   or `no: REASON` where it is known to be wrong, or options for it
//! ```
//!
//! `GUEST_RUNNER=qemu` runs them on `qemu-system-riscv64`, to tell a fault of a program from one of the machine.

use crate::ahead::Ahead;
use crate::host::{Outcome, program, repository, run_limited, scratch, vm_boot};
use crate::pieces;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const PACKAGE: &str = "gcc-riscv64-unknown-elf";
const RUNTIME: [&str; 3] = ["runtime/crt.S", "runtime/rt.c", "runtime/paging.c"];
const FLAGS: &str = "-std=gnu11 -O2 -march=rv64gc -mabi=lp64 -mcmodel=medany -ffreestanding -nostdlib -nostdinc \
    -static -fno-builtin -fno-common -fno-pic -fno-stack-protector -fno-strict-aliasing \
    -fno-tree-loop-distribute-patterns -fno-asynchronous-unwind-tables -Wall -Wextra \
    -Wl,--build-id=none -Wl,--no-warn-rwx-segments -I runtime -T runtime/link.ld";
/// Engines that exist.
const ENGINES: [&str; 3] = ["interp", "jit", "aot"];
/// Programs about what harts see of each other's stores and of code that changes, by how their names begin; and
/// the engines in which they run as well: by the interpreter alone, and with everything compiled in the background
/// while it runs, into the smallest cache there can be.
const SEEN_BY_OTHERS: [&str; 3] = ["litmus", "smp_", "smc_"];
const MORE_ENGINES: [&str; 2] = ["off", "on,threshold=1,quick=1,short=512K,long=512K"];
/// Programs of one hart run in lock-step too, unless something but the hart writes to memory: a disk, or who reads
/// what `tohost` holds.
const IN_STEP: [&str; 2] =
    ["on,threshold=1,quick=1,lockstep=chains", "on,threshold=1,quick=1,lockstep=units"];
const WRITTEN_TO: &str = "htif";
/// Too short for anything to be compiled.
const NEVER_COMPILED: &str = "exit_code";
const LIMIT: Duration = Duration::from_secs(120);
/// Engines in which programs are saved and restored.
const ENGINES_OF_PIECES: [&str; 2] = ["off", "on,threshold=1,quick=1"];
const DISK_BYTES: usize = 1 << 20;
const DISK_FILL: u8 = 0xd1;

/// The mode in which a program starts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// M-mode, as a bare ELF.
    Machine,
    /// S-mode on SBI, as a kernel with the header of a Linux `Image`.
    Supervisor,
}

/// What QEMU makes of a program.
enum Qemu {
    Right(Vec<String>),
    Wrong(String),
}

/// A guest program and what its header asks for.
pub struct Program {
    name: String,
    entry: Entry,
    cpus: String,
    memory: String,
    disk: Option<Use>,
    exit: i32,
    prints: Vec<String>,
    qemu: Qemu,
}

/// Names of all programs, in order.
pub fn names() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(repository("tests/guest"))
        .expect("tests/guest")
        .map(|entry| entry.expect("entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == "c"))
        .map(|path| path.file_stem().expect("name").to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

impl Program {
    /// Reads the header of `tests/guest/NAME.c`.
    pub fn read(name: &str) -> Program {
        let source = repository("tests/guest").join(format!("{name}.c"));
        let text = std::fs::read_to_string(&source).unwrap_or_else(|e| panic!("{}: {e}", source.display()));
        let lines: Vec<&str> =
            text.lines().map_while(|line| line.strip_prefix("//")).map(str::trim).collect();
        let values = |key: &str| -> Vec<&str> {
            lines.iter().filter_map(|l| l.strip_prefix(key)?.strip_prefix(": ")).map(str::trim).collect()
        };
        let value = |key: &str| -> &str {
            let found = values(key);
            assert!(
                found.len() == 1,
                "{name}.c: expected one line `{key}:` in the header, found {}",
                found.len()
            );
            found[0]
        };
        assert!(runs_in_an_engine(value("modes")), "{name}.c: no engine there is runs it");
        let machine: Vec<&str> = value("machine").split_whitespace().collect();
        let setting = |key: &str| -> String {
            let found = machine.iter().find_map(|s| s.strip_prefix(key)?.strip_prefix('='));
            found.unwrap_or_else(|| panic!("{name}.c: expected `{key}=` in `machine:`")).to_string()
        };
        Program {
            name: name.to_string(),
            entry: match value("entry") {
                "M" => Entry::Machine,
                "S" => Entry::Supervisor,
                other => panic!("{name}.c: expected `entry: M` or `S`, found `{other}`"),
            },
            cpus: setting("cpus"),
            memory: setting("memory"),
            disk: Use::named_in(&machine),
            exit: value("exit").parse().expect("an exit code"),
            prints: values("prints").into_iter().map(String::from).collect(),
            qemu: match value("qemu") {
                "yes" => Qemu::Right(Vec::new()),
                no if no.starts_with("no: ") => Qemu::Wrong(no[4..].to_string()),
                options => Qemu::Right(options.split_whitespace().map(String::from).collect()),
            },
        }
    }

    /// Compiles it; gives what a machine takes as kernel.
    pub fn build(&self) -> PathBuf {
        let elf = scratch("bare").join(format!("{}.elf", self.name));
        let base = match self.entry {
            Entry::Machine => "-Wl,--defsym=BASE=0x80000000",
            Entry::Supervisor => "-Wl,--defsym=BASE=0x80200000",
        };
        let mut gcc = program("riscv64-unknown-elf-gcc", PACKAGE);
        gcc.current_dir(repository("tests/guest")).args(FLAGS.split_whitespace()).arg(base);
        if self.entry == Entry::Supervisor {
            gcc.arg("-DENTRY_S");
        }
        run_tool(gcc.arg("-o").arg(&elf).args(RUNTIME).arg(format!("{}.c", self.name)));
        if self.entry == Entry::Machine {
            return elf;
        }
        let image = elf.with_extension("bin");
        let mut objcopy = program("riscv64-unknown-elf-objcopy", "binutils-riscv64-unknown-elf");
        run_tool(objcopy.args(["-O", "binary"]).arg(&elf).arg(&image));
        image
    }

    fn on_vm_boot(&self, kernel: &Path, disk: Option<&Path>) -> Command {
        let mut command = Command::new(vm_boot());
        command.args(["run", "--cpus", &self.cpus, "--memory", &self.memory, "--kernel"]).arg(kernel);
        if let Some(disk) = disk {
            command.arg("--disk").arg(format!("file={}", disk.display()));
        }
        command
    }

    fn on_qemu(&self, kernel: &Path, disk: Option<&Path>, options: &[String]) -> Command {
        let mut command = program("qemu-system-riscv64", "qemu-system-misc");
        command.args(["-M", "virt", "-nographic", "-smp", &self.cpus, "-m", &self.memory]).args(options);
        if self.entry == Entry::Machine {
            command.args(["-bios", "none"]);
        }
        command.arg("-kernel").arg(kernel);
        if let Some(disk) = disk {
            command.arg("-drive").arg(format!("file={},if=none,id=disk,format=raw", disk.display()));
            command.args(["-device", "virtio-blk-device,drive=disk"]);
        }
        command
    }

    /// Builds it, runs it in each engine it is for, and holds the outcomes against the header.
    pub fn check(&self) {
        let kernel = self.build();
        self.check_in(&kernel, &[]);
        if runner() == "vm-boot" && self.name != NEVER_COMPILED {
            self.check_ahead(&kernel);
        }
        if runner() == "vm-boot" && SEEN_BY_OTHERS.iter().any(|start| self.name.starts_with(start)) {
            MORE_ENGINES.iter().for_each(|jit| self.check_in(&kernel, &["--jit", jit]));
        }
        if runner() == "vm-boot" && self.cpus == "1" && self.disk.is_none() && self.name != WRITTEN_TO {
            IN_STEP.iter().for_each(|jit| self.check_in(&kernel, &["--jit", jit]));
        }
    }

    /// Builds it and runs it in pieces: by the interpreter alone, and with everything compiled at once.
    pub fn check_in_pieces(&self) {
        let kernel = self.build();
        let mut saved = 0;
        for (seed, jit) in ENGINES_OF_PIECES.into_iter().cycle().take(2 * ENGINES_OF_PIECES.len()).enumerate()
        {
            let disk = self.disk.map(|_| Disk::new());
            let path = disk.as_ref().map(|d| d.file.path());
            let args = pieces::machine(&kernel, &self.cpus, &self.memory, path);
            let pieces::Ended { code, output, saves } = pieces::run(args, jit, seed as u64);
            let output = format!("{output}\n(saved {saves} times)");
            self.judge(&["--jit", jit], &Outcome { code: Some(code.into()), output, timed_out: false });
            if let (Some(Use::Keep), Some(disk)) = (self.disk, disk) {
                disk.expect_untouched();
            }
            saved += saves;
        }
        assert!(saved > 0, "{}: it never was saved", self.name);
    }

    /// Runs it once to see what it executes, and once more by an image of that, which has to cover something.
    fn check_ahead(&self, kernel: &Path) {
        let ahead = Ahead::default();
        let profile = ahead.profile();
        let profile = profile.to_str().expect("a path that is text");
        self.check_in(kernel, &["--jit", "on,quick=1", "--profile", profile]);
        assert!(ahead.build(1) > 0, "{}: an image without units", self.name);
        let options = ahead.options();
        let [aot, image, trust, keys] = options.each_ref().map(String::as_str);
        self.check_in(kernel, &["--jit", "on,quick=8", aot, image, trust, keys]);
    }

    /// With these options more.
    fn check_in(&self, kernel: &Path, options: &[&str]) {
        let disk = self.disk.map(|_| Disk::new());
        let path = disk.as_ref().map(|d| d.file.path());
        let mut command = match (runner().as_str(), &self.qemu) {
            ("qemu", Qemu::Wrong(reason)) => {
                eprintln!("{} not run on QEMU: {reason}", self.name);
                return;
            }
            ("qemu", Qemu::Right(more)) => self.on_qemu(kernel, path, more),
            ("vm-boot", _) => self.on_vm_boot(kernel, path),
            (other, _) => panic!("expected GUEST_RUNNER to be vm-boot or qemu, found {other}"),
        };
        command.args(options);
        self.judge(options, &run_limited(&mut command, LIMIT));
        if let (Some(Use::Keep), Some(disk)) = (self.disk, disk) {
            disk.expect_untouched();
        }
    }

    fn judge(&self, options: &[&str], outcome: &Outcome) {
        let Outcome { code, output, timed_out } = outcome;
        let name = format!("{} {}", self.name, options.join(" "));
        assert!(!timed_out, "{name}: no end within {LIMIT:?}:\n{output}");
        assert_eq!(*code, Some(self.exit), "{name}: exit code; it said:\n{output}");
        for text in &self.prints {
            assert!(output.contains(text), "{name}: expected `{text}` on the console:\n{output}");
        }
    }
}

/// What a program may do with its disk.
#[derive(Clone, Copy)]
enum Use {
    Keep,
    Write,
}

impl Use {
    fn named_in(machine: &[&str]) -> Option<Use> {
        let keep = machine.contains(&"disk").then_some(Use::Keep);
        keep.or(machine.contains(&"scratch").then_some(Use::Write))
    }
}

/// A disk image, full of one byte.
struct Disk {
    file: tempfile::NamedTempFile,
}

impl Disk {
    fn new() -> Disk {
        let file = tempfile::NamedTempFile::new().expect("temporary file");
        std::fs::write(file.path(), vec![DISK_FILL; DISK_BYTES]).expect("temporary file");
        Disk { file }
    }

    fn expect_untouched(&self) {
        let bytes = std::fs::read(self.file.path()).expect("disk image");
        assert_eq!(bytes.len(), DISK_BYTES, "length of the disk image");
        assert!(bytes.iter().all(|&b| b == DISK_FILL), "the disk image was written to");
    }
}

fn runner() -> String {
    std::env::var("GUEST_RUNNER").unwrap_or_else(|_| "vm-boot".to_string())
}

fn runs_in_an_engine(modes: &str) -> bool {
    let named: Vec<&str> = if modes == "all" { ENGINES.to_vec() } else { modes.split(' ').collect() };
    assert!(named.iter().all(|m| ENGINES.contains(m)), "unknown engine in `modes: {modes}`");
    ENGINES.iter().any(|e| named.contains(e))
}

fn run_tool(command: &mut Command) {
    let out = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(out.status.success(), "{command:?}:\n{}", String::from_utf8_lossy(&out.stderr));
}
