//! Trust in cached data: whether changes arrive, and whether the database responded lately.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::lock;

const SLOTS: u64 = 64;
/// Time after a failure during which no caller asks the database.
const PAUSE: Duration = Duration::from_millis(500);
/// Time that the first caller afterwards may take.
const PROBE: Duration = Duration::from_millis(2_500);

/// State of the listener for changes by other replicas.
#[derive(Debug, Clone, Copy)]
pub enum Listening {
    /// A new connection listens. Data read earlier may be stale.
    Began,
    /// Changes arrive. All changes committed before now are known, and caches can be trusted until this time.
    Until(Instant),
    /// No connection listens.
    Ended,
}

/// State of the connection to the database, as caches see it.
#[derive(Debug)]
pub struct CacheTrust {
    epoch: Instant,
    /// Time until which caches can be trusted, in microseconds since `epoch`. It expires by itself, because a listener
    /// that hangs cannot report it.
    heard_until: AtomicU64,
    /// Number of times that listening began. Data read in an earlier generation may be stale.
    generation: AtomicU64,
    /// Number of invalidations, by a hash of the id. A loaded row is cached only if its counter is unchanged since
    /// before the SELECT.
    moves: Vec<Mutex<u64>>,
    retry_at: Mutex<Option<Instant>>,
}

impl Default for CacheTrust {
    fn default() -> Self {
        Self {
            epoch: Instant::now(),
            heard_until: AtomicU64::new(0),
            generation: AtomicU64::new(0),
            moves: (0..SLOTS).map(|_| Mutex::new(0)).collect(),
            retry_at: Mutex::new(None),
        }
    }
}

/// Counter of an id before a load.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    moves: u64,
    pub generation: u64,
}

impl CacheTrust {
    pub fn set_listening(&self, listening: Listening) {
        match listening {
            Listening::Began => {
                self.generation.fetch_add(1, Ordering::AcqRel);
                // The database has just responded to the listener.
                self.answered();
            }
            Listening::Until(time) => self.heard_until.store(self.micros(time), Ordering::Release),
            Listening::Ended => self.heard_until.store(0, Ordering::Release),
        }
    }

    /// Returns true if data read in this generation can still be trusted.
    pub fn trusts(&self, generation: u64) -> bool {
        self.micros(Instant::now()) < self.heard_until.load(Ordering::Acquire) && self.generation() == generation
    }

    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    fn micros(&self, time: Instant) -> u64 {
        u64::try_from(time.saturating_duration_since(self.epoch).as_micros()).unwrap_or(u64::MAX)
    }

    pub fn mark(&self, id: &str) -> Mark {
        let moves = self.slot(id).map_or(0, |slot| *lock(slot));
        Mark { moves, generation: self.generation() }
    }

    /// Runs `keep` unless the id was invalidated since the mark was taken.
    pub fn keep(&self, id: &str, mark: Mark, keep: impl FnOnce()) {
        let Some(slot) = self.slot(id) else { return };
        // Held during `keep`, so that no invalidation comes between check and insert.
        let moves = lock(slot);
        if *moves == mark.moves {
            keep();
        }
    }

    /// Runs `forget` and discards every load of the id that is under way.
    pub fn invalidate(&self, id: &str, forget: impl FnOnce()) {
        if let Some(slot) = self.slot(id) {
            let mut moves = lock(slot);
            *moves += 1;
            forget();
        }
    }

    /// Discards every load that is under way. The caller then removes entries that are already cached.
    pub fn invalidate_all(&self) {
        for slot in &self.moves {
            *lock(slot) += 1;
        }
    }

    /// Returns true if the database may be asked now. After a failure, a single caller may do so once the pause is
    /// over.
    pub fn may_ask(&self) -> bool {
        let mut retry_at = lock(&self.retry_at);
        match *retry_at {
            Some(at) if Instant::now() < at => false,
            Some(_) => {
                *retry_at = Some(Instant::now() + PROBE);
                true
            }
            None => true,
        }
    }

    pub fn answered(&self) {
        *lock(&self.retry_at) = None;
    }

    /// Records a failed query of this generation. A failure of an older generation says nothing about today's
    /// connections.
    pub fn failed(&self, generation: u64) {
        if self.generation() == generation {
            *lock(&self.retry_at) = Some(Instant::now() + PAUSE);
        }
    }

    fn slot(&self, id: &str) -> Option<&Mutex<u64>> {
        let mut hasher = DefaultHasher::new();
        id.hash(&mut hasher);
        self.moves.get(usize::try_from(hasher.finish() % SLOTS).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_load_cannot_restore_an_invalidated_entry() {
        let link = CacheTrust::default();
        let mark = link.mark("pk_1");
        link.invalidate("pk_1", || {});
        let mut is_kept = false;
        link.keep("pk_1", mark, || is_kept = true);
        assert!(!is_kept);
        link.keep("pk_1", link.mark("pk_1"), || is_kept = true);
        assert!(is_kept);
    }

    fn soon() -> Listening {
        Listening::Until(Instant::now() + Duration::from_secs(3600))
    }

    #[test]
    fn data_read_before_listening_is_not_trusted() {
        let link = CacheTrust::default();
        let before = link.mark("pk_1").generation;
        assert!(!link.trusts(before));
        link.set_listening(Listening::Began);
        link.set_listening(soon());
        assert!(!link.trusts(before));
        let after = link.mark("pk_1").generation;
        assert!(link.trusts(after));
        link.set_listening(Listening::Began);
        assert!(!link.trusts(after));
    }

    #[test]
    fn caches_are_trusted_only_while_changes_arrive() {
        let link = CacheTrust::default();
        link.set_listening(Listening::Began);
        let generation = link.mark("pk_1").generation;
        link.set_listening(Listening::Until(Instant::now()));
        assert!(!link.trusts(generation));
        link.set_listening(soon());
        assert!(link.trusts(generation));
        link.set_listening(Listening::Ended);
        assert!(!link.trusts(generation));
    }

    #[test]
    fn after_a_failure_the_database_is_not_asked_for_a_while() {
        let link = CacheTrust::default();
        assert!(link.may_ask());
        link.failed(0);
        assert!(!link.may_ask());
        link.answered();
        assert!(link.may_ask());
    }

    #[test]
    fn a_failure_of_an_older_connection_does_not_stop_queries() {
        let link = CacheTrust::default();
        link.failed(0);
        link.set_listening(Listening::Began);
        assert!(link.may_ask());
        link.failed(0);
        assert!(link.may_ask());
    }
}
