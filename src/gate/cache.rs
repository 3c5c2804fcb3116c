//! Cache of database rows by public id. Entries are loaded once and removed when they change.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use diesel::pg::PgConnection;
use tokio::time::timeout;

use super::cache_trust::CacheTrust;
use crate::domain::{Error, Result};
use crate::store::{Db, Scope};

/// Age after which entries are reloaded in the background, even without a change.
const REFRESH_AFTER: Duration = Duration::from_secs(60);
/// Longest wait for the database for a cached id, while changes do not arrive.
const READ_THROUGH: Duration = Duration::from_millis(250);
/// Longest wait for the database for an uncached id. The connection may be silently dead.
const LOOK_UP: Duration = Duration::from_secs(3);
/// Maximum number of unknown ids in the cache, so that guessing costs no SQL.
const MOST_ABSENT: usize = 10_000;
const ABSENT_FOR: Duration = Duration::from_secs(60);

type Kept<V> = quick_cache::sync::Cache<String, V>;
type Load<V> = dyn Fn(&mut PgConnection, &str) -> Result<Option<V>> + Send + Sync;

/// Cache of one kind of row.
pub struct Cache<V> {
    entries: Kept<Arc<Entry<V>>>,
    /// Ids that are known not to exist.
    absent: Kept<Absent>,
    link: CacheTrust,
    db: Db,
    load: Arc<Load<V>>,
}

/// Time at which an id was found not to exist.
#[derive(Debug, Clone, Copy)]
struct Absent {
    generation: u64,
    read: Instant,
}

/// Cached value with its age.
#[derive(Debug)]
pub struct Entry<V> {
    pub value: V,
    generation: u64,
    loaded: Instant,
    is_refreshing: AtomicBool,
}

impl<V: Send + Sync + 'static> Cache<V> {
    pub fn new(
        db: Db,
        link: CacheTrust,
        most: usize,
        load: impl Fn(&mut PgConnection, &str) -> Result<Option<V>> + Send + Sync + 'static,
    ) -> Self {
        Self { entries: Kept::new(most), absent: Kept::new(MOST_ABSENT), link, db, load: Arc::new(load) }
    }

    /// Returns an entry from the cache if it can be trusted, else from the database. If the database is away, returns
    /// the cached entry all the same.
    pub async fn find(self: &Arc<Self>, id: &str) -> Result<Option<Arc<Entry<V>>>> {
        // Boxed to keep the future of cache hits small.
        let Some(entry) = self.entries.get(id) else { return Box::pin(self.find_unknown(id)).await };
        if self.link.trusts(entry.generation) {
            self.refresh_if_old(id, &entry);
            return Ok(Some(entry));
        }
        let generation = self.link.generation();
        match Box::pin(timeout(READ_THROUGH, self.fill(id))).await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(Error::Unavailable(_))) => Ok(Some(entry)),
            Ok(Err(error)) => Err(error),
            Err(_) => {
                self.link.failed(generation);
                Ok(Some(entry))
            }
        }
    }

    async fn find_unknown(&self, id: &str) -> Result<Option<Arc<Entry<V>>>> {
        let is_absent = |absent: Absent| absent.read.elapsed() < ABSENT_FOR && self.link.trusts(absent.generation);
        if self.absent.get(id).is_some_and(is_absent) {
            return Ok(None);
        }
        let generation = self.link.generation();
        timeout(LOOK_UP, self.fill(id)).await.unwrap_or_else(|elapsed| {
            self.link.failed(generation);
            Err(Error::unavailable(elapsed))
        })
    }

    /// Reads an entry and caches it, unless it was invalidated during the read.
    async fn fill(&self, id: &str) -> Result<Option<Arc<Entry<V>>>> {
        if !self.link.may_ask() {
            return Err(Error::unavailable("the database did not answer a moment ago"));
        }
        // Taken before the SELECT: a change that commits meanwhile then discards what was read.
        let mark = self.link.mark(id);
        let (load, wanted) = (Arc::clone(&self.load), id.to_owned());
        let read = self.db.read(Scope::Instance, move |conn| load(conn, &wanted)).await;
        match &read {
            Err(Error::Unavailable(_)) => self.link.failed(mark.generation),
            _ => self.link.answered(),
        }
        let entry = read?.map(|value| {
            let (generation, loaded) = (mark.generation, Instant::now());
            Arc::new(Entry { value, generation, loaded, is_refreshing: AtomicBool::new(false) })
        });
        self.link.keep(id, mark, || match &entry {
            Some(entry) => self.entries.insert(id.to_owned(), Arc::clone(entry)),
            None => {
                self.entries.remove(id);
                self.absent.insert(id.to_owned(), Absent { generation: mark.generation, read: Instant::now() });
            }
        });
        Ok(entry)
    }

    fn refresh_if_old(self: &Arc<Self>, id: &str, entry: &Arc<Entry<V>>) {
        if entry.loaded.elapsed() < REFRESH_AFTER || entry.is_refreshing.swap(true, Ordering::AcqRel) {
            return;
        }
        let (cache, entry, id) = (Arc::clone(self), Arc::clone(entry), id.to_owned());
        tokio::spawn(async move {
            if let Err(error) = cache.fill(&id).await {
                tracing::debug!(%error, "an entry could not be refreshed: its next use tries again");
            }
            entry.is_refreshing.store(false, Ordering::Release);
        });
    }

    pub fn forget(&self, id: &str) {
        self.link.invalidate(id, || {
            self.entries.remove(id);
            self.absent.remove(id);
        });
    }

    /// Returns up to `most` entries that match, in no order.
    pub fn all_where(&self, is_meant: impl Fn(&V) -> bool, most: usize) -> Vec<Arc<Entry<V>>> {
        let picked = self.entries.iter().filter(|(_, entry)| is_meant(&entry.value)).take(most);
        picked.map(|(_, entry)| entry).collect()
    }

    /// Removes all entries that match.
    pub fn forget_where(&self, is_meant: impl Fn(&V) -> bool) {
        self.link.invalidate_all();
        // After `invalidate_all`: a load that ends later cannot bring a stale entry back.
        self.entries.retain(|_, entry| !is_meant(&entry.value));
    }

    /// Removes all ids that are cached as unknown.
    pub fn forget_absent(&self) {
        self.link.invalidate_all();
        self.absent.clear();
    }

    pub fn link(&self) -> &CacheTrust {
        &self.link
    }
}
