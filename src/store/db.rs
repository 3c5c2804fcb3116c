//! The only way to the database: a bounded pool, and transactions with their scope set.

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::connection::{AnsiTransactionManager, TransactionManager};
use diesel::pg::PgConnection;
use diesel::r2d2::{ConnectionManager, CustomizeConnection, Pool, PooledConnection};
use diesel::sql_types::Text;
use diesel::{QueryResult, RunQueryDsl};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::cached_sql::cached_sql;
use super::connect;
use super::error::is_read_only;
use super::repairs::{self, Repairs};
use super::shares::Shares;
pub use super::shares::Sharing;
use super::tx::{ChangeListener, Tx};
use crate::domain::{Clock, Error, Result, TenantId};

/// Longest wait for a free connection before the caller answers 503.
const PATIENCE: Duration = Duration::from_secs(2);
/// Longest wait for a lock in a statement of [`Db::apart`].
const LOCK_PATIENCE: Duration = Duration::from_secs(1);
/// Longest wait of a report for a free connection: the reports before it take seconds.
const REPORT_PATIENCE: Duration = Duration::from_secs(10);

/// Rows that a transaction may see: those of one tenant (enforced by row-level security), or those of the whole
/// instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Rows of one tenant.
    Tenant(TenantId),
    /// All rows: for sign-in, the gate's cache, workers and operators.
    Instance,
}

impl Scope {
    /// Returns the tenant that the scope is limited to.
    pub fn tenant(self) -> Option<TenantId> {
        match self {
            Self::Tenant(tenant) => Some(tenant),
            Self::Instance => None,
        }
    }

    /// Switches the open transaction to the tenant's role and id. The settings end with the transaction.
    pub(super) fn enter(self, conn: &mut PgConnection) -> QueryResult<()> {
        if let Self::Tenant(tenant) = self {
            cached_sql("SELECT set_config('role', 'gatepost_app', TRUE), set_config('gatepost.tenant_id', $1, TRUE)")
                .bind::<Text, _>(tenant.to_string())
                .execute(conn)?;
        }
        Ok(())
    }
}

/// Settings that each connection of a pool gets when it is opened.
#[derive(Debug)]
struct Settings(String);

/// Plans each statement for the values of the call. At the sixth call of a statement, PostgreSQL would otherwise
/// switch to one plan for all values. If the values of a filter are rare, that plan reads the whole log. Compiling a
/// statement (`jit`) takes longer than running it.
const CUSTOM_PLANS: &str = "SET jit = off; SET plan_cache_mode = force_custom_plan";
/// Plans by index, made once. A plain index scan also marks dead entries, which a bitmap scan does not: an index on
/// the queue of deliveries stays fast until the next vacuum. The last setting is needed for tables with many
/// partitions, for which PostgreSQL rates a new plan for each call cheaper than a cached one.
const PLANS_BY_INDEX: &str =
    "SET jit = off; SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_hashjoin = off;
    SET enable_mergejoin = off; SET plan_cache_mode = force_generic_plan";

impl CustomizeConnection<PgConnection, diesel::r2d2::Error> for Settings {
    fn on_acquire(&self, conn: &mut PgConnection) -> Result<(), diesel::r2d2::Error> {
        let prepared = connect::prepare(conn).and_then(|()| conn.batch_execute(&self.0));
        prepared.map_err(diesel::r2d2::Error::QueryError)
    }
}

type Connections = Pool<ConnectionManager<PgConnection>>;
type Pooled = PooledConnection<ConnectionManager<PgConnection>>;

/// A database pool. Pages, API and workers have one each, so that none starves another. Cheap to clone.
#[derive(Clone)]
pub struct Db {
    pool: Connections,
    permits: Arc<Semaphore>,
    shares: Option<Arc<Shares>>,
    /// Tenant whose share the work takes, if its scope does not say so.
    charged: Option<TenantId>,
    /// True if a statement timeout means that the caller should request less.
    is_for_reports: bool,
    /// Longest wait for a free connection.
    patience: Duration,
    /// Connection string.
    url: Arc<str>,
    /// Repairs made through this pool, shared by its clones.
    repairs: Arc<Repairs>,
    /// Maximum number of connections of the pool.
    size: u32,
    /// SQL that each new connection runs.
    settings: Arc<str>,
    clock: Clock,
    listener: ChangeListener,
    /// Replaces `pool` and `permits` in every clone after [`Db::renew`].
    renewed: Arc<RwLock<Option<Lane>>>,
}

/// Work of one transaction, without the type of its result. The code that runs it is then compiled once, not once for
/// each of hundreds of callers.
type Work = Box<dyn FnMut(&mut Tx<'_>) -> Result<()> + Send>;

/// Maximum number of runs of the same work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tries {
    One,
    Two,
}

const BEGIN: &str = "BEGIN";

/// Holds the result of the work until the caller takes it.
struct Slot<T>(Arc<Mutex<Option<T>>>);

impl<T> Slot<T> {
    fn take(&self) -> Result<T> {
        let value = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        value.ok_or_else(|| Error::bug("the work left no result"))
    }
}

