//! How far memory may be trusted: whether changes are heard, and whether the database was there a moment ago.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::lock;

const SLOTS: u64 = 64;
/// After a failure, nobody asks the database for so long.
const PAUSE: Duration = Duration::from_millis(500);
/// How long the one who asks first afterwards may take.
const PROBE: Duration = Duration::from_millis(2_500);

/// The state of the line to the database.
#[derive(Debug)]
pub struct Link {
    is_listening: AtomicBool,
    /// Counts the times that listening began: what was read before may be stale.
    generation: AtomicU64,
    /// Invalidations so far, by a hash of the id; a fill is kept only if its counter has not moved since before its SELECT.
    moves: Vec<Mutex<u64>>,
    retry_at: Mutex<Option<Instant>>,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            is_listening: AtomicBool::new(false),
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
    pub fn set_listening(&self, is_listening: bool) {
        if is_listening && !self.is_listening.load(Ordering::Acquire) {
            self.generation.fetch_add(1, Ordering::AcqRel);
        }
        self.is_listening.store(is_listening, Ordering::Release);
    }

    /// Whether something that was read in this generation still holds.
    pub fn trusts(&self, generation: u64) -> bool {
        self.is_listening.load(Ordering::Acquire) && self.generation.load(Ordering::Acquire) == generation
    }

    pub fn mark(&self, id: &str) -> Mark {
        let moves = self.slot(id).map_or(0, |slot| *lock(slot));
        Mark { moves, generation: self.generation.load(Ordering::Acquire) }
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

    pub fn failed(&self) {
        *lock(&self.retry_at) = Some(Instant::now() + PAUSE);
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

    #[test]
    fn what_was_read_before_listening_is_not_trusted() {
        let link = Link::default();
        let before = link.mark("pk_1").generation;
        assert!(!link.trusts(before));
        link.set_listening(true);
        assert!(!link.trusts(before));
        let after = link.mark("pk_1").generation;
        assert!(link.trusts(after));
        link.set_listening(false);
        link.set_listening(true);
        assert!(!link.trusts(after));
    }

    #[test]
    fn after_a_failure_nobody_asks_for_a_while() {
        let link = Link::default();
        assert!(link.may_ask());
        link.failed();
        assert!(!link.may_ask());
        link.answered();
        assert!(link.may_ask());
    }
}
