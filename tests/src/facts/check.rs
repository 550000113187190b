//! Runs a case and compares all of the machine's state with what was foretold.

use std::fmt::Write;

use vm_cpu::csr::fields::status;
use vm_cpu::isa::Insn;
use vm_cpu::isa::asm::{Program, assemble};
use vm_cpu::{CpuConfig, Priv};
use vm_mmu::PAGE;

use super::place::{MSTATUS, Place, Symbols, merge, peek};
use super::{Case, Section, insn};
use crate::bare::{Bare, Engine, RAM, Stopped};

/// The data area: two pages, then nothing.
const DATA: u64 = RAM + 2 * PAGE;
const DATA_LEN: usize = 2 * PAGE as usize;
const END: u64 = DATA + DATA_LEN as u64;
const RAM_LEN: u64 = 6 * PAGE;
/// What the data area is filled with.
const FILL: u8 = 0xcc;

/// CSRs that change by themselves, and views of others.
const NOT_COMPARED: &[u16] =
    &[0x003, 0x100, 0x104, 0x144, 0xb00, 0xb02, 0xc00, 0xc01, 0xc02, MEPC, MCAUSE, MTVAL, MSTATUS];
const MTVEC: u16 = 0x305;
const MEPC: u16 = 0x341;
const MCAUSE: u16 = 0x342;
const MTVAL: u16 = 0x343;

/// A machine for the cases of one file.
pub struct Bench {
    bare: Bare,
    cpu: CpuConfig,
}

/// All of the state that a case is judged by.
#[derive(Clone, Debug, PartialEq, Eq)]
struct State {
    stopped: Stopped,
    pc: u64,
    x: [u64; 32],
    f: [u64; 32],
    data: Vec<u8>,
    mode: u64,
    csrs: Vec<(u16, u64)>,
}

/// The program of a section.
fn program(section: &Section) -> Result<Program, String> {
    let source = format!("{}\nsubject: {}\nfinish: sd x0, 0(x0)\nj .", section.before, section.code);
    assemble(RAM, &source).map_err(|error| error.to_string())
}

/// The instruction that a section is about; none if the subject is illegal or does not assemble.
pub fn subject(section: &Section, cpu: &CpuConfig) -> Option<Insn> {
    let program = program(section).ok()?;
    let at = program.label("subject")? - RAM;
    insn(&program.bytes[at as usize..], cpu)
}

impl Bench {
    pub fn new(engine: Engine, cpu: &CpuConfig) -> Bench {
        let bare = Bare::new(engine, cpu, 1, RAM_LEN);
        bare.memory.unmap(END..END + PAGE).expect("it was mapped");
        Bench { bare, cpu: *cpu }
    }

    /// Whether the case holds, or what is different.
    pub fn check(&mut self, section: &Section, case: &Case) -> Result<(), String> {
        let program = program(section)?;
        let label = |name| program.label(name).expect("a label of every program");
        let code = label("subject");
        let subject = insn(&program.bytes[(code - RAM) as usize..], &self.cpu);
        let (bits, len) = subject.map_or((0, 4), |i| (u64::from(i.bits), u64::from(i.len)));
        let symbols = Symbols { code, next: code + len, insn: bits, data: DATA, end: END };
        let values = |list: &[(Place, String)]| -> Result<Vec<(Place, u64)>, String> {
            let value = |(place, text): &(Place, String)| {
                let value = symbols.value(*place, text).ok_or(format!("no such value: `{text}`"))?;
                Ok((*place, value))
            };
            list.iter().map(value).collect()
        };
        self.prepare(&program, &values(&case.given)?);
        let mut foretold = self.state(Stopped::Done);
        foretold.pc = label("finish") + 4;
        foretell(&mut foretold, &values(&case.expected)?, code);
        let stopped = self.bare.run(0);
        if let Some(report) = self.bare.harts[0].divergence() {
            return Err(report);
        }
        let found = self.state(stopped);
        if found == foretold { Ok(()) } else { Err(difference(&foretold, &found)) }
    }

    fn prepare(&mut self, program: &Program, given: &[(Place, u64)]) {
        let bare = &mut self.bare;
        bare.load(RAM, &program.bytes);
        bare.load(DATA, &[FILL; DATA_LEN]);
        bare.start(0, RAM, Priv::Machine);
        let hart = &mut bare.harts[0];
        for r in 0..32u64 {
            hart.core_mut().set_x(r as usize, 0x7e57_0000_0000_0000 + r * 0x0101_0101);
            hart.core_mut().set_f(r as usize, 0x7e57_f000_0000_0000 + r * 0x0101_0101);
        }
        let mut start = Priv::Machine;
        for &(place, value) in given {
            match place {
                Place::Mode => start = Priv::from_bits(value).expect("a mode by its letter"),
                Place::Data { at, size } => {
                    bare.memory.write(DATA + at as u64, &value.to_le_bytes()[..size]).expect("the data area")
                }
                place => place.put(hart, value),
            }
        }
        bare.resume(0, RAM, start);
    }

