//! The runtime: a machine's life from start to end.
//!
//! ```text
//!  control (signals, ticks) ──► poll_events ──► commands ──► update_state ──► Crew (hart threads)
//!  harts, devices, keyboard ──► Mailbox ──┘                      └──► Event to every subscriber
//! ```
//! **Invariant**: only [`Runtime::update_state`] changes the state, and each change is an [`Event`].
//! Hart threads never wait for the control plane except in their seats.

mod caller;
mod control;
mod crew;
mod htif;
mod mailbox;
mod monitor;
mod process;
mod profile;
mod seat;
mod snapshot;
mod state;
mod vcpu;

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use thiserror::Error;

use crate::config::MachineConfig;
use crate::console::{Console, Consoles, Input, PROMPT, Reader, Typed};
use crate::loader::Htif;
use crate::machine::{Machine, MachineError};
use crate::metrics::{Memory, Metrics, Region, nanoseconds};
use crate::snapshot::{Refusal, SaveError};
pub use control::Control;
use crew::Crew;
use mailbox::{Inbox, Keyboard, exit_code, mailbox};
pub use mailbox::{Mailbox, Message};
use monitor::Request;
pub use state::{Command, Illegal, State};

/// Something that happened to the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The state changed.
    State {
        /// What it was.
        from: State,
        /// What it is.
        to: State,
    },
    /// The machine began anew.
    Restarted,
    /// A snapshot was taken.
    Saved {
        /// Where it is.
        dir: PathBuf,
    },
    /// The machine goes on from a snapshot.
    Restored,
}

