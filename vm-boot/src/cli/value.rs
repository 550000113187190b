//! Values of options: each is a type that parses itself and says what it expected.
//!
//! The command line and the configuration file go through the same `FromStr`, so both accept the same
//! words and give the same messages.

use std::path::PathBuf;
use std::str::FromStr;

use thiserror::Error;
use vm_cpu::Lockstep;
use vm_cpu::jit::JitConfig;

use super::nearest::hint;

/// Why the value of an option was refused.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct ValueError(String);

impl ValueError {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

/// Least RAM: room for a bare-metal program, its stack and the device tree.
pub const MEMORY_MIN: u64 = 1 << 20;
/// Most RAM: what one reservation of host address space still covers with room to spare.
pub const MEMORY_MAX: u64 = 1 << 40;
/// Most harts: contexts that the interrupt controllers have registers for.
pub const CPUS_MAX: usize = 16;
/// Bytes of a virtio-blk serial number (virtio 1.3, 5.2.6.1), where a disk's `id` goes.
pub const DISK_ID_MAX: usize = 20;

/// RAM size in bytes: `--memory 1G`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory(pub u64);

impl FromStr for Memory {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let bytes = parse_size(text)?;
        if !(MEMORY_MIN..=MEMORY_MAX).contains(&bytes) {
            return Err(ValueError::new(format!(
                "expected from 1M to 1T, found {bytes} bytes; a number without a suffix means bytes"
            )));
        }
        if !bytes.is_multiple_of(vm_page()) {
            return Err(ValueError::new(format!("expected a multiple of 4K, found {bytes} bytes")));
        }
        Ok(Self(bytes))
    }
}

/// Bytes of a guest page.
const fn vm_page() -> u64 {
    4096
}

/// A count of bytes with an optional suffix: K, M, G, T, each a power of 1024, also as KiB or KB.
fn parse_size(text: &str) -> Result<u64, ValueError> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, suffix) = text.split_at(end);
    let shift = match suffix.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        "p" | "pb" | "pib" => 50,
        _ => return Err(ValueError::new(format!("expected a size such as 512M or 4G, found {text:?}"))),
    };
    if digits.is_empty() {
        return Err(ValueError::new(format!("expected a size such as 512M or 4G, found {text:?}")));
    }
    let number: Option<u64> = digits.parse().ok();
    number
        .and_then(|n| n.checked_mul(1 << shift))
        .ok_or_else(|| ValueError::new(format!("expected at most 1T, found {text}")))
}

/// Number of harts: `--cpus 4`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpus(pub usize);

impl FromStr for Cpus {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text.parse() {
            Ok(count @ 1..=CPUS_MAX) => Ok(Self(count)),
            _ => Err(ValueError::new(format!("expected a number from 1 to {CPUS_MAX}, found {text:?}"))),
        }
    }
}

/// Which image of code translated ahead to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Aot {
    /// What the store has for the guest; and one is made for the next run.
    Auto,
    /// This one.
    File(PathBuf),
}

impl FromStr for Aot {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text {
            "auto" => Ok(Self::Auto),
            "" => Err(ValueError::new(
                "expected auto or a file (./auto for one of that name), found nothing".to_owned(),
            )),
            file => Ok(Self::File(file.into())),
        }
    }
}

/// Register layout of virtio-mmio devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Virtio {
    /// Legacy registers (version 1), for some teaching kernels.
    V1,
    /// Modern registers (version 2, virtio 1.x).
    V2,
}

impl FromStr for Virtio {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text {
            "v1" => Ok(Self::V1),
            "v2" => Ok(Self::V2),
            _ => Err(ValueError::new(format!("expected v1 or v2, found {text:?}"))),
        }
    }
}

/// A disk: `--disk file=root.img,ro,id=root,transport=v1`, or just `--disk root.img`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Raw image on the host.
    pub file: PathBuf,
    /// Leave the file as it is: what the guest writes goes with the machine.
    pub overlay: bool,
    /// Refuse writes, and open the file for reading only.
    pub read_only: bool,
    /// Serial number that the guest sees.
    pub id: Option<String>,
    /// Overrides `--virtio` for this disk.
    pub transport: Option<Virtio>,
}

const DISK_KEYS: [&str; 5] = ["file", "ro", "overlay", "id", "transport"];

impl FromStr for Disk {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let mut disk =
            Self { file: PathBuf::new(), overlay: false, read_only: false, id: None, transport: None };
        let mut seen = Vec::new();
        for (position, field) in split_fields(text).into_iter().enumerate() {
            let (key, value) = match field.split_once('=') {
                Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
                None if position == 0 => ("file".to_owned(), Some(field)),
                None => (field, None),
            };
            if seen.contains(&key) {
                return Err(ValueError::new(format!("{key:?} is given twice")));
            }
            disk.set(&key, value)?;
            seen.push(key);
        }
        if disk.file.as_os_str().is_empty() {
            return Err(ValueError::new("expected file=PATH, found no file"));
        }
        if disk.read_only && disk.overlay {
            return Err(ValueError::new("a disk is `ro` or has an `overlay` for its writes, not both"));
        }
        Ok(disk)
    }
}