/// Wraps work so that its result goes into a slot.
fn stored<T: Send + 'static>(mut work: impl FnMut(&mut Tx<'_>) -> Result<T> + Send + 'static) -> (Work, Slot<T>) {
    let slot = Arc::new(Mutex::new(None));
    let filled = Arc::clone(&slot);
    let work = move |tx: &mut Tx<'_>| {
        let value = work(tx)?;
        *filled.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
        Ok(())
    };
    (Box::new(work), Slot(slot))
}

/// Wraps a function that can be called once as one that can be called repeatedly; a second call is a bug.
fn once<T, F>(work: F) -> impl FnMut(&mut Tx<'_>) -> Result<T>
where
    F: FnOnce(&mut Tx<'_>) -> Result<T>,
{
    let mut work = Some(work);
    move |tx| work.take().map_or_else(|| Err(Error::bug("the work was run twice")), |work| work(tx))
}

/// Connections, and one permit for each of them.
type Lane = (Connections, Arc<Semaphore>);

impl Db {
    /// Creates a pool whose statements are planned for the values of each call. It opens no connection yet.
    pub fn new(url: &str, size: u32) -> Self {
        Self::with(url, size, CUSTOM_PLANS.to_owned())
    }

    /// Creates a pool for workers. Their statements find single rows in tables that grow and empty. Plans go by index
    /// from the start, whatever the table's size was when they were made.
    pub fn by_index(url: &str, size: u32) -> Self {
        Self::with(url, size, PLANS_BY_INDEX.to_owned())
    }

    /// Creates a pool for reports and exports, which may read for long. A statement ends after `limit`, and a caller
    /// waits longer for a free connection.
    pub fn for_reports(url: &str, size: u32, limit: Duration) -> Self {
        let settings = format!("{CUSTOM_PLANS}; SET statement_timeout = {}", limit.as_millis());
        Self { is_for_reports: true, patience: REPORT_PATIENCE, ..Self::with(url, size, settings) }
    }

    /// Creates a pool with these settings and its own connections, whose statements wait for a lock at most
    /// `LOCK_PATIENCE`.
    #[must_use]
    pub fn apart(&self) -> Self {
        let settings = format!("{}; SET lock_timeout = {}", self.settings, LOCK_PATIENCE.as_millis());
        Self::with(&self.url, self.size, settings).with_clock(&self.clock).with_listener(&self.listener)
    }

    /// Uses this clock for [`Tx::now`].
    #[must_use]
    pub fn with_clock(self, clock: &Clock) -> Self {
        Self { clock: clock.clone(), ..self }
    }

    /// Calls this listener with the changes of each transaction that has committed.
    #[must_use]
    pub fn with_listener(self, listener: &ChangeListener) -> Self {
        Self { listener: listener.clone(), ..self }
    }

    /// Returns this pool for work that a tenant requests but that must run in `Scope::Instance`: it uses the tenant's
    /// share.
    #[must_use]
    pub fn charged_to(&self, tenant: TenantId) -> Self {
        Self { charged: Some(tenant), ..self.clone() }
    }

    /// Limits each scope of this kind to `most` connections at a time, so that others find free ones.
    #[must_use]
    pub fn shared_among(self, whom: Sharing, most: usize) -> Self {
        Self { shares: Some(Arc::new(Shares::new(whom, most))), ..self }
    }

    fn with(url: &str, size: u32, settings: String) -> Self {
        let (pool, permits) = Self::lane(url, size, &settings);
        Self {
            pool,
            permits,
            shares: None,
            charged: None,
            is_for_reports: false,
            patience: PATIENCE,
            url: url.into(),
            repairs: Arc::default(),
            size,
            settings: settings.into(),
            clock: Clock::default(),
            listener: ChangeListener::default(),
            renewed: Arc::default(),
        }
    }

    /// Replaces all connections with new ones. The present ones may hang together with their users, because their
    /// other end may have vanished without notice.
    pub fn renew(&self) {
        let lane = Self::lane(&self.url, self.size, &self.settings);
        *self.renewed.write().unwrap_or_else(PoisonError::into_inner) = Some(lane);
    }

    /// Returns this handle with the newest connections.
    fn current(&self) -> Self {
        let mut db = self.clone();
        if let Some(lane) = &*self.renewed.read().unwrap_or_else(PoisonError::into_inner) {
            (db.pool, db.permits) = lane.clone();
        }
        db
    }

    /// Creates the connections and their permits.
    fn lane(url: &str, size: u32, settings: &str) -> Lane {
        let pool = Pool::builder()
            .connection_customizer(Box::new(Settings(settings.to_owned())))
            .max_size(size)
            .min_idle(Some(0))
            .idle_timeout(Some(Duration::from_secs(300)))
            .test_on_check_out(false)
            .connection_timeout(PATIENCE)
            .error_handler(Box::new(diesel::r2d2::NopErrorHandler))
            .build_unchecked(ConnectionManager::new(connect::with_timeouts(url)));
        let permits = Arc::new(Semaphore::new(usize::try_from(size).unwrap_or(1)));
        (pool, permits)
    }

    /// Runs `work` in a transaction, off the async threads, on one connection of the pool.
    pub async fn tx<T, F>(&self, scope: Scope, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_>) -> Result<T> + Send + 'static,
    {
        let (work, slot) = stored(once(work));
        self.run(scope, BEGIN, Tries::One, work).await?;
        slot.take()
    }

    /// Runs `work` like [`Db::tx`], and once more if the database lacked something and was repaired.
    pub async fn tx_again<T, F>(&self, scope: Scope, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: Fn(&mut Tx<'_>) -> Result<T> + Send + 'static,
    {
        let (work, slot) = stored(work);
        self.run(scope, BEGIN, Tries::Two, work).await?;
        slot.take()
    }

    /// Runs `work` like [`Db::tx`], in a read-only transaction that sees the state of one moment: results of several
    /// statements are consistent.
    pub async fn read<T, F>(&self, scope: Scope, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_>) -> Result<T> + Send + 'static,
    {
        let (work, slot) = stored(once(work));
        self.run(scope, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", Tries::One, work).await?;
        slot.take()
    }

    /// Opens a connection outside the pool, for a listener that keeps it.
    pub fn dedicated(&self) -> Result<PgConnection> {
        connect::establish(&self.url).map_err(Error::unavailable)
    }

    /// Opens a connection outside the pool whose statements fail after `deadline`.
    pub fn dedicated_within(&self, deadline: Duration) -> Result<PgConnection> {
        let mut conn = self.dedicated()?;
        conn.batch_execute(&format!("SET statement_timeout = {}", deadline.as_millis()))?;
        Ok(conn)
    }

    /// Waits for the tenant's share and a permit, then runs `work` on a blocking thread.
    async fn run(&self, scope: Scope, begin: &'static str, tries: Tries, mut work: Work) -> Result<()> {
        let share = match &self.shares {
            Some(shares) => shares.take(self.charged.map_or(scope, Scope::Tenant), self.patience).await?,
            None => None,
        };
        let db = self.current();
        let permit = timeout(self.patience, Arc::clone(&db.permits).acquire_owned());
        let permit = permit.await.map_err(Error::unavailable)?.map_err(Error::bug)?;
        // `pool.get()` blocks too, so it belongs inside. The permit moves in as well: a cancelled caller must not free
        // it early.
        spawn_blocking(move || {
            let _held = (share, permit);
            match db.within(begin, scope, &mut work) {
                Err(error) if tries == Tries::Two && repairs::was_repaired(&error) => {
                    db.within(begin, scope, &mut work)
                }
                outcome => outcome,
            }
        })
        .await
        .map_err(Error::bug)?
    }

    /// Runs `work` in one transaction. If it fails because the database lacks something, the database is repaired, and
    /// [`repairs::was_repaired`] is true for the error. A failed entry into the scope is retried at once after the
    /// repair.
    fn within(&self, begin: &str, scope: Scope, work: &mut Work) -> Result<()> {
        let seen = self.repairs.seen();
        let mut conn = self.begun(begin)?;
        let mut entered = scope.enter(&mut conn);
        if let Err(error) = entered {
            let _ = AnsiTransactionManager::rollback_transaction(&mut *conn);
            let error = self.repairs.after(&mut conn, seen, error.into());
            if !repairs::was_repaired(&error) {
                return Err(error);
            }
            drop(conn);
            conn = self.begun(begin)?;
            entered = scope.enter(&mut conn);
        }
        let mut tx = Tx::new(&mut conn, self.clock.now());
        let outcome = entered.map_err(Error::from).and_then(|()| work(&mut tx)).and_then(|()| tx.send_changes());
        let changes = finish(&mut conn, outcome).map_err(|error| match error {
            Error::StatementTimeout if !self.is_for_reports => Error::unavailable("a statement reached its time limit"),
            error => self.repairs.after(&mut conn, seen, error),
        })?;
        // Others hear of the changes by NOTIFY. This process must not answer from its caches before it has heard of them.
        self.listener.hear_all(&changes);
        Ok(())
    }

    /// Takes a connection and begins its transaction. Connections that died while idle are thrown away here: no
    /// statement has run on them yet, so trying the next one is safe.
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

/// Commits a transaction whose work succeeded, or rolls it back.
fn finish<T>(conn: &mut PgConnection, outcome: Result<T>) -> Result<T> {
    let error = match outcome {
        Ok(value) => {
            AnsiTransactionManager::commit_transaction(conn)?;
            return Ok(value);
        }
        Err(error) => error,
    };
    // The first error says more than a failed rollback, which marks the connection as broken anyway.
    let _ = AnsiTransactionManager::rollback_transaction(conn);
    if is_read_only(&error) {
        // The session stays read-only even when the database can be written again: the pool makes a new one.
        AnsiTransactionManager::transaction_manager_status_mut(conn).set_in_error();
    }
    Err(error)
}
