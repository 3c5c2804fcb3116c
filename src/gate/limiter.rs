//! Rate limits of keys, counted in this process.

use std::collections::HashMap;
use std::sync::Mutex;

use chrono::{DateTime, TimeDelta, Utc};

use super::lock;
use crate::domain::limit::{Limit, Standing, Window};
use crate::domain::{Error, LineageId, Result};

const SHARDS: usize = 64;
/// Keys with counts that still matter; when there are more, new ones have to wait.
const MOST_SUBJECTS: usize = 256 * 1024;

type Shard = Mutex<HashMap<LineageId, Window>>;

/// A window per lineage: a key and the ones that it was rotated into share their limit. In shards, so that they don't
/// wait for each other.
#[derive(Debug)]
pub struct Limiter {
    shards: Vec<Shard>,
    most_per_shard: usize,
}

impl Default for Limiter {
    fn default() -> Self {
        Self::new(MOST_SUBJECTS)
    }
}

impl Limiter {
    pub fn new(most: usize) -> Self {
        Self { shards: (0..SHARDS).map(|_| Shard::default()).collect(), most_per_shard: most.div_ceil(SHARDS) }
    }

    /// Takes `cost` if it fits.
    ///
    /// # Errors
    /// `Unavailable` where too many keys are counted already and this is a new one.
    pub fn take(&self, id: LineageId, limit: Limit, now: DateTime<Utc>, cost: u64) -> Result<Standing> {
        if cost == 0 {
            return Ok(self.look(id, limit, now, 0));
        }
        let mut shard = lock(self.shard(id)?);
        if !shard.contains_key(&id) && self.most_per_shard <= shard.len() {
            shard.retain(|_, window| !window.is_idle(now));
            if self.most_per_shard <= shard.len() {
                return Err(Error::unavailable("too many keys are being counted"));
            }
        }
        let window = shard.entry(id).or_insert_with(|| Window::new(limit));
        if window.limit() != limit {
            window.adopt(limit);
        }
        Ok(window.take(now, cost))
    }

    /// Whether `cost` would fit, taking nothing.
    pub fn look(&self, id: LineageId, limit: Limit, now: DateTime<Utc>, cost: u64) -> Standing {
        let fresh = || Window::new(limit).look(now, cost);
        let Ok(shard) = self.shard(id) else { return fresh() };
        let mut shard = lock(shard);
        let Some(window) = shard.get_mut(&id) else { return fresh() };
        if window.limit() != limit {
            window.adopt(limit);
        }
        window.look(now, cost)
    }

    pub fn knows(&self, id: LineageId) -> bool {
        self.shard(id).is_ok_and(|shard| lock(shard).contains_key(&id))
    }

    /// Counts what was used before this process knew the key: each minute wholly at its end, or now if that is sooner.
    pub fn warm(&self, id: LineageId, limit: Limit, now: DateTime<Utc>, used: &[(DateTime<Utc>, i64)]) {
        let Ok(shard) = self.shard(id) else { return };
        let mut shard = lock(shard);
        // Whoever was faster has counted since: what the database knows is in there already.
        if used.is_empty() || shard.contains_key(&id) {
            return;
        }
        let mut window = Window::new(limit);
        for (minute, cost) in used {
            let end = *minute + TimeDelta::seconds(60) - TimeDelta::microseconds(1);
            window.remember(end.min(now), u64::try_from(*cost).unwrap_or(0));
        }
        shard.insert(id, window);
    }

    fn shard(&self, id: LineageId) -> Result<&Shard> {
        let number = usize::try_from(id.0.unsigned_abs()).unwrap_or(0) % SHARDS;
        self.shards.get(number).ok_or_else(|| Error::bug("no such shard"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Limit = Limit { quota: 10, window_seconds: 60 };

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_764_000_000 + seconds, 0).unwrap()
    }

    #[test]
    fn keys_are_counted_apart_and_a_new_limit_counts_at_once() {
        let limiter = Limiter::default();
        limiter.take(LineageId(1), LIMIT, at(0), 9).unwrap();
        assert_eq!(limiter.look(LineageId(1), LIMIT, at(0), 0).remaining, 1);
        assert_eq!(limiter.look(LineageId(65), LIMIT, at(0), 0).remaining, 10);
        let tighter = Limit { quota: 9, ..LIMIT };
        assert!(!limiter.take(LineageId(1), tighter, at(1), 1).unwrap().is_allowed);
    }

    #[test]
    fn when_there_are_too_many_keys_new_ones_wait_until_others_are_idle() {
        let limiter = Limiter::new(SHARDS);
        assert!(limiter.take(LineageId(64), LIMIT, at(0), 1).is_ok());
        assert!(matches!(limiter.take(LineageId(128), LIMIT, at(1), 1), Err(Error::Unavailable(_))));
        assert!(limiter.take(LineageId(64), LIMIT, at(1), 1).is_ok());
        assert!(limiter.take(LineageId(128), LIMIT, at(100), 1).is_ok());
    }

    #[test]
    fn a_restart_does_not_reset_a_limit() {
        let limiter = Limiter::default();
        limiter.warm(LineageId(1), LIMIT, at(90), &[(at(0), 3), (at(60), 4)]);
        // The first minute ended 30 s ago, the second has not ended yet.
        assert_eq!(limiter.look(LineageId(1), LIMIT, at(90), 0).remaining, 3);
        limiter.warm(LineageId(1), LIMIT, at(90), &[(at(0), 3)]);
        assert_eq!(limiter.look(LineageId(1), LIMIT, at(121), 0).remaining, 6);
        assert_eq!(limiter.look(LineageId(1), LIMIT, at(152), 0).remaining, 10);
    }
}
