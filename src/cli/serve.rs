//! `gatepost serve`: the server, until a signal ends it.

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

/// For the person at the console: these lines go to stdout, so that they stand apart from the log.
fn announce(running: &Running) {
    println!("Gatepost {} listens on http://{}", env!("CARGO_PKG_VERSION"), running.addr);
    println!("Database: {}", running.state.database);
    match &running.setup_link {
        Some(link) => {
            println!("Nobody is here yet. Make the first operator (this link works once, for 24 hours):\n  {link}")
        }
        None => println!("Open {}", running.url()),
    }
}

/// Signals that end the server, received from now on.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub fn listen() -> Result<Self, Failure> {
        let listen =
            |kind| signal(kind).map_err(|error| Failure::new(format!("signals can't be listened for: {error}")));
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    /// Waits for SIGTERM, as systemd and containers send it, or SIGINT, as a terminal sends it.
    async fn next(&mut self) -> Ending {
        tokio::select! {
            _ = self.terminate.recv() => Ending::Drained,
            _ = self.interrupt.recv() => Ending::Prompt,
        }
    }

    /// Serves until a signal comes, and stops as it says. A second signal stops at once.
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

/// How the server ends.
enum Ending {
    /// A balancer in front gets time to notice.
    Drained,
    /// A person at a terminal does not wait.
    Prompt,
}
