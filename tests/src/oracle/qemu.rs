//! The oracle's side: QEMU's user-mode emulator, and which extensions the one at hand has.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use vm_cpu::isa::asm::assemble;
use vm_cpu::isa::{Extension, Extensions, Op};

use super::elf::{self, Segment};
use super::image::{CODE, Image, Record};
use super::{Outcome, Program, Repertoire, Runner};
use crate::host;

const PROGRAM: &str = "qemu-riscv64";
const PACKAGE: &str = "qemu-user";
/// Longer than any batch takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// CPU models, the one with most extensions first; older versions know only the second.
const MODELS: &[&str] = &["max", "rv64"];

/// An instruction of each extension whose presence is in question.
const PROBES: &[(Extension, &str)] = &[
    (Extension::Zifencei, "fence.i"),
    (Extension::Zihintpause, "pause"),
    (Extension::Zicbom, "la a0,data; cbo.clean (a0)"),
    (Extension::Zicboz, "la a0,data; cbo.zero (a0)"),
    (Extension::Zicond, "czero.eqz a0,a1,a2"),
    (Extension::Zimop, "mop.r.0 a0,a1"),
    (Extension::Zacas, "la a0,data; amocas.d a1,a2,(a0)"),
    (Extension::Zfa, "fli.d fa0,1.0"),
    (Extension::Zfhmin, "fmv.h.x fa0,a0"),
    (Extension::Zcb, "c.not a0"),
    (Extension::Zcmop, "c.mop.1"),
    (Extension::Zba, "sh1add a0,a1,a2"),
    (Extension::Zbb, "clz a0,a1"),
    (Extension::Zbs, "bset a0,a1,a2"),
];

/// Instructions that a QEMU still in use gets wrong, with a program that ends badly where it does.
const DEFECTS: &[(Op, &str)] =
    // 7.2, which is Debian 12's, counts on into the upper half.
    &[(Op::ctzw, "li a0,1; slli a0,a0,63; ctzw a0,a0; li a1,32; beq a0,a1,right; ebreak; right: nop")];

/// RV64GC, without which it is no oracle.
const BASE: Extensions = Extensions::I
    .with(Extensions::M)
    .with(Extensions::A)
    .with(Extensions::F)
    .with(Extensions::D)
    .with(Extensions::C);

/// QEMU, found and probed.
pub struct Qemu {
    path: PathBuf,
    model: &'static str,
    /// First line of `--version`.
    pub version: String,
    /// What both it and our tables have.
    pub extensions: Extensions,
    /// Instructions that this version gets wrong.
    pub defects: Vec<Op>,
    directory: tempfile::TempDir,
}

impl Qemu {
    /// The QEMU that the recipes of `images` have unpacked, or the host's.
    ///
    /// # Panics
    /// If there is none, with the name of the package; if it does not run RV64GC.
    pub fn find() -> Qemu {
        let unpacked = host::repository("images/out/qemu").join(PROGRAM);
        let command =
            if unpacked.exists() { Command::new(unpacked) } else { host::program(PROGRAM, PACKAGE) };
        let path = PathBuf::from(command.get_program());
        let version = Command::new(&path).arg("--version").output().expect("QEMU starts").stdout;
        let version = String::from_utf8_lossy(&version).lines().next().unwrap_or_default().to_owned();
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut qemu = Qemu { path, model: "", version, extensions: BASE, defects: Vec::new(), directory };
        let runs = MODELS.iter().any(|model| {
            qemu.model = model;
            qemu.has("c.fldsp fa0, 0(sp); mulw a0,a0,a0")
        });
        assert!(runs, "{} runs no RV64GC program", qemu.version);
        for &(extension, source) in PROBES {
            let present = qemu.has(source);
            qemu.extensions.set(extension, present);
        }
        let wrong = |(op, source): &(Op, &str)| qemu.extensions.has(op.row().needs) && !qemu.has(source);
        qemu.defects = DEFECTS.iter().filter(|defect| wrong(defect)).map(|(op, _)| *op).collect();
        qemu
    }

    /// What can be compared with it.
    pub fn repertoire(&self) -> Repertoire<'_> {
        Repertoire { extensions: self.extensions, without: &self.defects }
    }

    /// Extensions that our tables have and this QEMU has not.
    pub fn lacks(&self) -> Extensions {
        let probed: Extensions = PROBES.iter().map(|(extension, _)| *extension).collect();
        probed.without(self.extensions)
    }

    /// Whether `source` runs to its end.
    fn has(&self, source: &str) -> bool {
        let text = format!("{source}; li a0, 0; li a7, 93; ecall; .align 64; data: .zero 64");
        let program = assemble(CODE, &text).expect("good assembler");
        let segment = Segment { at: CODE, bytes: &program.bytes };
        self.execute(&elf::executable(CODE, &[segment])).is_ok()
    }

    /// Runs an executable; gives what it wrote.
    fn execute(&self, executable: &[u8]) -> Result<Vec<u8>, String> {
        let path = self.directory.path().join("program");
        let mut file = std::fs::File::create(&path).expect("room for the program");
        file.write_all(executable).expect("room for the program");
        file.set_permissions(std::fs::Permissions::from_mode(0o755)).expect("our own file");
        drop(file);
        let mut child = Command::new(&self.path)
            .args(["-cpu", self.model])
            .arg(&path)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("QEMU starts");
        let output = collect(child.stdout.take().expect("piped"));
        let complaints = collect(child.stderr.take().expect("piped"));
        let written = output.recv_timeout(PATIENCE).map_err(|_| child.kill());
        let status = child.wait().expect("our own child");
        match (status.code(), written) {
            (Some(0), Ok(output)) => Ok(output),
            (_, Err(_)) => Err(format!("no end within {PATIENCE:?}")),
            (code, _) => {
                let complaints = complaints.recv().unwrap_or_default();
                let signal = status.signal().unwrap_or(0);
                let end = code.map_or(format!("signal {signal}"), |code| format!("exit code {code}"));
                Err(format!("{end} {}", String::from_utf8_lossy(&complaints).trim()))
            }
        }
    }
}

/// Everything that comes out of `pipe`, once it is closed.
fn collect(mut pipe: impl Read + Send + 'static) -> mpsc::Receiver<Vec<u8>> {
    let (all, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What is missing after an error is missed by whoever looks at the bytes.
        let _ = pipe.read_to_end(&mut bytes);
        all.send(bytes)
    });
    receiver
}

impl Runner for Qemu {
    fn run(&mut self, programs: &[Program]) -> Outcome {
        let image = Image::of(programs);
        let output = self.execute(&image.executable())?;
        match output.len() == image.records.len() {
            true => Ok(Record::read_all(&output)),
            false => Err(format!("{} bytes of records", output.len())),
        }
    }
}
