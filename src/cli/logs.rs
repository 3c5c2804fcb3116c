//! Where log lines go: to stderr, as text or JSON.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

/// Once a process; a second call changes nothing.
pub fn start(directives: &str, format: LogFormat) {
    // The server's own tidings of its threads tell an operator nothing; a directive that is given wins.
    let filter = EnvFilter::new(format!("actix_server=warn,{directives}"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    // Fails only where a test has installed its own already.
    let _ = match format {
        LogFormat::Text => lines.with_ansi(io::stderr().is_terminal()).with_target(false).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
}
