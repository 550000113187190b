//! The states of a machine and the commands that lead from one to another.
//!
//! ```text
//!             start                 pause
//!  Stopped ─────────► Running ◄──────────────► Paused
//!     ▲ ▲               │  │ reset: Running      │ reset: Paused
//!     │ └────── stop ───┘  │                     │
//!     └── ShuttingDown ◄───┴── shutdown ─────────┘
//! ```
//! The machine has no power button, so `shutdown` does not ask the guest: it lets the harts come to
//! rest, has the devices write what they hold, and stops. A guest that powers itself off goes the same
//! way.

use thiserror::Error;

/// What a machine is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Not started, or ended.
    Stopped,
    /// Harts execute.
    Running,
    /// Harts rest; everything is kept.
    Paused,
    /// On the way to the end; devices write what they hold.
    ShuttingDown,
}

/// What can be asked of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// Let the harts rest.
    Pause,
    /// Let them go on.
    Resume,
    /// End in order.
    Shutdown,
    /// End at once.
    Stop,
    /// Begin anew from the loaded payload.
    Reset,
}

/// A command that makes no sense in a state.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("cannot {command:?} a machine that is {state:?}")]
pub struct Illegal {
    /// What was asked.
    pub command: Command,
    /// What the machine was doing.
    pub state: State,
}

impl State {
    /// The state that a command leads to.
    pub fn after(self, command: Command) -> Result<Self, Illegal> {
        use Command::*;
        use State::*;
        match (self, command) {
            (Running, Pause) => Ok(Paused),
            (Paused, Resume) => Ok(Running),
            (Running | Paused, Shutdown) => Ok(ShuttingDown),
            (Running | Paused, Reset) => Ok(self),
            (Running | Paused | ShuttingDown, Stop) => Ok(Stopped),
            (state, command) => Err(Illegal { command, state }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Command::*;
    use super::State::*;
    use super::*;

    #[test]
    fn every_state_and_command() {
        let table = [
            (Stopped, [None, None, None, None, None]),
            (Running, [Some(Paused), None, Some(ShuttingDown), Some(Stopped), Some(Running)]),
            (Paused, [None, Some(Running), Some(ShuttingDown), Some(Stopped), Some(Paused)]),
            (ShuttingDown, [None, None, None, Some(Stopped), None]),
        ];
        for (state, row) in table {
            for (command, after) in [Pause, Resume, Shutdown, Stop, Reset].into_iter().zip(row) {
                assert_eq!(state.after(command), after.ok_or(Illegal { command, state }));
            }
        }
    }
}