impl Disk {
    fn set(&mut self, key: &str, value: Option<String>) -> Result<(), ValueError> {
        let needed = || {
            value.clone().ok_or_else(|| ValueError::new(format!("expected {key}=VALUE, found {key:?} alone")))
        };
        match key {
            "file" => self.file = needed()?.into(),
            "ro" => self.read_only = value.as_deref().map_or(Ok(true), parse_switch)?,
            "overlay" => self.overlay = value.as_deref().map_or(Ok(true), parse_switch)?,
            "id" => self.id = Some(disk_id(needed()?)?),
            "transport" => self.transport = Some(needed()?.parse()?),
            _ => {
                return Err(ValueError::new(format!(
                    "unknown key {key:?}, expected one of {}{}",
                    DISK_KEYS.join(", "),
                    hint(key, DISK_KEYS)
                )));
            }
        }
        Ok(())
    }
}

fn disk_id(id: String) -> Result<String, ValueError> {
    let fits = (1..=DISK_ID_MAX).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_graphic());
    if fits {
        return Ok(id);
    }
    Err(ValueError::new(format!(
        "expected an id of 1 to {DISK_ID_MAX} printable ASCII characters, found {id:?}"
    )))
}

fn parse_switch(text: &str) -> Result<bool, ValueError> {
    match text {
        "on" | "true" | "yes" => Ok(true),
        "off" | "false" | "no" => Ok(false),
        _ => Err(ValueError::new(format!("expected on or off, found {text:?}"))),
    }
}

/// Splits at commas; a doubled comma stands for one that belongs to the field.
fn split_fields(text: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let literal = c != ',' || chars.next_if_eq(&',').is_some();
        match fields.last_mut() {
            Some(field) if literal => field.push(c),
            _ => fields.push(String::new()),
        }
    }
    fields
}

/// The inverse of the rule in [`split_fields`], for one field.
pub fn escape_field(text: &str) -> String {
    text.replace(',', ",,")
}

/// Where the guest's serial port is connected: `--serial stdio`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Serial {
    /// The terminal (or pipes) that this program was started on.
    Stdio,
    /// Nowhere: output is dropped and nothing is ever typed.
    None,
    /// Output is written to this file, which is created or emptied first.
    File(PathBuf),
    /// A new pseudo-terminal, whose path is logged.
    Pty,
}