/// Why a machine cannot go on.
#[derive(Debug, Error)]
pub enum RuntimeError {
    /// It could not be put together or loaded.
    #[error(transparent)]
    Machine(#[from] MachineError),
    /// The host gives no thread or socket.
    #[error("runtime: {0}")]
    Host(#[from] io::Error),
    /// The profile has no place to go to.
    #[error("--profile {}: {source}", path.display())]
    Profile {
        /// Where it should go.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The metrics have no place to go to.
    #[error("--stats-file {}: {source}", path.display())]
    StatsFile {
        /// Where they should go.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A snapshot that was to be taken was not.
    #[error(transparent)]
    Save(#[from] SaveError),
    /// A snapshot is not one of this machine.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Started twice.
    #[error("cannot start a machine that is {0:?}")]
    NotStopped(State),
    /// A hart's thread failed; a defect of this program.
    #[error("hart {hart} failed: {reason}; this is a defect of vm-boot, please report it")]
    Hart {
        /// Which.
        hart: usize,
        /// What it said.
        reason: String,
    },
}

/// A machine and its life.
pub struct Runtime {
    machine: Arc<Machine>,
    consoles: Consoles,
    mailbox: Mailbox,
    inbox: Inbox,
    crew: Option<Crew>,
    state: State,
    subscribers: Vec<Sender<Event>>,
    htif: Option<Htif>,
    exit: u8,
    started: Instant,
    /// From the beginning of `new` until the harts ran.
    cold_start: Duration,
    created: Instant,
    /// What the clock showed when the machine was paused.
    paused_at: Option<u64>,
    /// How long the machine rested to be saved last.
    last_rest: Duration,
    /// When what code has run was written last, or when the machine was made.
    profiled: Instant,
}

impl Runtime {
    /// A stopped machine on its consoles.
    pub fn new(config: MachineConfig, consoles: Consoles) -> Result<Self, RuntimeError> {
        let created = Instant::now();
        let (mailbox, inbox) = mailbox()?;
        let machine = Arc::new(Machine::assemble(config, &consoles, Arc::new(mailbox.clone()))?);
        machine.hide_trials();
        machine.cluster().watch_timers()?;
        if let Some(jit) = machine.jit() {
            let mailbox = mailbox.clone();
            jit.call_when_full(Box::new(move || mailbox.post(Message::CacheFull)));
        }
        if let Some(text) = &machine.config().snapshot_on {
            for console in consoles.iter() {
                let mailbox = mailbox.clone();
                console.wait_for(text, Box::new(move || mailbox.post(Message::Marked)));
            }
        }
        Ok(Self {
            machine,
            consoles,
            mailbox,
            inbox,
            crew: None,
            state: State::Stopped,
            subscribers: Vec::new(),
            htif: None,
            exit: 0,
            started: created,
            cold_start: Duration::ZERO,
            created,
            paused_at: None,
            last_rest: Duration::ZERO,
            profiled: created,
        })
    }

    /// The device tree that the guest would be given.
    pub fn device_tree(&self) -> Result<Vec<u8>, RuntimeError> {
        Ok(self.machine.device_tree()?)
    }

    /// Loads the payload and lets the harts run.
    pub fn start(&mut self) -> Result<(), RuntimeError> {
        if self.state != State::Stopped {
            return Err(RuntimeError::NotStopped(self.state));
        }
        self.exit = 0;
        self.started = Instant::now();
        let start = self.machine.power_on()?;
        self.htif = start.htif;
        let crew = Crew::new(&self.machine, &self.consoles.serial, &self.mailbox)?;
        crew.begin(&start);
        self.crew = Some(crew);
        self.update_state(State::Running);
        self.cold_start = self.created.elapsed();
        Ok(())
    }

    /// Handles whatever has come in since the last call, and does a piece of the code cache's housekeeping. True if
    /// that has more to do right away.
    pub fn poll_events(&mut self) -> Result<bool, RuntimeError> {
        while let Some(message) = self.inbox.next() {
            self.handle(message)?;
        }
        if self.state == State::Running {
            self.poll_htif();
        }
        self.profile_if_due();
        let busy = self.machine.jit().is_some_and(|jit| jit.poll());
        if self.state == State::ShuttingDown {
            self.update_state(State::Stopped);
        }
        Ok(busy)
    }

    /// Makes a change of state happen, and tells it. The clock stands still while paused.
    fn update_state(&mut self, to: State) {
        match to {
            State::Running => {
                if let Some(ticks) = self.paused_at.take() {
                    self.machine.set_clock(ticks);
                }
                self.consoles.iter().for_each(|console| console.hold());
                self.crew.iter().for_each(Crew::go);
            }
            State::Paused => {
                self.rest();
                self.paused_at = self.paused_at.or(Some(self.machine.cluster().clock().now()));
            }
            State::ShuttingDown => self.rest(),
            State::Stopped => {
                self.rest();
                self.crew = None;
                self.paused_at = None;
            }
        }
        let from = std::mem::replace(&mut self.state, to);
        if from != to {
            tracing::info!(?from, ?to, "state");
            self.tell(Event::State { from, to });
        }
    }

    /// Carries out a command, or says why not.
    pub fn command(&mut self, command: Command) -> Result<Result<(), Illegal>, RuntimeError> {
        let to = match self.state.after(command) {
            Ok(to) => to,
            Err(illegal) => return Ok(Err(illegal)),
        };
        if command == Command::Reset {
            self.reset()?;
        } else {
            self.update_state(to);
        }
        Ok(Ok(()))
    }

    /// The machine itself.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// What the machine is doing.
    pub fn state(&self) -> State {
        self.state
    }

    /// The guest's exit code, once it has stopped.
    pub fn exit_code(&self) -> u8 {
        self.exit
    }

    /// Every event from now on.
    pub fn subscribe(&mut self) -> Receiver<Event> {
        let (send, receive) = channel();
        self.subscribers.push(send);
        receive
    }

    /// Where other threads post messages.
    pub fn mailbox(&self) -> &Mailbox {
        &self.mailbox
    }

    /// Readable when there are messages to poll for.
    fn bell(&self) -> io::Result<UnixStream> {
        self.inbox.bell()
    }

    /// Starts reading the input of the serial port's console.
    pub fn listen(&self, input: Input) -> io::Result<Reader> {
        let machine = self.machine.clone();
        self.read(input, &self.consoles.serial, move || machine.serial_ready())
    }

    /// Starts reading the input of the virtio console, if there is one.
    pub fn listen_virtio(&self, input: Input) -> io::Result<Option<Reader>> {
        let machine = self.machine.clone();
        let ready = move || machine.virtio_console_ready();
        self.consoles.virtio.as_ref().map(|console| self.read(input, console, ready)).transpose()
    }

    fn read(
        &self,
        input: Input,
        console: &Arc<Console>,
        ready: impl Fn() + Send + 'static,
    ) -> io::Result<Reader> {
        let keyboard = Keyboard { ready, mailbox: self.mailbox.clone(), console: console.clone() };
        Reader::start(input, console.clone(), Box::new(keyboard))
    }

    fn handle(&mut self, message: Message) -> Result<(), RuntimeError> {
        match message {
            Message::Command(command, reply) => {
                let result = self.command(command)?;
                if let Some(reply) = reply {
                    // Whoever asked may have gone.
                    let _ = reply.send(result);
                }
            }
            Message::PowerOff { code } => self.power_off(code),
            Message::Reboot => {
                if self.state.after(Command::Reset).is_ok() {
                    self.reset()?;
                }
            }
            Message::Marked => {
                self.save(&self.snapshot_dir())?;
                self.quit();
            }
            // That something came in is all there is to it: housekeeping follows.
            Message::CacheFull => {}
            Message::HartFailed { hart, reason } => return Err(RuntimeError::Hart { hart, reason }),
            Message::Typed(Typed::Quit, _) => self.quit(),
            Message::Typed(Typed::Save, console) => {
                let said = self.save_as_asked(None, None).replace('\n', "\r\n");
                console.print(&format!("\r\n{said}"));
            }
            Message::Typed(Typed::Command(line), console) => {
                let answer = self.monitor(&line)?;
                console.print(&answer.replace('\n', "\r\n"));
                console.print(PROMPT);
            }
        }
        Ok(())
    }

    /// The guest's own end.
    fn power_off(&mut self, code: u8) {
        if let Ok(to) = self.state.after(Command::Shutdown) {
            self.exit = code;
            self.update_state(to);
        }
    }

    fn quit(&mut self) {
        if let Ok(to) = self.state.after(Command::Stop) {
            self.update_state(to);
        }
    }

    /// Begins anew, in the state that the machine is in. What the guest asked for before is void.
    fn reset(&mut self) -> Result<(), RuntimeError> {
        let state = self.state;
        self.rest();
        let waiting: Vec<Message> = std::iter::from_fn(|| self.inbox.next()).collect();
        for message in waiting {
            if !matches!(message, Message::Reboot | Message::PowerOff { .. }) {
                self.mailbox.post(message);
            }
        }
        let start = self.machine.power_on()?;
        self.paused_at = self.paused_at.map(|_| 0);
        self.htif = start.htif;
        self.crew.iter().for_each(|crew| crew.begin(&start));
        self.tell(Event::Restarted);
        self.update_state(state);
        Ok(())
    }

    /// Brings the harts to rest. One that waits for the console's output is let go.
    fn rest(&mut self) {
        self.consoles.iter().for_each(|console| console.release());
        self.crew.iter().for_each(Crew::hold);
    }

    fn poll_htif(&mut self) {
        let Some(htif) = self.htif else { return };
        match htif::poll(htif, self.machine.memory(), &*self.consoles.serial) {
            Ok(None) => {}
            Ok(Some(code)) => self.power_off(exit_code(code)),
            Err(error) => {
                tracing::warn!(%error, "the host-target interface points outside of memory; left alone");
                self.htif = None;
            }
        }
    }

    fn monitor(&mut self, line: &str) -> Result<String, RuntimeError> {
        Ok(match Request::parse(line) {
            Request::Say(text) => text,
            Request::Info => self.info(),
            Request::Statistics => self.metrics().table(),
            Request::Registers(hart) => self.registers(hart),
            Request::Save { dir, base } => self.save_as_asked(dir, base),
            Request::Load(dir) => self.load_as_asked(dir)?,
            Request::Profile(file) => self.profile_as_asked(file),
            Request::Do(command) => match self.command(command)? {
                Ok(()) => String::new(),
                Err(illegal) => format!("{illegal}\n"),
            },
        })
    }

    fn info(&self) -> String {
        const KIB: u64 = 1 << 10;
        let (config, regions) = (self.machine.config(), self.machine.memory().regions());
        let resident: u64 = regions.iter().map(|region| region.resident).sum();
        let own = process::resident()
            .map_or("unknown".to_owned(), |all| format!("{} KiB", all.saturating_sub(resident) / KIB));
        format!(
            "state   {:?}\nuptime  {:.1?}\nharts   {} ({})\nmemory  {} KiB, {} KiB of it touched\n\
             vmm     {own} of its own\n",
            self.state,
            self.started.elapsed(),
            config.cpus,
            config.cpu.isa_string(),
            config.memory / KIB,
            resident / KIB,
        )
    }

    /// What the machine has done. Running harts are held for a moment, so that their counts are of now.
    pub fn metrics(&mut self) -> Metrics {
        if self.state == State::Running {
            self.rest();
            self.update_state(self.state);
        }
        let (config, cluster) = (self.machine.config(), self.machine.cluster());
        let regions: Vec<Region> = self.machine.memory().regions().iter().map(Region::from).collect();
        let guest_resident = regions.iter().map(|region| region.resident).sum();
        let own_resident = process::resident().map(|all| all.saturating_sub(guest_resident));
        let (minor_faults, major_faults) = process::faults().unwrap_or_default();
        Metrics {
            uptime_ns: nanoseconds(self.started.elapsed()),
            cold_start_ns: nanoseconds(self.cold_start),
            cpu_ns: nanoseconds(process::cpu()),
            memory: Memory {
                guest: config.memory,
                guest_resident,
                own_resident,
                minor_faults,
                major_faults,
                regions,
            },
            harts: (0..cluster.harts()).map(|hart| cluster.port(hart).tally().into()).collect(),
            compiler: self.machine.jit().map(|jit| jit.stats()),
            cache: self.machine.jit().map(|jit| jit.cache_counters()),
        }
    }

    /// Tells what the machine has done, as the options ask for it.
    pub fn report(&mut self) -> Result<(), RuntimeError> {
        let metrics = self.metrics();
        let config = self.machine.config();
        if let Some(path) = &config.stats_file {
            std::fs::write(path, metrics.json())
                .map_err(|source| RuntimeError::StatsFile { path: path.clone(), source })?;
        }
        if config.stats || config.stats_file.is_none() {
            // Standard error may be gone, which is no reason to fail.
            let _ = io::stderr().write_all(metrics.table().as_bytes());
        }
        Ok(())
    }

    /// A running machine is held for a moment.
    fn registers(&mut self, hart: usize) -> String {
        self.rest();
        let text = self.crew.as_ref().and_then(|crew| crew.registers(hart));
        self.update_state(self.state);
        text.unwrap_or_else(|| format!("there is no hart {hart}\n"))
    }

    fn tell(&mut self, event: Event) {
        self.subscribers.retain(|subscriber| subscriber.send(event.clone()).is_ok());
    }
}
