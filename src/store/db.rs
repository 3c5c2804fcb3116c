//! The one door to the database: a bounded pool, and a transaction with its scope set.

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

use super::connect;
use super::error::is_read_only;
use super::kept::kept;
use super::repairs::{self, Repairs};
use super::shares::Shares;
pub use super::shares::Sharing;
use super::tx::{ChangeListener, Tx};
use crate::domain::{Clock, Error, Result, TenantId};

/// How long a caller waits for a free connection before 503.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a statement of [`Db::apart`] waits for a lock.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);
/// How long a report waits for its turn: those before it take seconds.
const REPORT_PATIENCE: Duration = Duration::from_secs(10);

/// What a transaction may see: one tenant's rows (held by row-level security), or the whole instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    Tenant(TenantId),
    /// Sign-in, gate fill, workers and operators.
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

    pub(super) fn enter(self, conn: &mut PgConnection) -> QueryResult<()> {
        if let Self::Tenant(tenant) = self {
            kept("SELECT set_config('role', 'gatepost_app', TRUE), set_config('gatepost.tenant_id', $1, TRUE)")
                .bind::<Text, _>(tenant.to_string())
                .execute(conn)?;
        }
        Ok(())
    }
}

/// Settings that each connection of a pool gets when it is opened.
#[derive(Debug)]
struct Settings(String);

/// Plans for the values of each call. PostgreSQL would otherwise change to one plan for all values at the sixth call of a
/// statement, and that plan reads the whole log where the values of a filter are rare. Compiling a statement (`jit`) takes
/// longer than running it.
const CUSTOM_PLANS: &str = "SET jit = off; SET plan_cache_mode = force_custom_plan";
/// Plans by index, made once. A plain index scan also marks dead entries, which a bitmap scan does not: an index that is leased
/// from and settled all the time stays quick to read until the next vacuum. With many partitions, PostgreSQL takes a new plan for
/// each call to be cheaper than a kept one.
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

/// A pool of its own, so that pages, API and workers never starve each other. Cheap to clone.
#[derive(Clone)]
pub struct Db {
    pool: Connections,
    permits: Arc<Semaphore>,
    shares: Option<Arc<Shares>>,
    /// The tenant whose share the work takes, where its scope does not say so.
    charged: Option<TenantId>,
    /// True if a statement that takes too long is the caller's to make smaller.
    is_for_reports: bool,
    patience: Duration,
    url: Arc<str>,
    repairs: Arc<Repairs>,
    size: u32,
    settings: Arc<str>,
    clock: Clock,
    listener: ChangeListener,
    /// Replaces `pool` and `permits` in every clone: see [`Db::renew`].
    renewed: Arc<RwLock<Option<Lane>>>,
}

/// Work of one transaction, without the type of its result: the code that runs it is then compiled once, and not for each of
/// hundreds of callers.
type Work = Box<dyn FnMut(&mut Tx<'_>) -> Result<()> + Send>;

/// How often work is run at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tries {
    One,
    Two,
}

const BEGIN: &str = "BEGIN";

/// Holds the result of some work until the caller takes it.
struct Slot<T>(Arc<Mutex<Option<T>>>);

impl<T> Slot<T> {
    fn take(&self) -> Result<T> {
        let value = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        value.ok_or_else(|| Error::bug("the work left no result"))
    }
}

/// Makes work that leaves its result in a slot.
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

