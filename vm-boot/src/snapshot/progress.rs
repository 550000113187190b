//! A bar on the terminal for work that takes long. There is none where nobody looks, and none for what is done in a
//! moment.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// What is done by then needs no bar.
const PATIENCE: Duration = Duration::from_millis(700);

/// How far a piece of work is.
pub struct Progress {
    what: &'static str,
    total: u64,
    begun: Instant,
    bar: OnceLock<ProgressBar>,
}

impl Progress {
    /// Begins with so many bytes to go.
    pub fn of(what: &'static str, total: u64) -> Progress {
        Progress { what, total, begun: Instant::now(), bar: OnceLock::new() }
    }

    /// Bytes done, in all.
    pub fn at(&self, done: u64) {
        if self.begun.elapsed() >= PATIENCE {
            self.bar.get_or_init(|| bar(self.what, self.total)).set_position(done);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.get().into_iter().for_each(ProgressBar::finish_and_clear);
    }
}

fn bar(what: &'static str, total: u64) -> ProgressBar {
    // Hidden if standard error is no terminal.
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(10));
    let style = ProgressStyle::with_template("{msg:10} {wide_bar} {bytes}/{total_bytes} {eta}");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())).with_message(what)
}
