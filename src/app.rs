//! Wires everything together: from settings and a migrated database to a server that answers.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, OnceLock};

use actix_web::dev::ServerHandle;
use actix_web::rt;
use actix_web::web::Data;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::config::Settings;
use crate::domain::Clock;
use crate::store::Db;
use crate::web::server;
use crate::web::state::State;
use crate::web::throttle::Throttle;

/// Connections of the pools: pages, API.
const PAGES: u32 = 4;
const API: u32 = 6;

/// Why the server does not start, in one line.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Trouble(pub String);

pub struct App;

/// A server that answers, until it is told to stop.
pub struct Running {
    pub addr: SocketAddr,
    pub state: Data<State>,
    handle: ServerHandle,
    server: JoinHandle<std::io::Result<()>>,
}

impl App {
    /// Starts on a database that has been migrated; `settings.database_url` says where. Needs actix's runtime.
    pub async fn start(settings: Settings, clock: Clock) -> Result<Running, Trouble> {
        let settings = Arc::new(settings);
        let url = settings.database_url.clone().ok_or_else(|| Trouble("no database is set".to_owned()))?;
        let listener = bind(settings.bind)?;
        let addr = listener.local_addr().map_err(|error| Trouble(error.to_string()))?;
        let state = Data::new(State {
            clock,
            pages: Db::new(&url, PAGES),
            api: Db::new(&url, API),
            hashing: Arc::new(Semaphore::new(2)),
            throttle: Throttle::default(),
            metrics: recorder(),
            database: String::new(),
            settings,
        });
        let server = server::listen(state.clone(), listener).map_err(|error| Trouble(error.to_string()))?;
        Ok(Running { addr, state, handle: server.handle(), server: rt::spawn(server) })
    }
}

impl Running {
    /// Answers what has been asked, then stops.
    pub async fn stop(self) {
        self.handle.stop(true).await;
        // The server has ended by now; how it ended says nothing that anybody could act on.
        let _ = self.server.await;
    }
}

fn bind(addr: SocketAddr) -> Result<TcpListener, Trouble> {
    let listener = TcpListener::bind(addr).map_err(|error| {
        Trouble(match error.kind() {
            ErrorKind::AddrInUse => format!("{addr} is in use already: stop what listens there, or set GATEPOST_BIND"),
            ErrorKind::PermissionDenied => format!("{addr} may not be used by this user: set GATEPOST_BIND to a port above 1023"),
            _ => format!("{addr} can't be listened on: {error}"),
        })
    })?;
    listener.set_nonblocking(true).map_err(|error| Trouble(error.to_string()))?;
    Ok(listener)
}

/// One recorder for the whole process: the metrics crate knows only one.
fn recorder() -> PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    let install = || {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("another metrics recorder is in place: /metrics stays empty");
        }
        handle
    };
    HANDLE.get_or_init(install).clone()
}
