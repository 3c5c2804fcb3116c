//! Where log lines go: to stderr, as text or JSON.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

/// Once a process; a second call changes nothing.
pub fn start(directives: &str, format: LogFormat) {
    let lines = tracing_subscriber::fmt().with_env_filter(EnvFilter::new(directives)).with_writer(io::stderr);
    // Fails only where a test has installed its own already.
    let _ = match format {
        LogFormat::Text => lines.with_ansi(io::stderr().is_terminal()).with_target(false).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
}
