//! Saving a machine, and making one go on from what was saved.
//!
//! A machine is saved while its harts rest and its clock stands still, so that for the guest nothing has
//! happened, neither to the machine that goes on nor to one that is made of the snapshot.

use std::path::{Path, PathBuf};
use std::time::Instant;

use super::crew::Crew;
use super::mailbox::Message;
use super::{Event, Runtime, RuntimeError, State};
use crate::machine::RestoreError;
use crate::snapshot::{Asked, HartsRecord, Opened, SaveError, Saved};

impl Runtime {
    /// Writes a snapshot to `dir`, in place of the one that is there. The machine goes on as it was.
    pub fn save(&mut self, dir: &Path) -> Result<Saved, SaveError> {
        if !matches!(self.state, State::Running | State::Paused) {
            return Err(SaveError::State("is not started"));
        }
        let start = Instant::now();
        self.rest();
        self.paused_at = self.paused_at.or(Some(self.machine.cluster().clock().now()));
        let saved = self.save_at_rest(dir);
        // A running machine goes on; one that is paused stays so.
        self.update_state(self.state);
        let saved = saved?;
        tracing::info!(dir = %dir.display(), took = ?start.elapsed(), "saved");
        self.tell(Event::Saved { dir: dir.to_owned() });
        Ok(saved)
    }

    fn save_at_rest(&mut self, dir: &Path) -> Result<Saved, SaveError> {
        if self.ends_soon() {
            return Err(SaveError::State("is about to end or to begin anew"));
        }
        let harts = self.crew.as_ref().and_then(Crew::save).ok_or(SaveError::State("has failed"))?;
        let (clock, htif) = (self.paused_at.unwrap_or_default(), self.htif);
        let slots = self.machine.harts().save();
        self.machine.save(dir, HartsRecord { clock, htif, harts, slots })
    }

    /// Whether the guest has asked for its end, which is not part of any state.
    fn ends_soon(&mut self) -> bool {
        let waiting: Vec<Message> = std::iter::from_fn(|| self.inbox.next()).collect();
        let ends = |message: &Message| matches!(message, Message::Reboot | Message::PowerOff { .. });
        let soon = waiting.iter().any(ends);
        waiting.into_iter().for_each(|message| self.mailbox.post(message));
        soon
    }

    /// Where snapshots go unless somebody says otherwise.
    pub(super) fn snapshot_dir(&self) -> PathBuf {
        self.machine.config().snapshot_dir.clone()
    }

    /// Saves, and says how that went.
    pub(super) fn save_as_asked(&mut self, dir: Option<PathBuf>) -> String {
        let start = Instant::now();
        match self.save(&dir.unwrap_or_else(|| self.snapshot_dir())) {
            Ok(Saved { dir, memory }) => {
                let (dir, mib, took) = (dir.display(), memory.div_ceil(1 << 20), start.elapsed());
                format!("saved to {dir}: {mib} MiB of memory in {took:.1?}\n")
            }
            Err(error) => format!("{error}\n"),
        }
    }

    /// Goes back to a snapshot of this machine, and says how that went. An error is one after which the
    /// machine cannot go on.
    pub(super) fn load_as_asked(&mut self, dir: Option<PathBuf>) -> Result<String, RuntimeError> {
        let dir = dir.unwrap_or_else(|| self.snapshot_dir());
        let asked = Asked::of(self.machine.config());
        let opened = Opened::open(&dir).and_then(|opened| opened.config(&asked).map(|_| opened));
        match opened {
            Ok(opened) => self.restore(&opened).map(|()| format!("goes on from {}\n", dir.display())),
            Err(refusal) => Ok(format!("{refusal}\n")),
        }
    }

    /// Makes the machine go on from a snapshot, whatever it was doing before: a stopped machine starts, a
    /// paused one stays paused. After an error the machine can only be stopped.
    pub fn restore(&mut self, from: &Opened) -> Result<(), RuntimeError> {
        let HartsRecord { harts, clock, htif, .. } = &from.content().harts;
        self.rest();
        self.machine.restore(from).map_err(|error| match error {
            RestoreError::Refused(refusal) => RuntimeError::Refused(refusal),
            RestoreError::Machine(error) => RuntimeError::Machine(error),
        })?;
        let fresh = self.state == State::Stopped;
        if fresh {
            self.exit = 0;
            self.started = Instant::now();
            self.crew = Some(Crew::new(&self.machine, &self.consoles.serial, &self.mailbox)?);
        }
        self.htif = *htif;
        self.crew.iter().for_each(|crew| crew.load(harts));
        self.machine.resume();
        self.paused_at = Some(*clock);
        self.tell(Event::Restored);
        self.update_state(if fresh { State::Running } else { self.state });
        if fresh {
            self.cold_start = self.created.elapsed();
        }
        Ok(())
    }
}
