//! How far memory may be trusted: whether changes are heard, and whether the database was there a moment ago.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::lock;

const SLOTS: u64 = 64;
/// After a failure, nobody asks the database for so long.
const PAUSE: Duration = Duration::from_millis(500);
/// How long the one who asks first afterwards may take.
const PROBE: Duration = Duration::from_millis(2_500);

/// What the listener knows about changes that other processes make.
#[derive(Debug, Clone, Copy)]
pub enum Listening {
    /// A new connection listens: what was read before may be stale.
    Began,
    /// Changes are heard. The ones committed before now are known; this may be relied on until then.
    Until(Instant),
    Ended,
}

/// The state of the line to the database.
#[derive(Debug)]
pub struct Link {
    epoch: Instant,
    /// Time until which memory may be trusted, in microseconds since `epoch`. It runs out by itself: a listener that hangs
    /// cannot say so.
    heard_until: AtomicU64,
    /// Counts the times that listening began: what was read before may be stale.
    generation: AtomicU64,
    /// Invalidations so far, by a hash of the id; a fill is kept only if its counter has not moved since before its SELECT.
    moves: Vec<Mutex<u64>>,
    retry_at: Mutex<Option<Instant>>,
}

impl Default for Link {
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

/// The state of a slot before a fill.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    moves: u64,
    pub generation: u64,
}

impl Link {
    pub fn set_listening(&self, listening: Listening) {
        match listening {
            Listening::Began => {
                self.generation.fetch_add(1, Ordering::AcqRel);
                // It has just answered.
                self.answered();
            }
            Listening::Until(time) => self.heard_until.store(self.micros(time), Ordering::Release),
            Listening::Ended => self.heard_until.store(0, Ordering::Release),
        }
    }

    /// True if something that was read in this generation still holds.
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
        let moves = lock(slot);
        if *moves == mark.moves {
            keep();
        }
    }

    /// Runs `forget` and spoils every fill of the id that is under way.
    pub fn invalidate(&self, id: &str, forget: impl FnOnce()) {
        if let Some(slot) = self.slot(id) {
            let mut moves = lock(slot);
            *moves += 1;
            forget();
        }
    }

    /// Spoils every fill that is under way; what is kept already is the caller's to forget afterwards.
    pub fn invalidate_all(&self) {
        for slot in &self.moves {
            *lock(slot) += 1;
        }
    }

    /// Whether to ask the database now. After a failure only one caller may, once the pause is over.
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

    /// Notes a failure of a question that was asked in this generation. An older one says nothing about the connections of
    /// today.
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
    fn a_slow_fill_cannot_bring_back_what_was_invalidated() {
        let link = Link::default();
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
    fn what_was_read_before_listening_is_not_trusted() {
        let link = Link::default();
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
    fn memory_is_trusted_no_longer_than_changes_are_heard() {
        let link = Link::default();
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
        let link = Link::default();
        assert!(link.may_ask());
        link.failed(0);
        assert!(!link.may_ask());
        link.answered();
        assert!(link.may_ask());
    }

    #[test]
    fn a_failure_of_an_older_connection_does_not_stop_questions() {
        let link = Link::default();
        link.failed(0);
        link.set_listening(Listening::Began);
        assert!(link.may_ask());
        link.failed(0);
        assert!(link.may_ask());
    }
}
