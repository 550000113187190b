//! What becomes of a defect of this program: a panic ends it in order, with the terminal restored, a message
//! and exit code 1.
//!
//! ```text
//!  hart thread    [`catch`]: the control plane hears of it, ends the machine, then the program
//!  any other      ends the program at once: somebody waits for it who would wait for ever
//! ```

use std::cell::Cell;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};

use crate::console::terminal;

/// Exit code of a machine that failed.
pub const FAILURE: u8 = 1;

thread_local! {
    /// Somebody up the stack catches what happens here.
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// Has every panic from now on restore the terminal, and those that nobody catches end the program.
pub fn end_on_panic() {
    let report = take_hook();
    set_hook(Box::new(move |panic| {
        terminal::restore();
        report(panic);
        if !CAUGHT.try_with(Cell::get).unwrap_or(false) {
            let thread = std::thread::current();
            let name = thread.name().unwrap_or("without a name");
            say(&format!("thread {name} failed; this is a defect of vm-boot, please report it"));
            std::process::exit(FAILURE.into());
        }
    }));
}

/// Does `work`; gives what it said if it panicked. The caller drops what `work` has left half done.
pub fn catch(work: impl FnOnce()) -> Result<(), String> {
    let outer = CAUGHT.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(work));
    CAUGHT.set(outer);
    outcome.map_err(|panic| match (panic.downcast_ref::<String>(), panic.downcast_ref::<&str>()) {
        (Some(text), _) => text.clone(),
        (None, Some(text)) => (*text).to_owned(),
        (None, None) => "panicked".to_owned(),
    })
}

/// Tells the user something, in one write: the guest's own output may go to the same terminal meanwhile.
/// Standard error may be gone, which is no reason to fail.
pub fn say(text: &str) {
    let _ = std::io::stderr().write_all(format!("vm-boot: {text}\n").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_caught_with_what_it_said() {
        assert_eq!(catch(|| {}), Ok(()));
        assert_eq!(catch(|| panic!("plain")), Err("plain".to_owned()));
        assert_eq!(catch(|| panic!("number {}", 7)), Err("number 7".to_owned()));
        assert_eq!(catch(|| std::panic::panic_any(7)), Err("panicked".to_owned()));
        assert!(!CAUGHT.get());
    }
}
