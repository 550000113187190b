//! Lock-step: everything that generated code does is done a second time by the interpreter, and both must
//! have done the same.
//!
//! ```text
//!  state ─┬─► trial: the unit runs ──────────► state, written pages ─┐
//!         │     (time on a tape, wires held)     │ taken back        ├─ equal? ─► go on from the replay
//!         └─► replay: as many instructions ◄─────┘ ─► state, pages ──┘    no: report, end of the machine
//!              (by the interpreter, from the tape)
//! ```
//! One trial and its replay are a step. What a trial may not do twice it does not do at all: before an
//! access to a device, or a wait, it leaves, and the interpreter carries that instruction out alone. Stores
//! go to memory as ever, but a page is copied before the first store of a step, so each step begins with a
//! soft-TLB that permits nothing: code under test is the code that is used, fast paths and all.
//!
//! **Invariant.** What the guest sees is what the interpreter did. Whatever else writes to memory or reads it
//! at the same time sees some of it twice, so a machine in lock-step has one hart, and devices that work on
//! threads of their own may be taken for a difference.

mod report;
mod shadow;
mod state;

pub(crate) use self::report::{Step, report};
pub(crate) use self::shadow::Shadow;
pub(crate) use self::state::State;

/// How much one step of lock-step takes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lockstep {
    /// One unit up to its exit, or up to the head of a loop.
    Units,
    /// Units as they lead to each other, until something else makes the hart leave them: the very code that
    /// runs otherwise, but a difference is found later.
    Chains,
}
