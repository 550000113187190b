//! The thread of one hart: executes, answers SBI calls, and comes to its seat when asked.

use std::sync::Arc;

use vm_cpu::csr::fields::status;
use vm_cpu::csr::{CsrEnv, Priv};
use vm_cpu::hart::{Entry, Exit, Hart};

use super::mailbox::{Mailbox, Message};
use super::seat::{Order, Seat};
use crate::console::Console;
use crate::defect;
use crate::machine::Machine;
use crate::sbi::{self, Activity, Answer, Call, HartState, Reset, Resume};
use crate::snapshot::VcpuRecord;

const A0: usize = 10;
const A1: usize = 11;
const A6: usize = 16;
const A7: usize = 17;

/// One hart with all that its thread needs.
pub(super) struct Vcpu {
    pub(super) hart: Hart,
    pub(super) id: usize,
    pub(super) machine: Arc<Machine>,
    pub(super) seats: Arc<[Seat]>,
    pub(super) console: Arc<Console>,
    pub(super) mailbox: Mailbox,
    pub(super) sbi: HartState,
    activity: Activity,
}

impl Vcpu {
    pub fn new(
        id: usize,
        machine: Arc<Machine>,
        seats: Arc<[Seat]>,
        console: Arc<Console>,
        mailbox: Mailbox,
    ) -> Self {
        let hart = machine.hart(id);
        let sbi = HartState::default();
        Self { hart, id, machine, seats, console, mailbox, sbi, activity: Activity::Off }
    }

    /// The whole life of the thread. A defect of ours that panics ends the machine, not the process.
    pub fn live(mut self) {
        if let Err(reason) = defect::catch(|| self.obey()) {
            self.mailbox.post(Message::HartFailed { hart: self.id, reason });
            self.machine.cluster().port(self.id).leave();
            // Stay in the seat, so that the others can be brought to rest.
            loop {
                match self.seats[self.id].wait(true, String::new) {
                    Order::End => return,
                    Order::Save => self.seats[self.id].put(None),
                    Order::Begin(..) | Order::Load(_) | Order::Go => {}
                }
            }
        }
    }

    fn obey(&mut self) {
        let seats = self.seats.clone();
        loop {
            let idle = matches!(self.activity, Activity::Off | Activity::Ended);
            match seats[self.id].wait(idle, || self.describe()) {
                Order::End => return,
                Order::Begin(entry, sbi) => self.begin(entry, sbi),
                Order::Load(record) => self.load(*record),
                Order::Save => seats[self.id].put(Some(self.save())),
                Order::Go => self.work(),
            }
        }
    }

    /// The state after a reset.
    fn begin(&mut self, entry: Option<Entry>, sbi: bool) {
        self.sbi = HartState::default();
        self.activity = Activity::Off;
        if let Some(entry) = entry {
            self.hart.start(entry, sbi);
            self.machine.harts().begin(self.id);
            self.activity = Activity::Running;
        }
    }

    fn save(&mut self) -> VcpuRecord {
        VcpuRecord { hart: self.hart.save(), sbi: self.sbi.clone(), activity: self.activity }
    }

    /// Goes on from a saved state, which was checked before.
    fn load(&mut self, record: VcpuRecord) {
        if let Err(error) = self.hart.load(&record.hart) {
            self.mailbox.post(Message::HartFailed { hart: self.id, reason: error.to_string() });
            self.activity = Activity::Ended;
            return;
        }
        self.sbi = record.sbi;
        self.activity = record.activity;
    }

    /// Until somebody wants the thread, or there is nothing left to do.
    fn work(&mut self) {
        loop {
            match self.activity {
                Activity::Ended => return,
                Activity::Off => match self.machine.harts().take_start(self.id) {
                    Some(resume) => {
                        let (pc, a0, a1) = (resume.pc, self.id as u64, resume.opaque);
                        self.begin(Some(Entry { pc, a0, a1, a2: 0, mode: Priv::Supervisor }), true);
                    }
                    None => return,
                },
                Activity::Running => match self.hart.run() {
                    Exit::SbiCall => self.call(),
                    Exit::Requested => return,
                    Exit::Diverged => self.fail(),
                },
                Activity::Suspended(resume) => match self.hart.suspend() {
                    true => self.wake(resume),
                    false => return,
                },
            }
        }
    }

    /// Generated code was wrong; the hart goes no further.
    fn fail(&mut self) {
        let reason = self.hart.divergence().unwrap_or_default();
        self.activity = Activity::Ended;
        self.mailbox.post(Message::HartFailed { hart: self.id, reason });
    }

    /// Answers the SBI call that the hart has just made.
    fn call(&mut self) {
        let core = self.hart.core();
        let args = std::array::from_fn(|i| core.x(A0 + i));
        let call = Call { extension: core.x(A7) as u32, function: core.x(A6) as u32, args };
        let answer = sbi::answer(&call, self);
        tracing::trace!(hart = self.id, ?call, ?answer, "sbi");
        match answer {
            Answer::Value(value) => self.give(0, value),
            Answer::Error(error) => self.give(error as i64, 0),
            Answer::Legacy(value) => self.hart.core_mut().set_x(A0, value as u64),
            Answer::Stop => {
                self.activity = Activity::Off;
                self.machine.harts().end(self.id);
            }
            Answer::Suspend(resume) => {
                self.give(0, 0);
                self.machine.harts().suspend(self.id);
                self.activity = Activity::Suspended(resume);
            }
            Answer::Reset(reset) => {
                self.activity = Activity::Ended;
                self.mailbox.post(match reset {
                    Reset::Shutdown { failed } => Message::PowerOff { code: u8::from(failed) },
                    Reset::Reboot => Message::Reboot,
                });
            }
        }
    }

    fn give(&mut self, error: i64, value: u64) {
        let core = self.hart.core_mut();
        core.set_x(A0, error as u64);
        core.set_x(A1, value);
    }

    /// The end of a suspension (SBI 3.0, table 7: translation and interrupts off at an address given).
    fn wake(&mut self, resume: Option<Resume>) {
        self.machine.harts().begin(self.id);
        self.activity = Activity::Running;
        if let Some(Resume { pc, opaque }) = resume {
            let core = self.hart.core_mut();
            core.with_csr(|csr| {
                csr.prv = Priv::Supervisor;
                csr.satp = 0;
                csr.mstatus &= !status::SIE;
            });
            core.set_pc(pc);
            core.set_x(A0, self.id as u64);
            core.set_x(A1, opaque);
        }
    }

    /// What a CSR access sees beside the registers.
    pub(super) fn env(&self) -> CsrEnv {
        let (core, cluster) = (self.hart.core(), self.machine.cluster());
        CsrEnv {
            time: cluster.clock().now(),
            cycle: core.retired(),
            instret: core.retired(),
            lines: cluster.port(self.id).lines(),
        }
    }

    /// The registers, for people.
    fn describe(&self) -> String {
        let core = self.hart.core();
        let mut text = format!("hart {} ({:?})\npc  {:016x}", self.id, self.activity, core.pc());
        for r in 1..32 {
            text.push_str(if r % 4 == 0 { "\n" } else { "  " });
            text.push_str(&format!("x{r:<2} {:016x}", core.x(r)));
        }
        format!("{text}\n{}\n", core.csr().dump(self.env()))
    }
}
