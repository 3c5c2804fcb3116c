//! Connection to Redis: opened, tested, and reopened in the background after each break, so that no call waits for it.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use metrics::Gauge;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, InfoDict, RedisError, RedisResult, Script, ScriptInvocation};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::{Answer, UnreportedCounts, add, begin};
use crate::config::redis::{Redis, Server};
use crate::domain::limit::Limit;
use crate::domain::{Error, Result};

const CONNECT: Duration = Duration::from_secs(1);
/// Pause between attempts to connect. It also limits how often a connection that breaks at its first call is reopened.
const RECONNECT: Duration = Duration::from_millis(500);
/// Interval between tests of an idle connection, so that `/readyz` and metrics notice a break.
const TRIAL: Duration = Duration::from_secs(5);

/// Connection shared by all calls, with its serial number.
#[derive(Clone)]
pub struct RedisConnection {
    pub connection: MultiplexedConnection,
    /// Serial number, starting with 1.
    pub number: u32,
}

/// Keeps a connection open until it is dropped.
pub struct Reconnector {
    state: Arc<State>,
    work: AbortHandle,
}

struct State {
    server: Server,
    client: Client,
    timeout: Duration,
    script: Arc<Script>,
    /// Redis key used to test a new connection.
    trial: String,
    kept: RwLock<Kept>,
    has_broken: Notify,
    up: Gauge,
}

#[derive(Default)]
struct Kept {
    line: Option<RedisConnection>,
    /// Number of connections so far.
    made: u32,
}

impl Reconnector {
    pub async fn start(redis: &Redis, script: Arc<Script>, trial: String) -> Result<Self> {
        metrics::describe_gauge!(
            "gatepost_shared_limits_up",
            "1 while limits are counted in Redis, 0 while it is away"
        );
        let state = Arc::new(State {
            server: redis.server.clone(),
            client: Client::open(redis.server.info()).map_err(Error::bug)?,
            timeout: redis.timeout,
            script,
            trial,
            kept: RwLock::default(),
            has_broken: Notify::new(),
            up: metrics::gauge!("gatepost_shared_limits_up"),
        });
        if let Err(error) = state.connect().await {
            state.warn(&error);
            state.has_broken.notify_one();
        }
        let work = tokio::spawn(Arc::clone(&state).keep()).abort_handle();
        Ok(Self { state, work })
    }

    /// Returns the connection, or `None` while there is none.
    pub fn line(&self) -> Option<RedisConnection> {
        self.state.line()
    }

    /// Reports a broken connection. No further call uses it.
    pub fn broke(&self, line: &RedisConnection, error: &RedisError) {
        self.state.broke(line, error);
    }
}

impl Drop for Reconnector {
    fn drop(&mut self) {
        self.work.abort();
    }
}

impl State {
    async fn keep(self: Arc<Self>) {
        loop {
            if tokio::time::timeout(TRIAL, self.has_broken.notified()).await.is_err() {
                self.try_line().await;
                continue;
            }
            loop {
                tokio::time::sleep(RECONNECT).await;
                match self.connect().await {
                    Ok(()) => break,
                    Err(error) => tracing::debug!(cause = error.to_string(), "Redis is still away"),
                }
            }
            tracing::info!(server = %self.server, "Redis is back: limits are counted there");
        }
    }

    async fn try_line(&self) {
        let Some(mut line) = self.line() else { return };
        if let Err(error) = try_out(&self.script, &self.trial, &mut line.connection).await {
            self.broke(&line, &error);
        }
    }

    fn line(&self) -> Option<RedisConnection> {
        self.kept.read().unwrap_or_else(PoisonError::into_inner).line.clone()
    }

    fn broke(&self, line: &RedisConnection, error: &RedisError) {
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        // Only the first of all calls that fail on one connection reports it.
        if kept.line.as_ref().is_some_and(|kept| kept.number == line.number) {
            kept.line = None;
            self.warn(error);
            self.has_broken.notify_one();
        }
    }

    /// Opens a connection and tests that counting works. A server that is full or read-only is of no use.
    async fn connect(&self) -> RedisResult<()> {
        let config = AsyncConnectionConfig::new();
        let config = config.set_connection_timeout(Some(CONNECT)).set_response_timeout(Some(self.timeout));
        let mut connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        try_out(&self.script, &self.trial, &mut connection).await?;
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        kept.made = kept.made.wrapping_add(1).max(1);
        kept.line = Some(RedisConnection { connection, number: kept.made });
        self.up.set(1.0);
        Ok(())
    }

    fn warn(&self, error: &RedisError) {
        self.up.set(0.0);
        tracing::warn!(
            server = %self.server,
            cause = error.to_string(),
            "limits can't be counted in Redis: GATEPOST_REDIS_OUTAGE says what holds meanwhile"
        );
    }
}

async fn try_out(script: &Script, name: &str, connection: &mut MultiplexedConnection) -> RedisResult<()> {
    let mut call = script.prepare_invoke();
    trial(&mut call, name);
    call.invoke_async(connection).await.map(|_: Answer| ())
}

/// Facts about a Redis server, as far as this user may read them.
#[derive(Debug)]
pub struct Report {
    pub version: Option<String>,
    /// True if it belongs to a cluster, which spreads the limits of one call over several servers.
    pub is_of_a_cluster: bool,
    /// Policy that evicts counts early to free memory, if one is active.
    pub eviction: Option<String>,
}

/// Examines a server for `gatepost doctor`. Counts a test call there.
pub fn examine(server: &Server) -> RedisResult<Report> {
    let mut connection = Client::open(server.info())?.get_connection_with_timeout(CONNECT)?;
    connection.set_read_timeout(Some(CONNECT))?;
    connection.set_write_timeout(Some(CONNECT))?;
    let script = super::script();
    let mut call = script.prepare_invoke();
    trial(&mut call, "gatepost:doctor:trial");
    let _: Answer = call.invoke(&mut connection)?;
    // A user who may count need not have the right to run INFO.
    let info: Option<InfoDict> = Cmd::new().arg("INFO").query(&mut connection).ok();
    let say = |name| info.as_ref().and_then(|info| info.get::<String>(name));
    let has_a_bound = say("maxmemory").is_some_and(|bytes| bytes != "0");
    let eviction = say("maxmemory_policy").filter(|policy| has_a_bound && policy != "noeviction");
    let is_of_a_cluster = say("redis_mode").is_some_and(|mode| mode == "cluster");
    Ok(Report { version: say("redis_version"), is_of_a_cluster, eviction })
}

fn trial(call: &mut ScriptInvocation<'_>, name: &str) {
    begin(call, 0, 1, true);
    add(call, name, Limit { quota: u64::from(u32::MAX), window_seconds: 1 }, &UnreportedCounts::NOTHING);
}
