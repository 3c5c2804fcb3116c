//! `gatepost serve`: the server, until a signal ends it.

use tokio::signal::unix::{SignalKind, signal};

use crate::app::{App, Failure, Running};
use crate::config::Settings;
use crate::domain::Clock;

pub fn run(settings: Settings) -> Result<(), Failure> {
    actix_web::rt::System::new().block_on(async {
        let running = App::start(settings, Clock::default()).await?;
        announce(&running);
        until_signal().await?;
        tracing::info!("stopping");
        running.stop().await;
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

/// SIGTERM, as from systemd and Docker, or SIGINT, as from a terminal.
pub async fn until_signal() -> Result<(), Failure> {
    let listen = |kind| signal(kind).map_err(|error| Failure::new(format!("signals can't be listened for: {error}")));
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
