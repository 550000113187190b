//! Places of a case: what can be given and looked at, and values with their symbols.

use vm_cpu::csr::{CsrEnv, CsrFile, fields::status};
use vm_cpu::isa::asm::assemble;
use vm_cpu::isa::emit::CsrOp;
use vm_cpu::isa::{Extensions, decode};
use vm_cpu::{Hart, Priv};

/// Something with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Integer register.
    X(usize),
    /// FP register, raw.
    F(usize),
    /// `size` bytes at `at` of the data area.
    Data { at: usize, size: usize },
    /// A CSR, or the field of it under `mask`.
    Csr { num: u16, mask: u64 },
    /// The privilege mode.
    Mode,
    /// `mcause` of the trap that ends the case.
    Trap,
    /// `mepc` of that trap.
    Epc,
    /// `mtval` of that trap.
    Tval,
}

pub const MSTATUS: u16 = 0x300;

const FIELDS: &[(&str, u64)] = &[
    ("sie", status::SIE),
    ("mie", status::MIE),
    ("spie", status::SPIE),
    ("mpie", status::MPIE),
    ("spp", status::SPP),
    ("mpp", status::MPP),
    ("fs", status::FS),
    ("mprv", status::MPRV),
    ("sum", status::SUM),
    ("mxr", status::MXR),
    ("tvm", status::TVM),
    ("tw", status::TW),
    ("tsr", status::TSR),
];

const CAUSES: &[(&str, u64)] = &[
    ("fetch-misaligned", 0),
    ("fetch-access", 1),
    ("illegal", 2),
    ("breakpoint", 3),
    ("load-misaligned", 4),
    ("load-access", 5),
    ("store-misaligned", 6),
    ("store-access", 7),
    ("ecall-u", 8),
    ("ecall-s", 9),
    ("ecall-m", 11),
];

impl Place {
    /// Reads a name.
    pub fn named(name: &str) -> Option<Place> {
        match name {
            "prv" => return Some(Place::Mode),
            "trap" => return Some(Place::Trap),
            "epc" => return Some(Place::Epc),
            "tval" => return Some(Place::Tval),
            _ => {}
        }
        if let Some((width, at)) = name.strip_suffix(']').and_then(|name| name.split_once('[')) {
            let size = [("b", 1), ("h", 2), ("w", 4), ("d", 8)].iter().find(|(w, _)| *w == width)?.1;
            return Some(Place::Data { at: usize::try_from(number(at)?).ok()?, size });
        }
        if let Some(field) = name.strip_prefix("mstatus.") {
            let mask = FIELDS.iter().find(|(name, _)| *name == field)?.1;
            return Some(Place::Csr { num: MSTATUS, mask });
        }
        // The assembler knows the names of registers.
        let operand = |line: String| decode(*assemble(0, &line).ok()?.words().first()?, Extensions::all());
        let x = || operand(format!("addi {name},x0,0")).map(|i| Place::X(i.rd.into()));
        let f = || operand(format!("fmv.w.x {name},x0")).map(|i| Place::F(i.rd.into()));
        let csr = || {
            operand(format!("csrrw x0,{name},x0")).map(|i| Place::Csr { num: i.imm as u16, mask: u64::MAX })
        };
        x().or_else(f).or_else(csr)
    }

    /// Puts `value` there before the case runs; the data area is the caller's.
    pub fn put(self, hart: &mut Hart, value: u64) {
        let core = hart.core_mut();
        match self {
            Place::X(r) => core.set_x(r, value),
            Place::F(r) => core.set_f(r, value),
            Place::Csr { num, mask } => core.with_csr(|csr| {
                let old = peek(csr, num);
                let new = merge(old, mask, value);
                let write = csr.access(num, CsrOp::Write, new, false, true, &CsrEnv::default());
                write.unwrap_or_else(|_| panic!("CSR {num:#x} cannot be given"));
            }),
            Place::Mode | Place::Data { .. } | Place::Trap | Place::Epc | Place::Tval => {
                unreachable!("given by other means")
            }
        }
    }
}

/// What CSR `num` holds.
pub fn peek(csr: &CsrFile, num: u16) -> u64 {
    csr.peek(num, &CsrEnv::default()).unwrap_or_else(|| panic!("CSR {num:#x} is not there"))
}

/// `old` with `value` in the field of `mask`.
pub fn merge(old: u64, mask: u64, value: u64) -> u64 {
    old & !mask | value << mask.trailing_zeros() & mask
}

/// Addresses that values speak of.
#[derive(Clone, Copy, Debug)]
pub struct Symbols {
    pub code: u64,
    pub next: u64,
    pub insn: u64,
    pub data: u64,
    pub end: u64,
}

impl Symbols {
    /// The value of `text` for `place`.
    pub fn value(&self, place: Place, text: &str) -> Option<u64> {
        match place {
            Place::Mode => mode(text).map(|mode| mode as u64),
            Place::Trap => CAUSES.iter().find(|(name, _)| *name == text).map(|(_, code)| *code),
            _ => number(text).or_else(|| float(text)).or_else(|| self.address(text)),
        }
    }

    fn address(&self, text: &str) -> Option<u64> {
        let at = text.find(['+', '-']).unwrap_or(text.len());
        let (symbol, offset) = text.split_at(at);
        let offset = if offset.is_empty() { 0 } else { number(offset.trim_start_matches('+'))? };
        let symbols = [
            ("code", self.code),
            ("next", self.next),
            ("insn", self.insn),
            ("data", self.data),
            ("end", self.end),
        ];
        symbols.iter().find(|(name, _)| *name == symbol).map(|(_, base)| base.wrapping_add(offset))
    }
}

/// A mode by its letter.
pub fn mode(text: &str) -> Option<Priv> {
    match text {
        "u" => Some(Priv::User),
        "s" => Some(Priv::Supervisor),
        "m" => Some(Priv::Machine),
        _ => None,
    }
}

fn number(text: &str) -> Option<u64> {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |digits| (true, digits));
    let digits = digits.replace('_', "");
    let value = match digits.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => digits.parse(),
    };
    value.ok().map(|value| if negative { value.wrapping_neg() } else { value })
}

/// `s:1.5`, `d:-inf`.
fn float(text: &str) -> Option<u64> {
    match text.split_once(':')? {
        ("s", value) => value.parse().ok().map(|value: f32| u64::from(value.to_bits()) | 0xffff_ffff << 32),
        ("d", value) => value.parse().ok().map(f64::to_bits),
        _ => None,
    }
}
