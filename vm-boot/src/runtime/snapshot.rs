//! Saving a machine, and making one go on from what was saved.
//!
//! A machine is saved at a moment when its harts rest and its clock stands still, so that for the guest nothing
//! has happened, neither to the machine that goes on nor to one that is made of the snapshot. Before that
//! moment its memory is copied while it runs, and after it the files are completed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::crew::Crew;
use super::mailbox::Message;
use super::{Event, Runtime, RuntimeError, State};
use crate::machine::RestoreError;
use crate::snapshot::{Asked, HartsRecord, Opened, SaveError, Saved, Writer};

/// How often memory is copied again at most before the machine rests.
const ROUNDS: usize = 4;
/// So few pages are left for then.
const FEW: usize = 1024;

impl Runtime {
    /// Writes a snapshot to `dir`, in place of the one that is there, on top of the one that the configuration
    /// names. The machine goes on as it was; one that runs does so while most is written.
    pub fn save(&mut self, dir: &Path) -> Result<Saved, SaveError> {
        let base = self.machine.config().snapshot_base.clone();
        self.save_on(dir, base.as_deref())
    }

    /// The same, with only what differs from `base`, if that is given.
    pub fn save_on(&mut self, dir: &Path, base: Option<&Path>) -> Result<Saved, SaveError> {
        if !matches!(self.state, State::Running | State::Paused) {
            return Err(SaveError::State("is not started"));
        }
        let start = Instant::now();
        let base = base.map(Opened::open).transpose()?.map(Arc::new);
        // What is below has the code, as far as it has not changed.
        let code = if base.is_some() { None } else { self.machine.warm_code() };
        let saved = self.save_in_rounds(dir, base, code);
        match &saved {
            Ok(saved) => self.machine.note_since(saved),
            Err(_) => self.machine.forget_dirty(),
        }
        let saved = saved?;
        let (took, rested) = (start.elapsed(), self.last_rest);
        tracing::info!(dir = %dir.display(), ?took, ?rested, "saved");
        self.tell(Event::Saved { dir: dir.to_owned() });
        Ok(saved)
    }

    /// Copies memory while the machine runs, until little of it is left that was written to since. Devices of one
    /// that is paused may still be at what they were asked for, so its memory changes too.
    fn save_in_rounds(
        &mut self,
        dir: &Path,
        base: Option<Arc<Opened>>,
        code: Option<Vec<u8>>,
    ) -> Result<Saved, SaveError> {
        self.stop_for(|runtime| runtime.machine.note_dirty());
        let mut writer = self.machine.begin_save(dir, base)?;
        code.into_iter().for_each(|image| writer.add_code(image));
        for _ in 0..ROUNDS {
            let dirty = self.stop_for(|runtime| runtime.machine.take_dirty());
            writer.copy_again(self.machine.copied(), &dirty)?;
            if dirty.len() < FEW {
                break;
            }
        }
        self.save_at_rest(writer)
    }

    /// Takes the rest in while the machine does, and writes it when it goes on.
    fn save_at_rest(&mut self, mut writer: Writer) -> Result<Saved, SaveError> {
        let content = self.stop_for(|runtime| {
            if runtime.ends_soon() {
                return Err(SaveError::State("is about to end or to begin anew"));
            }
            let harts = runtime.crew.as_ref().and_then(Crew::save).ok_or(SaveError::State("has failed"))?;
            let (clock, htif) = (runtime.paused_at.unwrap_or_default(), runtime.htif);
            let slots = runtime.machine.harts().save();
            runtime.machine.save_at_rest(&mut writer, HartsRecord { clock, htif, harts, slots })
        });
        writer.finish(&content?)
    }

    /// Does something while the machine rests and its clock stands still. Then it goes on, or stays paused.
    fn stop_for<T>(&mut self, act: impl FnOnce(&mut Self) -> T) -> T {
        let start = Instant::now();
        self.rest();
        self.paused_at = self.paused_at.or(Some(self.machine.cluster().clock().now()));
        let result = act(self);
        self.update_state(self.state);
        self.last_rest = start.elapsed();
        result
    }

    /// Whether the guest has asked for its end, which is not part of any state.
    fn ends_soon(&mut self) -> bool {
        let waiting: Vec<Message> = std::iter::from_fn(|| self.inbox.next()).collect();
        let ends = |message: &Message| matches!(message, Message::Reboot | Message::PowerOff { .. });
        let soon = waiting.iter().any(ends);
        waiting.into_iter().for_each(|message| self.mailbox.post(message));
        soon
    }

    /// How long the machine rested to be saved last.
    pub fn rested(&self) -> Duration {
        self.last_rest
    }

    /// Where snapshots go unless somebody says otherwise.
    pub(super) fn snapshot_dir(&self) -> PathBuf {
        self.machine.config().snapshot_dir.clone()
    }

    /// Saves, and says how that went.
    pub(super) fn save_as_asked(&mut self, dir: Option<PathBuf>, base: Option<PathBuf>) -> String {
        let start = Instant::now();
        let base = base.or_else(|| self.machine.config().snapshot_base.clone());
        match self.save_on(&dir.unwrap_or_else(|| self.snapshot_dir()), base.as_deref()) {
            Ok(Saved { dir, memory, base, .. }) => {
                let (dir, mib, took) = (dir.display(), memory.div_ceil(1 << 20), start.elapsed());
                let rested = self.last_rest;
                let on = base.map_or(String::new(), |base| format!(" on top of {}", base.display()));
                format!(
                    "saved to {dir}{on}: {mib} MiB of memory in {took:.1?}, of which it rested {rested:.1?}\n"
                )
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
        self.machine.prefetch(from);
        Ok(())
    }
}