/// Makes a function that can be called once look like one that can be called often.
fn once<T, F>(work: F) -> impl FnMut(&mut Tx<'_>) -> Result<T>
where
    F: FnOnce(&mut Tx<'_>) -> Result<T>,
{
    let mut work = Some(work);
    move |tx| work.take().map_or_else(|| Err(Error::bug("the work was run twice")), |work| work(tx))
}

/// Connections, and as many permits to use one.
type Lane = (Connections, Arc<Semaphore>);

impl Db {
    /// A pool whose statements are planned for the values of each call. It opens no connection yet.
    pub fn new(url: &str, size: u32) -> Self {
        Self::with(url, size, CUSTOM_PLANS.to_owned())
    }

    /// A pool for workers, whose statements find single rows in tables that grow and empty: their plans go by index from the
    /// start, whatever a table looked like when they were made.
    pub fn by_index(url: &str, size: u32) -> Self {
        Self::with(url, size, PLANS_BY_INDEX.to_owned())
    }

    /// A pool for reports and exports, which may read for long: a statement is ended after `limit`, and a caller waits longer
    /// for its turn.
    pub fn for_reports(url: &str, size: u32, limit: Duration) -> Self {
        let settings = format!("{CUSTOM_PLANS}; SET statement_timeout = {}", limit.as_millis());
        Self { is_for_reports: true, patience: REPORT_PATIENCE, ..Self::with(url, size, settings) }
    }

    /// A pool like this one with connections of its own, whose statements wait for a lock for `LOCK_PATIENCE` at most.
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

    /// This pool, for work that a tenant asks for and that must run in `Scope::Instance`: it takes the tenant's share.
    #[must_use]
    pub fn charged_to(&self, tenant: TenantId) -> Self {
        Self { charged: Some(tenant), ..self.clone() }
    }

    /// Limits each of these scopes to `most` connections at a time, so that the others find some free.
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

    /// Begins anew with connections that are made from now on. The present ones may hang, each together with its user: their
    /// other end may have gone without a sign.
    pub fn renew(&self) {
        let lane = Self::lane(&self.url, self.size, &self.settings);
        *self.renewed.write().unwrap_or_else(PoisonError::into_inner) = Some(lane);
    }

    fn current(&self) -> Self {
        let mut db = self.clone();
        if let Some(lane) = &*self.renewed.read().unwrap_or_else(PoisonError::into_inner) {
            (db.pool, db.permits) = lane.clone();
        }
        db
    }

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

    /// Runs `work` in a transaction, off the async threads, at most pool-size at a time.
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

    /// Like [`Db::tx`], in a transaction that can write nothing and sees one moment: what is read in several
    /// statements fits together.
    pub async fn read<T, F>(&self, scope: Scope, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_>) -> Result<T> + Send + 'static,
    {
        let (work, slot) = stored(once(work));
        self.run(scope, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", Tries::One, work).await?;
        slot.take()
    }

    /// A connection outside the pool, for a listener that keeps it.
    pub fn dedicated(&self) -> Result<PgConnection> {
        connect::establish(&self.url).map_err(Error::unavailable)
    }

    /// A connection outside the pool whose statements fail after `deadline`.
    pub fn dedicated_within(&self, deadline: Duration) -> Result<PgConnection> {
        let mut conn = self.dedicated()?;
        conn.batch_execute(&format!("SET statement_timeout = {}", deadline.as_millis()))?;
        Ok(conn)
    }

    async fn run(&self, scope: Scope, begin: &'static str, tries: Tries, mut work: Work) -> Result<()> {
        let share = match &self.shares {
            Some(shares) => shares.take(self.charged.map_or(scope, Scope::Tenant), self.patience).await?,
            None => None,
        };
        let db = self.current();
        let permit = timeout(self.patience, Arc::clone(&db.permits).acquire_owned());
        let permit = permit.await.map_err(Error::unavailable)?.map_err(Error::bug)?;
        // `pool.get()` blocks too, so it belongs inside.
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

    /// Runs `work` in one transaction. If it fails because the database lacks something, this is repaired, and
    /// [`repairs::was_repaired`] is true of the error. Entering the scope is tried again at once.
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

/// Commits a transaction whose work succeeded, or rolls it back.
fn finish<T>(conn: &mut PgConnection, outcome: Result<T>) -> Result<T> {
    let error = match outcome {
        Ok(value) => {
            AnsiTransactionManager::commit_transaction(conn)?;
            return Ok(value);
        }
        Err(error) => error,
    };
    // The first error tells more than a failing rollback; the connection is then seen as broken.
    let _ = AnsiTransactionManager::rollback_transaction(conn);
    if is_read_only(&error) {
        // The session stays so after the database can be written again: the pool makes a new one.
        AnsiTransactionManager::transaction_manager_status_mut(conn).set_in_error();
    }
    Err(error)
}
