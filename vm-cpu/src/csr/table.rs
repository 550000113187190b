//! One row a CSR: number, name, what it needs, and how it reads and writes.
//!
//! Least privilege and read-only follow from the number (privileged manual, 2.1), so no row says
//! them. Families (`pmpaddr0` …) are one line each. A number used twice does not compile.
//!
//! ```text
//!  number  11 10 │ 9 8 │ 7 … 0        11 10 = 3: read-only
//!          access  least privilege
//! ```

use std::fmt;

use super::fields::mip;
use super::{CsrEnv, CsrFile, Effects, Priv, merge};
use crate::isa::ext::Extension;
use crate::trap::Cause;

/// Numbers that code outside the table speaks of.
pub(super) const MIP: u16 = 0x344;
const SIP: u16 = 0x144;
const TIME: u16 = 0xc01;
pub(super) const MEDELEG: u16 = 0x302;
pub(super) const MIDELEG: u16 = 0x303;
pub(super) const MCOUNTEREN: u16 = 0x306;
pub(super) const SCOUNTEREN: u16 = 0x106;
pub(super) const MENVCFG: u16 = 0x30a;

/// One CSR.
#[derive(Clone, Copy)]
pub(super) struct Row {
    pub num: u16,
    pub name: Name,
    pub gate: Gate,
    pub cell: Cell,
}

/// A name, with its number in the family if it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name {
    stem: &'static str,
    index: Option<u8>,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.index {
            None => f.pad(self.stem),
            Some(i) => f.pad(&format!("{}{i}", self.stem)),
        }
    }
}

impl Name {
    /// Whether it is one of a family.
    pub(super) fn in_family(&self) -> bool {
        self.index.is_some()
    }
}

/// What a CSR needs, beyond the privilege in its number, to be there.
#[derive(Clone, Copy)]
pub(super) enum Gate {
    /// Nothing.
    Open,
    /// F, and `mstatus.FS` not off.
    Float,
    /// The extension; below M-mode also the CSR's bit (the low 5 of its number) of `mcounteren`, and
    /// in U-mode of `scounteren`.
    Counter(Extension),
    /// Sstc; below M-mode also `mcounteren.TM` and `menvcfg.STCE`.
    Timer,
    /// Traps S-mode while `mstatus.TVM`.
    Paging,
    /// At least one PMP entry.
    Pmp,
}

/// How a CSR reads and writes.
#[derive(Clone, Copy)]
pub(super) enum Cell {
    /// Derived; a write, where the number allows one, changes nothing.
    View(fn(&CsrFile, &CsrEnv) -> u64),
    /// A word of the file of which the ones of `mask` are writable.
    Word { get: fn(&CsrFile) -> u64, slot: fn(&mut CsrFile) -> &mut u64, mask: u64, effects: Effects },
    /// Reading and writing compute.
    Custom { read: fn(&CsrFile, &CsrEnv) -> u64, write: fn(&mut CsrFile, u64, &CsrEnv) -> Effects },
    /// One of a family.
    Element { index: u8, read: fn(&CsrFile, usize) -> u64, write: fn(&mut CsrFile, usize, u64) -> Effects },
}

impl Cell {
    /// The value that an instruction sees.
    pub fn read(&self, file: &CsrFile, env: &CsrEnv) -> u64 {
        match *self {
            Cell::View(read) | Cell::Custom { read, .. } => read(file, env),
            Cell::Word { get, .. } => get(file),
            Cell::Element { index, read, .. } => read(file, usize::from(index)),
        }
    }

    /// Stores what of `value` the register can hold.
    pub fn write(&self, file: &mut CsrFile, value: u64, env: &CsrEnv) -> Effects {
        match *self {
            Cell::View(_) => Effects::NONE,
            Cell::Word { slot, mask, effects, .. } => effects.when(merge(slot(file), value, mask)),
            Cell::Custom { write, .. } => write(file, value, env),
            Cell::Element { index, write, .. } => write(file, usize::from(index), value),
        }
    }
}

const ZERO: Cell = Cell::View(|_, _| 0);

/// A word of the file, by its field.
macro_rules! word {
    ($field:ident) => {
        word!($field, u64::MAX)
    };
    ($field:ident, $mask:expr) => {
        word!($field, $mask, Effects::NONE)
    };
    ($field:ident, $mask:expr, $effects:expr) => {
        Cell::Word { get: |f| f.$field, slot: |f| &mut f.$field, mask: $mask, effects: $effects }
    };
}

/// The lines of the table: `number name: gate, cell;`.
macro_rules! rows {
    ($($num:literal $name:ident: $gate:expr, $cell:expr;)*) => {
        &[$(Row { num: $num, name: Name { stem: stringify!($name), index: None }, gate: $gate, cell: $cell }),*]
    };
}

