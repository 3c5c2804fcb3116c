//! Command `gatepost demo`: a server with sample data, a webhook receiver and steady traffic.

mod endpoints;
mod receiver;
mod scene;
mod traffic;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::serve::Signals;
use crate::app::{App, Failure};
use crate::config::{Missing, Refusal, Settings, Sources, table};
use crate::domain::Clock;
use receiver::Receiver;

/// Returns the settings of a demonstration: its own data directory and database, and webhooks that may reach this
/// machine.
pub fn settings(mut sources: Sources) -> Result<Settings, Failure> {
    for setting in [table::DATABASE_URL, table::PEPPER, table::PEPPERS_OLD, table::MASTER_KEY, table::MASTER_KEYS_OLD] {
        sources.leave_out(&setting);
    }
    let usual = Settings::examine(&sources, Missing::Leave).map_err(first)?;
    if !usual.bind.ip().is_loopback() {
        return Err(Failure::new("--bind: the demo has a public password, so it listens only on 127.0.0.1"));
    }
    sources.insist(&table::DATA_DIR, format!("{}-demo", usual.data_dir.display()));
    sources.insist(&table::ALLOW_PRIVATE_NETWORKS, "127.0.0.0/8".to_owned());
    sources.insist(&table::ALLOW_HTTP_WEBHOOKS, "true".to_owned());
    Ok(Settings::load(&sources)?)
}

fn first(refusals: Vec<Refusal>) -> Failure {
    refusals.into_iter().next().map_or_else(|| Failure::new("the settings are invalid"), Failure::from)
}

pub fn run(settings: Settings) -> Result<(), Failure> {
    actix_web::rt::System::new().block_on(async {
        let secrets = settings.data_dir.join("secrets/demo.json");
        let receiver = Receiver::start(beside(settings.bind))?;
        let running = App::start_with(settings, Clock::default(), endpoints::configure).await?;
        let cast = scene::set(&running.state, &secrets, receiver.addr).await?;
        let signals = Signals::listen()?;
        announce(running.url(), &cast, receiver.addr);
        let traffic = tokio::spawn(traffic::flow(running.base(), cast));
        signals.end(running).await;
        traffic.abort();
        receiver.stop().await;
        Ok(())
    })
}

/// Returns the receiver's address: the port after the server's, or any if the system chooses the server's.
fn beside(bind: SocketAddr) -> SocketAddr {
    let port = if bind.port() == 0 { 0 } else { bind.port().checked_add(1).unwrap_or(0) };
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

fn announce(url: &str, cast: &scene::Cast, receiver: SocketAddr) {
    let base = url.trim_end_matches('/');
    println!("This is a demo: its history is invented, its data is stored separately, and its password is public.");
    println!("Open     {url}");
    println!("Sign in  {} / {}", scene::EMAIL, scene::PASSWORD);
    println!("http://{receiver} receives the webhooks, and sometimes fails on purpose.");
    println!("Try the API keys:");
    println!("  curl -i -X POST {base}/webhook/orders -H 'X-API-Key: {}' -d '{{\"order\": 1}}'", cast.storefront);
    println!("  curl -i -X POST {base}/webhook/inventory -H 'X-API-Key: {}' -d '{{\"sku\": \"A-1\"}}'", cast.scanner);
    println!("  curl -i {base}/external/products -H 'X-API-Key: {}'", cast.storefront);
    println!("Access token for the API: {}", cast.token);
}
