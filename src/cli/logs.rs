//! Log output to stderr, as text or JSON.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

/// Starts logging. Only the first call of a process has an effect.
pub fn start(directives: &str, format: LogFormat) {
    // Messages of actix about its threads do not help an operator. A given directive overrides this.
    let filter = EnvFilter::new(format!("actix_server=warn,{directives}"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    // Fails only if a test has installed its own subscriber.
    let _ = match format {
        LogFormat::Text => lines.with_ansi(io::stderr().is_terminal()).with_target(false).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
}