/// Exceptions that can be raised below M-mode.
const DELEGABLE: u64 = {
    use Cause::*;
    let all = [
        InstructionMisaligned,
        InstructionAccess,
        IllegalInstruction,
        Breakpoint,
        LoadMisaligned,
        LoadAccess,
        StoreMisaligned,
        StoreAccess,
        EcallU,
        EcallS,
        InstructionPage,
        LoadPage,
        StorePage,
    ];
    let mut mask = 0;
    let mut i = 0;
    while i < all.len() {
        mask |= 1 << all[i] as u64;
        i += 1;
    }
    mask
};

/// Vectors: mode 0 or 1; bit 1 reads as zero. The base needs four-byte alignment in both modes.
const VECTOR: u64 = !2;

use Gate::{Float, Open, Paging, Timer};

#[rustfmt::skip]
const SINGLES: &[Row] = rows! {
    // Unprivileged: floating point, counters.
    0x001 fflags: Float, Cell::Custom { read: |f, _| f.fflags.into(), write: |f, v, _| f.write_fcsr(f.frm, v as u8) };
    0x002 frm: Float, Cell::Custom { read: |f, _| f.frm.into(), write: |f, v, _| f.write_fcsr(v as u8, f.fflags) };
    0x003 fcsr: Float, Cell::Custom { read: |f, _| f.read_fcsr(), write: |f, v, _| f.write_fcsr((v >> 5) as u8, v as u8) };
    0xc00 cycle: Gate::Counter(Extension::Zicntr), Cell::View(|f, env| f.mcycle.read(env.cycle));
    0xc01 time: Gate::Counter(Extension::Zicntr), Cell::View(|_, env| env.time);
    0xc02 instret: Gate::Counter(Extension::Zicntr), Cell::View(|f, env| f.minstret.read(env.instret));

    // Supervisor.
    0x100 sstatus: Open, Cell::Custom { read: |f, _| f.read_sstatus(), write: |f, v, _| f.write_sstatus(v) };
    0x104 sie: Open, Cell::Custom { read: |f, _| f.mie & f.mideleg, write: |f, v, _| f.write_sie(v) };
    0x105 stvec: Open, word!(stvec, VECTOR);
    0x106 scounteren: Open, Cell::Custom { read: |f, _| f.scounteren, write: |f, v, _| f.write_scounteren(v) };
    0x10a senvcfg: Open, Cell::Custom { read: |f, _| f.senvcfg, write: |f, v, _| f.write_senvcfg(v) };
    0x140 sscratch: Open, word!(sscratch);
    0x141 sepc: Open, Cell::Custom { read: |f, _| f.sepc, write: |f, v, _| { f.sepc = f.align(v); Effects::NONE } };
    0x142 scause: Open, word!(scause);
    0x143 stval: Open, word!(stval);
    0x144 sip: Open, Cell::Custom { read: |f, env| f.read_mip(env) & f.mideleg, write: |f, v, _| f.write_sip(v) };
    0x14d stimecmp: Timer, word!(stimecmp, u64::MAX, Effects(Effects::TIMER.0 | Effects::INTERRUPTS.0));
    0x180 satp: Paging, Cell::Custom { read: |f, _| f.satp, write: |f, v, _| f.write_satp(v) };

    // Machine: identity.
    0xf11 mvendorid: Open, ZERO;
    0xf12 marchid: Open, ZERO;
    0xf13 mimpid: Open, ZERO;
    0xf14 mhartid: Open, Cell::View(|f, _| f.mhartid);
    0xf15 mconfigptr: Open, ZERO;

    // Machine: traps, environment.
    0x300 mstatus: Open, Cell::Custom { read: |f, _| f.read_mstatus(), write: |f, v, _| f.write_mstatus(v) };
    0x301 misa: Open, Cell::View(|f, _| f.config.misa());
    0x302 medeleg: Open, word!(medeleg, DELEGABLE);
    0x303 mideleg: Open, word!(mideleg, mip::SUPERVISOR, Effects::INTERRUPTS);
    0x304 mie: Open, word!(mie, mip::MACHINE | mip::SUPERVISOR, Effects::INTERRUPTS);
    0x305 mtvec: Open, word!(mtvec, VECTOR);
    0x306 mcounteren: Open, Cell::Custom { read: |f, _| f.mcounteren, write: |f, v, _| f.write_mcounteren(v) };
    0x30a menvcfg: Open, Cell::Custom { read: |f, _| f.menvcfg, write: |f, v, _| f.write_menvcfg(v) };
    0x320 mcountinhibit: Open, Cell::Custom { read: |f, _| f.read_mcountinhibit(), write: |f, v, env| f.write_mcountinhibit(v, env) };
    0x340 mscratch: Open, word!(mscratch);
    0x341 mepc: Open, Cell::Custom { read: |f, _| f.mepc, write: |f, v, _| { f.mepc = f.align(v); Effects::NONE } };
    0x342 mcause: Open, word!(mcause);
    0x343 mtval: Open, word!(mtval);
    0x344 mip: Open, Cell::Custom { read: |f, env| f.read_mip(env), write: |f, v, _| f.write_mip(v) };

    // Machine: counters.
    0xb00 mcycle: Open, Cell::Custom {
        read: |f, env| f.mcycle.read(env.cycle),
        write: |f, v, env| { f.mcycle.write(v, env.cycle); Effects::COUNTERS },
    };
    0xb02 minstret: Open, Cell::Custom {
        read: |f, env| f.minstret.read(env.instret),
        write: |f, v, env| { f.minstret.write(v, env.instret); Effects::COUNTERS },
    };

    // Triggers: there is one place for a trigger, and no trigger is in it (debug manual, 5.7).
    0x7a0 tselect: Open, ZERO;
    0x7a1 tdata1: Open, ZERO;
    0x7a2 tdata2: Open, ZERO;
    0x7a3 tdata3: Open, ZERO;
};

