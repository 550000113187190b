//! The instruction set: encodings, operands and meaning, each written once.
//!
//! ```text
//!                 table.rs, rvc.rs: one line an instruction
//!                   │            │              │
//!        decode, encode   disasm, asm    row::<mnemonic>(e, i) ──► meaning/*.rs over Emit
//!                   └──► Insn ──────────────────┘                    │
//!                                       interpreter │ translators │ effects │ ir
//! ```
//! **Invariant:** no engine knows an instruction by itself. What an instruction is called, looks like or
//! does is said in its row; an engine implements [`emit::Emit`] and expands `for_each_row!`.

pub mod asm;
#[cfg(test)]
mod calculator;
pub mod decode;
mod disasm;
pub mod effects;
pub mod emit;
mod eval;
pub mod ext;
mod imm;
pub mod ir;
pub mod meaning;
pub mod operand;
mod pattern;
pub mod row;
pub mod rvc;
pub mod table;
#[cfg(test)]
mod tests;

pub use decode::{decode, encode};
pub use disasm::disassemble;
pub use emit::Insn;
pub use ext::{Extension, Extensions};
pub use row::Operands;
pub use table::Op;
pub(crate) use table::for_each_row;

use emit::{Emit, Step};

/// Carries out `i` in the terms of `e`.
pub fn execute<E: Emit>(e: &mut E, i: &Insn) -> Step<E> {
    macro_rules! arms {
        ([$e:ident $i:ident] $($op:ident)*) => {
            match $i.op { $( Op::$op => table::row::$op($e, $i), )* }
        };
    }
    for_each_row!(arms [e i])
}
