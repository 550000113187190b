//! The control plane: waits for messages, ticks and signals, and polls the runtime.

use std::io;
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::runtime::Runtime as Reactor;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Interval, MissedTickBehavior, interval, sleep};

use super::{Command, Runtime, RuntimeError, State};
use crate::console::terminal::{self, RawMode};

/// How often the runtime is polled without cause.
const TICK: Duration = Duration::from_millis(100);
/// The same while the code cache's housekeeping is in arrears: a pause between its steps.
const BUSY_TICK: Duration = Duration::from_millis(1);
/// The same while a bare program talks by words in memory.
const HTIF_TICK: Duration = Duration::from_millis(1);
/// Added to the number of a signal that ended the machine, as shells do.
const BY_SIGNAL: u8 = 128;

/// Waits for everything that concerns a started machine.
pub struct Control {
    reactor: Reactor,
    sources: Sources,
}

impl Control {
    /// Takes over the signals. Made before the terminal is changed: a signal before that ends the process
    /// as usual, one after it is waited for.
    pub fn new(runtime: &Runtime) -> io::Result<Self> {
        let reactor = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let sources = reactor.block_on(async { Sources::new(runtime) })?;
        Ok(Self { reactor, sources })
    }

    /// Drives the machine to its end; returns the exit code.
    pub fn drive(mut self, runtime: &mut Runtime, terminal: Option<&RawMode>) -> Result<u8, RuntimeError> {
        let ended = self.reactor.block_on(run(runtime, &mut self.sources, terminal));
        if runtime.state() != State::Stopped {
            runtime.update_state(State::Stopped);
        }
        ended
    }
}

/// What woke the control plane.
enum Woken {
    Poll,
    End(u8),
    Report,
    Suspend,
    Continue,
}

async fn run(
    runtime: &mut Runtime,
    sources: &mut Sources,
    terminal: Option<&RawMode>,
) -> Result<u8, RuntimeError> {
    loop {
        let busy = runtime.poll_events()?;
        if runtime.state() == State::Stopped {
            return Ok(runtime.exit_code());
        }
        match sources.next(busy).await? {
            Woken::Poll => {}
            // What was asked for in passing must not end the machine.
            Woken::Report => {
                if let Err(error) = runtime.report() {
                    tracing::warn!(%error, "no figures");
                }
            }
            Woken::End(signal) => {
                // From any state but the last one may stop.
                let _ = runtime.command(Command::Stop)?;
                return Ok(BY_SIGNAL + signal);
            }
            Woken::Suspend => {
                terminal.inspect(|terminal| terminal.pause());
                terminal::stop_process();
                terminal.map_or(Ok(()), RawMode::enter_again)?;
            }
            // Stopped without being asked: the shell may have changed the terminal meanwhile.
            Woken::Continue => terminal.map_or(Ok(()), RawMode::enter_again)?,
        }
    }
}

/// Everything that is waited for.
struct Sources {
    bell: UnixStream,
    tick: Interval,
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    quit: Signal,
    report: Signal,
    suspend: Signal,
    resume: Signal,
}

impl Sources {
    fn new(runtime: &Runtime) -> io::Result<Self> {
        let mut tick = interval(if runtime.htif.is_some() { HTIF_TICK } else { TICK });
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self {
            bell: UnixStream::from_std(runtime.bell()?)?,
            tick,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            quit: signal(SignalKind::quit())?,
            report: signal(SignalKind::user_defined1())?,
            suspend: signal(SignalKind::from_raw(libc::SIGTSTP))?,
            resume: signal(SignalKind::from_raw(libc::SIGCONT))?,
        })
    }

    async fn next(&mut self, busy: bool) -> io::Result<Woken> {
        let end = |signal: libc::c_int| Ok(Woken::End(signal as u8));
        tokio::select! {
            ready = self.bell.ready(Interest::READABLE) => {
                ready?;
                self.silence_bell()?;
                Ok(Woken::Poll)
            }
            _ = self.tick.tick() => Ok(Woken::Poll),
            () = sleep(BUSY_TICK), if busy => Ok(Woken::Poll),
            _ = self.interrupt.recv() => end(libc::SIGINT),
            _ = self.terminate.recv() => end(libc::SIGTERM),
            _ = self.hangup.recv() => end(libc::SIGHUP),
            _ = self.quit.recv() => end(libc::SIGQUIT),
            _ = self.report.recv() => Ok(Woken::Report),
            _ = self.suspend.recv() => Ok(Woken::Suspend),
            _ = self.resume.recv() => Ok(Woken::Continue),
        }
    }

    /// Takes all bytes, before the messages they stand for are looked at.
    fn silence_bell(&self) -> io::Result<()> {
        let mut bytes = [0; 256];
        loop {
            match self.bell.try_read(&mut bytes) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }
}
