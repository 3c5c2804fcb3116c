//! Wiring of the application: starts and stops database, gate, workers and server.

pub mod database;

use std::future::{Future, pending};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::web::Data;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::sync::mpsc::Receiver;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::sleep;

use crate::config::{Refusal, Settings};
use crate::domain::digest::Hasher;
use crate::domain::vault::Vault;
use crate::domain::{Clock, Error};
use crate::gate::Gate;
use crate::gate::cache_trust::Listening;
use crate::gate::hashing::Hashing;
use crate::gate::meter::Meter;
use crate::gate::shared::Shared;
use crate::gate::tokens::TokenGate;
use crate::outbound::{Mailer, Outbound};
use crate::services::outbox::{Outbox, Waiting};
use crate::services::{accounts, instance, webhooks};
use crate::store::embedded::Trouble;
use crate::store::fitness::Unfit;
use crate::store::notify::Change;
use crate::store::{ChangeListener, Db, Scope, Sharing};
use crate::web::cookies::CookieNames;
use crate::web::state::{self, State};
use crate::web::throttle::Throttle;
use crate::web::{server, urls};
use crate::workers::{ChangeHandler, Context, Workers};
use database::Database;

/// Connections of each pool. With the listener's they stay below the limit of the private Postgres.
const PAGES: u32 = 4;
const API: u32 = 6;
const REPORTS: u32 = 3;
const GATE: u32 = 2;
const WORKERS: u32 = 4;
/// Maximum number of connections of a pool that one tenant may hold.
const PAGES_OF_ONE: usize = 3;
const API_OF_ONE: usize = 4;
const REPORTS_OF_ONE: usize = 1;

/// Reason why Gatepost does not start, as one sentence for the person who starts it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Failure(String);

impl Failure {
    pub fn new(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        Self(trouble.to_string())
    }
}

impl From<Unfit> for Failure {
    fn from(unfit: Unfit) -> Self {
        Self(unfit.to_string())
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self(refusal.to_string())
    }
}

impl From<Error> for Failure {
    /// Shows the cause of an error: the person at the console is the operator.
    fn from(error: Error) -> Self {
        match &error {
            Error::Invalid(errors) => {
                let fields = errors.iter().map(|it| format!("{} {}", it.field, it.detail));
                Self(fields.collect::<Vec<_>>().join("; "))
            }
            Error::Unavailable(source) | Error::Bug(source) => Self(format!("{error}: {source}")),
            _ => Self(error.to_string()),
        }
    }
}

/// Entry point to start the application.
pub struct App;

/// Running server. Dropping it without [`Running::stop`] cuts requests off.
pub struct Running {
    pub addr: SocketAddr,
    pub state: Data<State>,
    /// Link to create the first operator. `None` if a user exists.
    pub setup_link: Option<String>,
    server: ServerHandle,
    serving: JoinHandle<std::io::Result<()>>,
    workers: Workers,
    database: Database,
}

/// Audience that passes changes of other replicas on to the gates.
struct Gates(Data<State>);

impl ChangeHandler for Gates {
    fn hear(&self, change: &Change) {
        self.0.hear(change);
    }

    fn set_listening(&self, listening: Listening) {
        self.0.set_listening(listening);
    }
}

impl App {
    /// Starts everything. If a part fails, nothing is left running.
    pub async fn start(settings: Settings, clock: Clock) -> Result<Running, Failure> {
        Self::start_with(settings, clock, |_| ()).await
    }

    /// Starts everything, with additional routes.
    pub async fn start_with(
        mut settings: Settings,
        clock: Clock,
        more: server::MoreRoutes,
    ) -> Result<Running, Failure> {
        // Install the recorder first: metrics recorded before it are lost.
        let metrics = metrics();
        // Bind the port next: if it is taken, nothing else needs to start.
        let listener = listen(&mut settings)?;
        let addr = listener.local_addr().map_err(|error| Failure::new(error.to_string()))?;
        let settings = Arc::new(settings);
        let opened = Arc::clone(&settings);
        let database = spawn_blocking(move || Database::open_for_serving(&opened)).await.map_err(Error::bug)??;
        let vault = Arc::new(settings.vault());
        let changes = ChangeListener::default();
        let open = |db: Db| db.with_clock(&clock).with_listener(&changes);
        let pages = open(Db::new(database.url(), PAGES)).shared_among(Sharing::Tenants, PAGES_OF_ONE);
        let setup_link = first_steps(&settings, &vault, &pages).await?;
        let hasher = Arc::new(Hasher::new(settings.peppers.clone(), settings.key_hash));
        let gate_db = open(Db::new(database.url(), GATE));
        let meter = Meter::start(open(Db::new(database.url(), WORKERS)), settings.usage_flush);
        let shared = shared_limits(&settings, &gate_db, &clock).await?;
        let instance_id = pages.tx(Scope::Instance, |tx| instance::id(tx)).await?;
        let (outbox, posts) = Outbox::new();
        let state = Data::new(State {
            outbox,
            gate: Arc::new(Gate::new(gate_db.clone(), Arc::clone(&hasher), clock.clone(), meter.clone(), shared)?),
            tokens: Arc::new(TokenGate::new(gate_db, Arc::clone(&hasher), clock.clone(), meter)),
            hasher,
            vault,
            policy: Arc::new(settings.address_policy()),
            delivery_signal: Arc::default(),
            readiness: Arc::default(),
            clock: clock.clone(),
            api: open(Db::new(database.url(), API)).shared_among(Sharing::Tenants, API_OF_ONE),
            reports: open(Db::for_reports(database.url(), REPORTS, settings.report_limit))
                .shared_among(Sharing::All, REPORTS_OF_ONE),
            pages,
            hashing: Hashing::start(state::PATIENCE).map_err(Error::bug)?,
            throttle: Throttle::new()?,
            metrics,
            cookies: CookieNames::new(&instance_id, settings.cookie_secure),
            database: database.describe(),
            settings,
        });
        hear_own_changes(&state, &changes);
        let workers = workers(&state, open(Db::by_index(database.url(), WORKERS)), posts)?;
        // Check before serving, so that a fresh start is ready with its first response.
        state.readiness.first_check().await;
        let server = server::listen(state.clone(), listener, more).map_err(|error| Failure::new(error.to_string()))?;
        Ok(Running {
            addr,
            state,
            setup_link,
            server: server.handle(),
            serving: tokio::spawn(server),
            workers,
            database,
        })
    }
}