/// Registers that are alike: `count` of them, named from `first`, their numbers `step` apart.
struct Family {
    num: u16,
    step: u16,
    stem: &'static str,
    first: u8,
    count: u8,
    gate: Gate,
    cell: Cell,
}

#[rustfmt::skip]
const FAMILIES: &[Family] = &[
    Family { num: 0xc03, step: 1, stem: "hpmcounter", first: 3, count: 29, gate: Gate::Counter(Extension::Zihpm), cell: ZERO },
    Family { num: 0xb03, step: 1, stem: "mhpmcounter", first: 3, count: 29, gate: Open, cell: ZERO },
    Family { num: 0x323, step: 1, stem: "mhpmevent", first: 3, count: 29, gate: Open, cell: ZERO },
    // Eight entries a register: RV64 has the even numbers only.
    Family { num: 0x3a0, step: 2, stem: "pmpcfg", first: 0, count: 8, gate: Gate::Pmp, cell: Cell::Element {
        index: 0,
        read: |f, word| f.pmp.read_cfg(word),
        write: |f, word, v| Effects::PMP.when(f.pmp.write_cfg(word, v)),
    } },
    Family { num: 0x3b0, step: 1, stem: "pmpaddr", first: 0, count: 64, gate: Gate::Pmp, cell: Cell::Element {
        index: 0,
        read: |f, i| f.pmp.read_addr(i),
        write: |f, i, v| Effects::PMP.when(f.pmp.write_addr(i, v)),
    } },
];

impl Family {
    /// Its `k`-th row.
    const fn row(&self, k: u8) -> Row {
        let cell = match self.cell {
            Cell::Element { read, write, .. } => Cell::Element { index: k, read, write },
            cell => cell,
        };
        // A family's names run by ones except where the numbers do not: pmpcfg0, pmpcfg2, …
        let index = self.first + k * self.step as u8;
        let name = Name { stem: self.stem, index: Some(index) };
        Row { num: self.num + k as u16 * self.step, name, gate: self.gate, cell }
    }
}

const COUNT: usize = {
    let mut n = SINGLES.len();
    let mut i = 0;
    while i < FAMILIES.len() {
        n += FAMILIES[i].count as usize;
        i += 1;
    }
    n
};

static ROWS: [Row; COUNT] = {
    let mut rows = [SINGLES[0]; COUNT];
    let mut n = 0;
    while n < SINGLES.len() {
        rows[n] = SINGLES[n];
        n += 1;
    }
    let mut i = 0;
    while i < FAMILIES.len() {
        let mut k = 0;
        while k < FAMILIES[i].count {
            rows[n] = FAMILIES[i].row(k);
            n += 1;
            k += 1;
        }
        i += 1;
    }
    rows
};

/// Row of each number, or [`ABSENT`].
static BY_NUMBER: [u8; 4096] = {
    let mut by = [ABSENT; 4096];
    let mut n = 0;
    while n < COUNT {
        let num = ROWS[n].num as usize;
        assert!(by[num] == ABSENT, "two rows with one CSR number");
        by[num] = n as u8;
        n += 1;
    }
    by
};

const ABSENT: u8 = u8::MAX;
const _: () = assert!(COUNT < ABSENT as usize, "row numbers fit a byte");

/// The row of CSR `num`.
pub(super) fn find(num: u16) -> Option<&'static Row> {
    let row = *BY_NUMBER.get(usize::from(num))?;
    ROWS.get(usize::from(row))
}

/// All rows, by their place in the table.
pub(super) fn rows() -> &'static [Row] {
    &ROWS
}

/// The name of CSR `num`, as assemblers spell it, if this machine knows it.
pub fn name(num: u16) -> Option<Name> {
    find(num).map(|row| row.name)
}

/// Whether CSR `num` looks at [`CsrEnv::time`]: for others a caller need not read the clock.
pub fn looks_at_time(num: u16) -> bool {
    matches!(num, TIME | MIP | SIP)
}

/// The least privilege that may access CSR `num`. The manual's encoding 2 belongs to the hypervisor,
/// whose registers M-mode may access.
pub(super) fn least_privilege(num: u16) -> Priv {
    match num >> 8 & 3 {
        0 => Priv::User,
        1 => Priv::Supervisor,
        _ => Priv::Machine,
    }
}
