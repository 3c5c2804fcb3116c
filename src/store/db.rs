//! The one door to the database: a bounded pool, and a transaction with its scope set.

use std::sync::Arc;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::connection::{AnsiTransactionManager, TransactionManager};
use diesel::pg::PgConnection;
use diesel::r2d2::{ConnectionManager, CustomizeConnection, Pool, PooledConnection};
use diesel::sql_types::Text;
use diesel::{Connection, RunQueryDsl};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::kept::kept;
use crate::domain::{Error, Result, TenantId};

/// How long a caller waits for a free connection before 503.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a transaction may see: one tenant's rows (held by row-level security), or the whole instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    Tenant(TenantId),
    /// Sign-in, gate fill, workers and operators.
    Instance,
}

impl Scope {
    fn enter(self, conn: &mut PgConnection) -> Result<()> {
        if let Self::Tenant(tenant) = self {
            kept("SELECT set_config('role', 'gatepost_app', TRUE), set_config('gatepost.tenant_id', $1, TRUE)")
                .bind::<Text, _>(tenant.to_string())
                .execute(conn)?;
        }
        Ok(())
    }
}

/// What each connection of a pool is set to when it is made.
#[derive(Debug)]
struct Set(&'static str);

/// Statements are short: to compile one takes longer than to run it.
const SHORT: Set = Set("SET jit = off");
/// A plain scan of an index also notes which of its entries are dead, which a bitmap of it does not: what is leased and
/// settled all the time stays quick to read until the next vacuum. And a plan that was made is kept: with many partitions
/// PostgreSQL takes one for each call's own values to be cheaper, and makes it anew each time.
const BY_INDEX: Set =
    Set("SET jit = off; SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_hashjoin = off;
    SET enable_mergejoin = off; SET plan_cache_mode = force_generic_plan");

impl CustomizeConnection<PgConnection, diesel::r2d2::Error> for Set {
    fn on_acquire(&self, conn: &mut PgConnection) -> Result<(), diesel::r2d2::Error> {
        conn.batch_execute(self.0).map_err(diesel::r2d2::Error::QueryError)
    }
}

type Connections = Pool<ConnectionManager<PgConnection>>;
type Pooled = PooledConnection<ConnectionManager<PgConnection>>;

/// A pool of its own, so that pages, API and workers never starve each other. Cheap to clone.
#[derive(Clone)]
pub struct Db {
    pool: Connections,
    permits: Arc<Semaphore>,
    url: Arc<str>,
}

impl Db {
    /// Opens no connection yet: they are made when first needed.
    pub fn new(url: &str, size: u32) -> Self {
        Self::with(url, size, SHORT)
    }

    /// For workers, whose statements find single rows in tables that grow: their plans go by index from the start,
    /// whatever a table looked like when they were made.
    pub fn by_index(url: &str, size: u32) -> Self {
        Self::with(url, size, BY_INDEX)
    }

    fn with(url: &str, size: u32, set: Set) -> Self {
        let pool = Pool::builder()
            .connection_customizer(Box::new(set))
            .max_size(size)
            .min_idle(Some(0))
            .idle_timeout(Some(Duration::from_secs(300)))
            .test_on_check_out(false)
            .connection_timeout(PATIENCE)
            .error_handler(Box::new(diesel::r2d2::NopErrorHandler))
            .build_unchecked(ConnectionManager::new(url));
        let permits = Arc::new(Semaphore::new(usize::try_from(size).unwrap_or(1)));
        Self { pool, permits, url: url.into() }
    }

    /// Runs `work` in a transaction, off the async threads, at most pool-size at a time.
    pub async fn tx<T, F>(&self, scope: Scope, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut PgConnection) -> Result<T> + Send + 'static,
    {
        self.run(move |db| {
            let mut conn = db.begun("BEGIN")?;
            finish(&mut conn, |conn| {
                scope.enter(conn)?;
                work(conn)
            })
        })
        .await
    }

    /// Like [`Db::tx`], in a transaction that can write nothing and sees one moment: what is read in several
    /// statements fits together.
    pub async fn read<T, F>(&self, scope: Scope, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut PgConnection) -> Result<T> + Send + 'static,
    {
        self.run(move |db| {
            let mut conn = db.begun("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")?;
            finish(&mut conn, |conn| {
                scope.enter(conn)?;
                work(conn)
            })
        })
        .await
    }

    /// A connection outside the pool, for a listener that keeps it.
    pub fn dedicated(&self) -> Result<PgConnection> {
        PgConnection::establish(&self.url).map_err(Error::unavailable)
    }

    /// A connection outside the pool whose statements fail after `deadline`.
    pub fn dedicated_within(&self, deadline: Duration) -> Result<PgConnection> {
        let mut conn = self.dedicated()?;
        conn.batch_execute(&format!("SET statement_timeout = {}", deadline.as_millis()))?;
        Ok(conn)
    }

    async fn run<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&Self) -> Result<T> + Send + 'static,
    {
        let permit = timeout(PATIENCE, Arc::clone(&self.permits).acquire_owned());
        let permit = permit.await.map_err(Error::unavailable)?.map_err(Error::bug)?;
        let db = self.clone();
        // `pool.get()` blocks too, so it belongs inside.
        spawn_blocking(move || {
            let _permit = permit;
            work(&db)
        })
        .await
        .map_err(Error::bug)?
    }

    /// A connection with its transaction begun. Connections that died while idle are thrown away here:
    /// nothing has been done on them yet, so trying the next one is safe.
    fn begun(&self, begin: &str) -> Result<Pooled> {
        for _ in 0..=self.pool.max_size() {
            let mut conn = self.pool.get().map_err(Error::unavailable)?;
            if AnsiTransactionManager::begin_transaction_sql(&mut *conn, begin).is_ok() {
                return Ok(conn);
            }
        }
        Err(Error::unavailable("every pooled connection had died"))
    }
}

/// Commits what `work` did, or rolls it back where it failed.
fn finish<T>(conn: &mut PgConnection, work: impl FnOnce(&mut PgConnection) -> Result<T>) -> Result<T> {
    match work(conn) {
        Ok(value) => {
            AnsiTransactionManager::commit_transaction(conn)?;
            Ok(value)
        }
        Err(error) => {
            // The first error tells more than a failing rollback; the connection is then seen as broken.
            let _ = AnsiTransactionManager::rollback_transaction(conn);
            Err(error)
        }
    }
}