impl Running {
    /// Stops without a drain.
    pub async fn stop(self) {
        self.stop_with(Duration::ZERO, pending()).await;
    }

    /// Serves for `drain` while `/readyz` returns 503. Then closes the listener, lets requests finish, stops the
    /// workers, writes buffered usage, and stops the private Postgres. `hurry` ends every wait for requests.
    pub async fn stop_with(self, drain: Duration, hurry: impl Future<Output = ()>) {
        let Self { state, server, mut serving, workers, database, .. } = self;
        state.readiness.stop();
        let finish = async {
            sleep(drain).await;
            server.stop(true).await;
            if let Ok(Err(error)) = (&mut serving).await {
                tracing::error!(%error, "the server ended badly");
            }
            workers.stop().await;
        };
        let is_finished = tokio::select! {
            () = finish => true,
            () = hurry => false,
        };
        if !is_finished {
            // Requests of clients are cut off. Webhook requests are made again once their leases have expired.
            serving.abort();
        }
        state.gate.meter().stop().await;
        state.gate.close().await;
        // Stopping Postgres blocks, so it runs off the async threads.
        let _ = spawn_blocking(move || drop(database)).await;
    }

    /// Returns the listening address as a base URL.
    pub fn base(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Returns the URL for a browser on this machine.
    pub fn url(&self) -> &str {
        self.state.settings.public_url.as_str()
    }
}

/// Connects to Redis for shared rate limits, if one is configured.
pub async fn shared_limits(settings: &Settings, db: &Db, clock: &Clock) -> Result<Option<Shared>, Error> {
    let Some(redis) = &settings.redis else { return Ok(None) };
    let id = db.tx(Scope::Instance, |tx| instance::id(tx)).await?;
    Shared::start(redis, id, clock.clone()).await.map(Some)
}

/// Lets the caches hear of this process's own changes.
fn hear_own_changes(state: &Data<State>, changes: &ChangeListener) {
    // Weak, since the state owns the pools that hold the listener.
    let state = Arc::downgrade(&state.clone().into_inner());
    changes.set(move |change| {
        if let Some(state) = state.upgrade() {
            state.hear(change);
        }
    });
}

fn workers(state: &Data<State>, db: Db, posts: Receiver<Waiting>) -> Result<Workers, Error> {
    let context = Context {
        db,
        clock: state.clock.clone(),
        vault: Arc::clone(&state.vault),
        outbound: Outbound::new(state.settings.address_policy())?,
        mailer: state.settings.smtp.as_ref().map(Mailer::new).transpose()?.map(Arc::new),
        claim_lock: Arc::default(),
        delivery_signal: Arc::clone(&state.delivery_signal),
        readiness: Arc::clone(&state.readiness),
        slots: state.settings.deliveries_in_flight,
        per_tenant: state.settings.tenant_in_flight,
        lease: state.settings.lease,
        retention: state.settings.retention,
    };
    Workers::start(context, posts, vec![Arc::new(Gates(state.clone()))])
}

/// Binds the listener. If the system chose the port, the public URL gets it too.
fn listen(settings: &mut Settings) -> Result<TcpListener, Failure> {
    let bind = settings.bind;
    let listener = TcpListener::bind(bind).map_err(|error| {
        Failure::new(match error.kind() {
            std::io::ErrorKind::AddrInUse => {
                format!("{bind} is in use by another program: stop that, or choose another address with --bind or GATEPOST_BIND")
            }
            std::io::ErrorKind::PermissionDenied => {
                format!("{bind} may not be used by this user: choose a port above 1023 with --bind or GATEPOST_BIND")
            }
            _ => format!("{bind} can't be listened on: {error}"),
        })
    })?;
    if bind.port() == 0
        && !settings.has_public_url()
        && let Ok(addr) = listener.local_addr()
    {
        // Setting a port cannot fail on a URL with a host.
        let _ = settings.public_url.set_port(Some(addr.port()));
    }
    Ok(listener)
}

/// Checks that the secrets match the database, and makes the setup link if no user exists.
async fn first_steps(settings: &Arc<Settings>, vault: &Arc<Vault>, db: &Db) -> Result<Option<String>, Failure> {
    let (settings, vault) = (Arc::clone(settings), Arc::clone(vault));
    let url = settings.public_url.clone();
    let token = db.tx(Scope::Instance, move |conn| {
        instance::recognize(conn, &settings.peppers, &vault)?;
        webhooks::headers::seal_plain(conn, &vault)?;
        accounts::offer_setup(conn)
    });
    let link = |token: String| url.join(&urls::setup_with(&token)).map(String::from).unwrap_or_default();
    Ok(token.await?.map(link))
}

/// Returns the metrics recorder, one per process for any number of servers.
fn metrics() -> PrometheusHandle {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    let install = || {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("another metrics recorder is in place: /metrics stays empty");
        }
        handle
    };
    RECORDER.get_or_init(install).clone()
}
