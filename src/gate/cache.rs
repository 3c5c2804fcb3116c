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
/// Unknown ids that are remembered, so that guessing costs no SQL.
const MOST_ABSENT: u64 = 10_000;
const ABSENT_FOR: Duration = Duration::from_secs(60);

type Load<V> = dyn Fn(&mut PgConnection, &str) -> Result<Option<V>> + Send + Sync;

pub struct Cache<V> {
    entries: moka::sync::Cache<String, Arc<Entry<V>>>,
    /// Unknown ids, with the generation in which that was read.
    absent: moka::sync::Cache<String, u64>,
    link: Link,
    db: Db,
    load: Arc<Load<V>>,
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
        most: u64,
        load: impl Fn(&mut PgConnection, &str) -> Result<Option<V>> + Send + Sync + 'static,
    ) -> Self {
        Self {
            entries: moka::sync::Cache::new(most),
            absent: moka::sync::Cache::builder().max_capacity(MOST_ABSENT).time_to_live(ABSENT_FOR).build(),
            link,
            db,
            load: Arc::new(load),
        }
    }

    /// From memory where that can be trusted, else from the database; if that is away, from memory all the same.
    pub async fn find(self: &Arc<Self>, id: &str) -> Result<Option<Arc<Entry<V>>>> {
        // What waits for the database is kept apart, so that a call for something known carries no room for it.
        let Some(entry) = self.entries.get(id) else { return Box::pin(self.find_unknown(id)).await };
        if self.link.trusts(entry.generation) {
            self.refresh_if_old(id, &entry);
            return Ok(Some(entry));
        }
        match Box::pin(timeout(READ_THROUGH, self.fill(id))).await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(Error::Unavailable(_))) => Ok(Some(entry)),
            Ok(Err(error)) => Err(error),
            Err(_) => {
                self.link.failed();
                Ok(Some(entry))
            }
        }
    }

    async fn find_unknown(&self, id: &str) -> Result<Option<Arc<Entry<V>>>> {
        if self.absent.get(id).is_some_and(|generation| self.link.trusts(generation)) {
            return Ok(None);
        }
        self.fill(id).await
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
            Err(Error::Unavailable(_)) => self.link.failed(),
            _ => self.link.answered(),
        }
        let entry = read?.map(|value| {
            let (generation, loaded) = (mark.generation, Instant::now());
            Arc::new(Entry { value, generation, loaded, is_refreshing: AtomicBool::new(false) })
        });
        self.link.keep(id, mark, || match &entry {
            Some(entry) => self.entries.insert(id.to_owned(), Arc::clone(entry)),
            None => {
                self.entries.invalidate(id);
                self.absent.insert(id.to_owned(), mark.generation);
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
            self.entries.invalidate(id);
            self.absent.invalidate(id);
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
        for (id, entry) in &self.entries {
            if is_meant(&entry.value) {
                self.entries.invalidate(id.as_str());
            }
        }
    }

    /// Forgets which ids are unknown.
    pub fn forget_absent(&self) {
        self.link.invalidate_all();
        self.absent.invalidate_all();
    }

    pub fn link(&self) -> &Link {
        &self.link
    }
}
