//! Logs go to standard error, never to standard output, which belongs to the guest's console.

use std::io::{IsTerminal, stderr};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

use crate::cli::{LogForm, Logging};

/// Environment variable that overrides `-v` with a filter by module, such as `vm_boot=debug`.
const FILTER: &str = "VM_BOOT_LOG";

/// Installs the subscriber for the whole process. A second call changes nothing.
pub fn init(logging: Logging) {
    let level = match logging.verbose {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let filter =
        EnvFilter::builder().with_default_directive(level.into()).with_env_var(FILTER).from_env_lossy();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr)
        // A reader of the log that has gone is no reason to fail.
        .log_internal_errors(false)
        .with_ansi(stderr().is_terminal());
    let installed = match logging.log {
        LogForm::Json => builder.json().try_init(),
        LogForm::Text => builder.with_target(logging.verbose > 1).try_init(),
    };
    if let Err(error) = installed {
        tracing::debug!("log already set up: {error}");
    }
}