impl FromStr for Serial {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text.split_once('=') {
            None if text == "stdio" => Ok(Self::Stdio),
            None if text == "none" => Ok(Self::None),
            None if text == "pty" => Ok(Self::Pty),
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.into())),
            _ => Err(ValueError::new(format!("expected stdio, none, pty or file=PATH, found {text:?}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_takes_suffixes() {
        for (text, bytes) in
            [("1G", 1 << 30), ("8M", 8 << 20), ("2048k", 2 << 20), ("1GiB", 1 << 30), ("1048576", 1 << 20)]
        {
            assert_eq!(text.parse(), Ok(Memory(bytes)), "{text}");
        }
    }

    #[test]
    fn memory_refuses_the_absurd_by_name() {
        for (text, part) in [
            ("0", "found 0 bytes"),
            ("1", "found 1 bytes"),
            ("1P", "found 1125899906842624 bytes"),
            ("99999999999999999999", "at most 1T"),
            ("1048577", "multiple of 4K"),
            ("", "a size such as"),
            ("G", "a size such as"),
            ("1X", "a size such as"),
            ("-1G", "a size such as"),
        ] {
            let message = text.parse::<Memory>().unwrap_err().to_string();
            assert!(message.contains(part), "{text:?}: {message}");
        }
    }

    #[test]
    fn cpus_are_1_to_16() {
        assert_eq!("16".parse(), Ok(Cpus(16)));
        for text in ["0", "17", "x", "", "-1", "1.5"] {
            let message = text.parse::<Cpus>().unwrap_err().to_string();
            assert!(message.contains("from 1 to 16") && message.contains(text), "{message}");
        }
    }

    #[test]
    fn disk_reads_its_fields() {
        let disk: Disk = "file=a b.img,ro,id=root,transport=v1".parse().unwrap();
        assert_eq!(disk.file, PathBuf::from("a b.img"));
        assert!(disk.read_only);
        assert_eq!(disk.id.as_deref(), Some("root"));
        assert_eq!(disk.transport, Some(Virtio::V1));
        let plain: Disk = "root.img".parse().unwrap();
        assert_eq!(
            plain,
            Disk { file: "root.img".into(), overlay: false, read_only: false, id: None, transport: None }
        );
        let comma: Disk = "file=a,,b.img,ro=off".parse().unwrap();
        assert_eq!(comma, Disk { file: "a,b.img".into(), ..plain });
    }

    #[test]
    fn disk_refuses_what_it_does_not_know() {
        for (text, part) in [
            ("", "no file"),
            ("ro=on,file=", "no file"),
            ("file=x,fiel=y", "did you mean \"file\"?"),
            ("file=x,readonly", "unknown key \"readonly\""),
            ("file=x,id", "expected id=VALUE"),
            ("file=x,id=", "1 to 20"),
            ("file=x,id=123456789012345678901", "1 to 20"),
            ("file=x,transport=v3", "v1 or v2"),
            ("file=x,ro=maybe", "on or off"),
            ("file=x,ro,overlay", "not both"),
            ("file=x,file=y", "given twice"),
        ] {
            let message = text.parse::<Disk>().unwrap_err().to_string();
            assert!(message.contains(part), "{text:?}: {message}");
        }
    }

    #[test]
    fn serial_reads_its_kinds() {
        assert_eq!("stdio".parse(), Ok(Serial::Stdio));
        assert_eq!("file=log".parse(), Ok(Serial::File("log".into())));
        assert!("file=".parse::<Serial>().is_err());
        assert!("tcp".parse::<Serial>().is_err());
    }
}

/// The optimising engine: `--jit off`, `--jit on,threshold=500,group=off`. Options that are added here have a line in
/// the help of `run`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Jit(pub Option<JitConfig>);

impl Jit {
    /// The options after `on`.
    pub const KEYS: [&str; 19] = [
        "threshold",
        "calm",
        "quick",
        "threads",
        "queue",
        "short",
        "long",
        "huge",
        "group",
        "slots",
        "beside",
        "float",
        "narrow",
        "unroll",
        "select",
        "system",
        "returns",
        "wait",
        "lockstep",
    ];
}

impl FromStr for Jit {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let mut fields = text.split(',');
        match fields.next() {
            Some("off") if text == "off" => return Ok(Self(None)),
            Some("on") => {}
            _ => {
                let expected = "expected off, or on with options such as on,threshold=1000";
                return Err(ValueError::new(format!("{expected}, found {text:?}")));
            }
        }
        let mut config = JitConfig::default();
        for field in fields {
            let (key, value) = field.split_once('=').unwrap_or((field, ""));
            match key {
                "threshold" => config.threshold = number(key, value, 1..=u64::MAX)?,
                "calm" => config.calm = number(key, value, 1..=u64::MAX)?,
                "quick" if value == "off" => config.quick = None,
                "quick" => config.quick = Some(number(key, value, 1..=u64::MAX)?),
                "threads" => config.threads = number(key, value, 1..=64)? as usize,
                "queue" => config.queue = number(key, value, 1..=1 << 20)? as usize,
                "short" => config.short_zone = zone(value)?,
                "long" => config.long_zone = zone(value)?,
                "huge" => config.huge = switch(key, value)?,
                "group" => config.options.group = switch(key, value)?,
                "slots" => config.options.slots = switch(key, value)?,
                "beside" => config.options.beside = switch(key, value)?,
                "float" => config.options.float = switch(key, value)?,
                "narrow" => config.options.narrow = switch(key, value)?,
                "unroll" => config.options.unroll = switch(key, value)?,
                "select" => config.options.select = switch(key, value)?,
                "system" => config.options.system = switch(key, value)?,
                "returns" => config.options.returns = switch(key, value)?,
                "wait" => config.wait = switch(key, value)?,
                "lockstep" => config.lockstep = lockstep(value)?,
                _ => return Err(ValueError::new(format!("unknown option {key:?}{}", hint(key, Self::KEYS)))),
            }
        }
        Ok(Self(Some(config)))
    }
}

fn lockstep(value: &str) -> Result<Option<Lockstep>, ValueError> {
    match value {
        "off" => Ok(None),
        "units" => Ok(Some(Lockstep::Units)),
        "chains" => Ok(Some(Lockstep::Chains)),
        _ => Err(ValueError::new(format!("lockstep: expected units, chains or off, found {value:?}"))),
    }
}

pub(super) fn number(
    key: &str,
    value: &str,
    range: std::ops::RangeInclusive<u64>,
) -> Result<u64, ValueError> {
    match value.parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => {
            let (first, last) = (range.start(), range.end());
            Err(ValueError::new(format!("{key}: expected a number from {first} to {last}, found {value:?}")))
        }
    }
}

/// Bytes of a zone of the code cache: whole segments of the smallest kind.
fn zone(value: &str) -> Result<usize, ValueError> {
    match parse_size(value)? {
        bytes @ 0x8_0000..=0x4000_0000 if bytes.is_multiple_of(64 << 10) => Ok(bytes as usize),
        _ => Err(ValueError::new(format!("expected a zone of 512K to 1G in whole 64 KiB, found {value:?}"))),
    }
}

pub(super) fn switch(key: &str, value: &str) -> Result<bool, ValueError> {
    match value {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(ValueError::new(format!("{key}: expected on or off, found {value:?}"))),
    }
}
