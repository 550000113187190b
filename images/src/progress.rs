//! What the person at the terminal sees: one bar for the step being done.
//!
//! Without a terminal (in CI, in a log) each step is one plain line instead.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// The steps of one recipe, one bar at a time.
pub struct Progress {
    recipe: &'static str,
}

/// A step under way; the bar goes when the step is dropped.
pub struct Step {
    bar: ProgressBar,
}

impl Progress {
    /// Progress of the recipe with this name.
    pub fn new(recipe: &'static str) -> Self {
        Self { recipe }
    }

    /// A step whose length is not known.
    pub fn waiting(&self, what: &str) -> Step {
        self.step(ProgressBar::new_spinner(), "{spinner} {prefix}: {msg} [{elapsed}]", what)
    }

    /// A step of `length` units.
    pub fn counting(&self, what: &str, length: u64) -> Step {
        self.step(ProgressBar::new(length), "{prefix}: {msg} [{bar:30}] {pos}/{len} [{elapsed}]", what)
    }

    /// A step that tells how much of it is done in percent.
    pub fn percent(&self, what: &str) -> Step {
        self.step(ProgressBar::new(100), "{prefix}: {msg} [{bar:30}] {percent}% [{elapsed}]", what)
    }

    /// A line that stays.
    pub fn say(&self, what: &str) {
        eprintln!("{}: {what}", self.recipe);
    }

    fn step(&self, bar: ProgressBar, template: &str, what: &str) -> Step {
        let bar = bar.with_prefix(self.recipe).with_message(what.to_owned());
        if std::io::stderr().is_terminal() {
            // A template that does not parse leaves the default style, which serves too.
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style.progress_chars("=> "));
            }
            bar.enable_steady_tick(Duration::from_millis(100));
        } else {
            self.say(what);
        }
        Step { bar }
    }
}

impl Step {
    /// Says how far the step is, in its units.
    pub fn at(&self, position: u64) {
        self.bar.set_position(position);
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
