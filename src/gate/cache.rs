//! What is known by public id: filled from the database once, forgotten when it changes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use diesel::pg::PgConnection;
use tokio::time::timeout;

use super::link::Link;
use crate::domain::{Error, Result};
use crate::store::{Db, Scope};

/// Entries are read anew in the background after this, whatever was heard.
const REFRESH_AFTER: Duration = Duration::from_secs(60);
/// How long a call for something known waits for the database while changes are not heard.
const READ_THROUGH: Duration = Duration::from_millis(250);
/// How long a call for something unknown waits for the database, which may be silently gone.
const LOOK_UP: Duration = Duration::from_secs(3);
/// Unknown ids that are remembered, so that guessing costs no SQL.
const MOST_ABSENT: usize = 10_000;
const ABSENT_FOR: Duration = Duration::from_secs(60);

type Kept<V> = quick_cache::sync::Cache<String, V>;
type Load<V> = dyn Fn(&mut PgConnection, &str) -> Result<Option<V>> + Send + Sync;

pub struct Cache<V> {
    entries: Kept<Arc<Entry<V>>>,
    /// Unknown ids.
    absent: Kept<Absent>,
    link: Link,
    db: Db,
    load: Arc<Load<V>>,
}

/// When it was read that an id is unknown.
#[derive(Debug, Clone, Copy)]
struct Absent {
    generation: u64,
    read: Instant,
}

/// Something known, and since when.
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
        link: Link,
        most: usize,
        load: impl Fn(&mut PgConnection, &str) -> Result<Option<V>> + Send + Sync + 'static,
    ) -> Self {
        Self { entries: Kept::new(most), absent: Kept::new(MOST_ABSENT), link, db, load: Arc::new(load) }
    }

    /// From memory where that can be trusted, else from the database; if that is away, from memory all the same.
    pub async fn find(self: &Arc<Self>, id: &str) -> Result<Option<Arc<Entry<V>>>> {
        // What waits for the database is kept apart, so that a call for something known carries no room for it.
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

    /// Reads it, and keeps it unless it was changed meanwhile.
    async fn fill(&self, id: &str) -> Result<Option<Arc<Entry<V>>>> {
        if !self.link.may_ask() {
            return Err(Error::unavailable("the database did not answer a moment ago"));
        }
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

    /// Up to `most` of those that `is_meant` picks, in no order.
    pub fn all_where(&self, is_meant: impl Fn(&V) -> bool, most: usize) -> Vec<Arc<Entry<V>>> {
        let picked = self.entries.iter().filter(|(_, entry)| is_meant(&entry.value)).take(most);
        picked.map(|(_, entry)| entry).collect()
    }

    /// Forgets all that `is_meant` picks.
    pub fn forget_where(&self, is_meant: impl Fn(&V) -> bool) {
        self.link.invalidate_all();
        self.entries.retain(|_, entry| !is_meant(&entry.value));
    }

    /// Forgets which ids are unknown.
    pub fn forget_absent(&self) {
        self.link.invalidate_all();
        self.absent.clear();
    }

    pub fn link(&self) -> &Link {
        &self.link
    }
}
