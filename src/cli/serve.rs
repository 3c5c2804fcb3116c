//! Command `gatepost serve`: runs the server until a signal stops it.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::app::{App, Failure, Running};
use crate::config::Settings;
use crate::domain::Clock;

pub fn run(settings: Settings) -> Result<(), Failure> {
    actix_web::rt::System::new().block_on(async {
        let running = App::start(settings, Clock::default()).await?;
        let signals = Signals::listen()?;
        announce(&running);
        signals.end(running).await;
        Ok(())
    })
}

/// Prints addresses for the person at the console, to stdout, apart from the log.
fn announce(running: &Running) {
    println!("Gatepost {} listens on http://{}", env!("CARGO_PKG_VERSION"), running.addr);
    println!("Database: {}", running.state.database);
    match &running.setup_link {
        Some(link) => {
            println!("No operator exists yet. Create the first one (this link works once, within 24 hours):\n  {link}")
        }
        None => println!("Open {}", running.url()),
    }
}

/// Signals that stop the server, received from now on.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub fn listen() -> Result<Self, Failure> {
        let listen = |kind| signal(kind).map_err(|error| Failure::new(format!("can't listen for signals: {error}")));
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    /// Waits for SIGTERM, as sent by systemd and containers, or SIGINT, as sent by a terminal.
    async fn next(&mut self) -> Ending {
        tokio::select! {
            _ = self.terminate.recv() => Ending::Drained,
            _ = self.interrupt.recv() => Ending::Prompt,
        }
    }

    /// Serves until a signal arrives, then stops as it requires. A second signal stops at once.
    pub async fn end(mut self, running: Running) {
        let ending = self.next().await;
        let drain = match ending {
            Ending::Drained => running.state.settings.drain,
            Ending::Prompt => Duration::ZERO,
        };
        tracing::info!(drain_seconds = drain.as_secs(), "stopping");
        let again = async {
            self.next().await;
            tracing::warn!("a second signal: stopping at once");
        };
        running.stop_with(drain, again).await;
    }
}

/// Kind of stop.
enum Ending {
    /// After a drain, which gives a load balancer time to notice.
    Drained,
    /// Without a drain: a person at a terminal does not wait.
    Prompt,
}
