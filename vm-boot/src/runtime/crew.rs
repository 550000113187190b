//! The threads of all harts, as one: begun, held, let go and ended together.

use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use super::mailbox::Mailbox;
use super::seat::Seat;
use super::vcpu::Vcpu;
use crate::console::Console;
use crate::machine::{Machine, Start};
use crate::snapshot::VcpuRecord;

/// One thread a hart, all in their seats at first.
pub(super) struct Crew {
    machine: Arc<Machine>,
    seats: Arc<[Seat]>,
    threads: Vec<JoinHandle<()>>,
}

impl Crew {
    /// Starts the threads.
    pub fn new(machine: &Arc<Machine>, console: &Arc<Console>, mailbox: &Mailbox) -> io::Result<Self> {
        let count = machine.config().cpus;
        let seats: Arc<[Seat]> = (0..count).map(|_| Seat::default()).collect();
        let mut crew = Self { machine: machine.clone(), seats, threads: Vec::new() };
        for id in 0..count {
            let (seats, console) = (crew.seats.clone(), console.clone());
            let vcpu = Vcpu::new(id, machine.clone(), seats, console, mailbox.clone());
            let thread = Builder::new().name(format!("hart {id}")).spawn(move || vcpu.live())?;
            crew.threads.push(thread);
        }
        Ok(crew)
    }

    /// Resets all harts, which are held.
    pub fn begin(&self, start: &Start) {
        for (seat, entry) in self.seats.iter().zip(&start.entries) {
            seat.begin(*entry, start.sbi);
        }
    }

    /// The states of all harts, which are held; `None` if the thread of one has failed.
    pub fn save(&self) -> Option<Vec<VcpuRecord>> {
        self.seats.iter().map(Seat::save).collect()
    }

    /// Makes all harts, which are held, go on from saved states.
    pub fn load(&self, records: &[VcpuRecord]) {
        self.seats.iter().zip(records).for_each(|(seat, record)| seat.load(record.clone()));
    }

    /// Lets all harts execute.
    pub fn go(&self) {
        self.seats.iter().for_each(Seat::go);
    }

    /// Brings all harts to rest; returns when none executes.
    pub fn hold(&self) {
        for (hart, seat) in self.seats.iter().enumerate() {
            seat.hold();
            self.machine.cluster().request_exit(hart);
        }
        // A thread that failed to start has no seat to come to.
        self.seats.iter().take(self.threads.len()).for_each(Seat::wait_until_parked);
    }

    /// The registers of a hart as of its last rest.
    pub fn registers(&self, hart: usize) -> Option<String> {
        self.seats.get(hart).map(Seat::registers)
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.hold();
        self.seats.iter().for_each(Seat::end);
        for thread in self.threads.drain(..) {
            // Panics are caught in the thread and reported as messages.
            let _ = thread.join();
        }
    }
}