    fn state(&self, stopped: Stopped) -> State {
        let core = self.bare.harts[0].core();
        let mut data = vec![0; DATA_LEN];
        self.bare.memory.read(DATA, &mut data).expect("the data area");
        let mut csrs: Vec<_> = (0..4096u16)
            .filter(|num| !NOT_COMPARED.contains(num))
            .filter_map(|num| Some((num, core.csr().peek(num, &Default::default())?)))
            .collect();
        // Last, so that the rest is told first: these follow from the trap, or are said by the case.
        csrs.push((MSTATUS, peek(core.csr(), MSTATUS) & !status::SD));
        csrs.extend([MEPC, MCAUSE, MTVAL].map(|num| (num, peek(core.csr(), num))));
        State {
            stopped,
            pc: core.pc(),
            x: std::array::from_fn(|r| core.x(r)),
            f: std::array::from_fn(|r| core.f(r)),
            data,
            mode: core.mode() as u64,
            csrs,
        }
    }
}

/// Changes `state` as the case says.
fn foretell(state: &mut State, expected: &[(Place, u64)], code: u64) {
    if let Some(&(_, cause)) = expected.iter().find(|(place, _)| *place == Place::Trap) {
        foretell_trap(state, cause, code);
    }
    for &(place, value) in expected {
        match place {
            Place::X(r) => state.x[r] = value,
            Place::F(r) => state.f[r] = value,
            Place::Data { at, size } => {
                state.data[at..at + size].copy_from_slice(&value.to_le_bytes()[..size]);
            }
            Place::Csr { num, mask } => change(state, num, mask, value),
            Place::Mode => state.mode = value,
            Place::Trap => {}
            Place::Epc => change(state, MEPC, u64::MAX, value),
            Place::Tval => change(state, MTVAL, u64::MAX, value),
        }
    }
}

/// What the manual says of every trap into M-mode (privileged manual, 3.1.6.1, 3.1.14 to 3.1.16).
fn foretell_trap(state: &mut State, cause: u64, code: u64) {
    let from = state.mode;
    let enabled = held(state, MSTATUS) & status::MIE != 0;
    state.stopped = Stopped::Trapped;
    state.mode = Priv::Machine as u64;
    state.pc = held(state, MTVEC) + 8;
    change(state, MSTATUS, status::MPP, from);
    change(state, MSTATUS, status::MPIE, u64::from(enabled));
    change(state, MSTATUS, status::MIE, 0);
    change(state, MCAUSE, u64::MAX, cause);
    change(state, MEPC, u64::MAX, code);
    change(state, MTVAL, u64::MAX, 0);
}

fn entry(state: &mut State, num: u16) -> &mut u64 {
    let found = state.csrs.iter_mut().find(|(n, _)| *n == num);
    &mut found.unwrap_or_else(|| panic!("CSR {num:#x} is a view of another: name that one")).1
}

fn held(state: &mut State, num: u16) -> u64 {
    *entry(state, num)
}

fn change(state: &mut State, num: u16, mask: u64, value: u64) {
    let slot = entry(state, num);
    *slot = merge(*slot, mask, value);
}

/// What differs, a line each.
fn difference(foretold: &State, found: &State) -> String {
    let mut text = String::new();
    let mut line = |what: &str, expected: String, found: String| {
        if expected != found {
            writeln!(text, "    {what}: expected {expected}, found {found}").expect("a string takes all");
        }
    };
    line("end", format!("{:?}", foretold.stopped), format!("{:?}", found.stopped));
    for r in 0..32 {
        line(&format!("x{r}"), format!("{:#x}", foretold.x[r]), format!("{:#x}", found.x[r]));
    }
    for r in 0..32 {
        line(&format!("f{r}"), format!("{:#x}", foretold.f[r]), format!("{:#x}", found.f[r]));
    }
    for (at, (expected, found)) in foretold.data.iter().zip(&found.data).enumerate() {
        line(&format!("b[{at}]"), format!("{expected:#x}"), format!("{found:#x}"));
    }
    line("prv", format!("{}", foretold.mode), format!("{}", found.mode));
    for (&(num, expected), &(_, found)) in foretold.csrs.iter().zip(&found.csrs) {
        let name = vm_cpu::csr::name(num).map_or(format!("{num:#x}"), |name| name.to_string());
        line(&name, format!("{expected:#x}"), format!("{found:#x}"));
    }
    line("pc", format!("{:#x}", foretold.pc), format!("{:#x}", found.pc));
    text
}
