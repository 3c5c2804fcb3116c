//! Rate limits, counted in this process.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard};

use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest, Sha256};

use super::lock;
use crate::domain::limit::{Limit, Standing, Window};
use crate::domain::{Error, LineageId, Result, TenantId};

const SHARDS: usize = 64;
/// Subjects with counts that still matter; when there are more, new ones have to wait.
const MOST_SUBJECTS: usize = 256 * 1024;

/// What is counted together: a lineage of keys, or all keys of an owner, under the name of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subject(u128);

impl Subject {
    /// A key and the ones that it was rotated into share their limits.
    pub fn of_lineage(lineage: LineageId, name: &str) -> Self {
        Self::hashed(&["lineage", &lineage.to_string(), name])
    }

    /// Limits of one name and one length are one, whichever key of the owner they stand at.
    pub fn of_owner(tenant: TenantId, owner: &str, name: &str, window_seconds: u64) -> Self {
        Self::hashed(&["owner", &tenant.to_string(), owner, name, &window_seconds.to_string()])
    }

    fn hashed(parts: &[&str]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update(part.as_bytes());
            hash.update([0]);
        }
        let mut first = [0; 16];
        for (to, from) in first.iter_mut().zip(hash.finalize()) {
            *to = from;
        }
        Self(u128::from_be_bytes(first))
    }

    fn shard(self) -> usize {
        usize::try_from(self.0 & u128::from(u32::MAX)).unwrap_or(0) % SHARDS
    }
}

/// As it is named outside this process: without a name, though whoever guesses one can see that it fits.
impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// A subject and what it is held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    pub subject: Subject,
    pub limit: Limit,
}

type Shard = HashMap<Subject, Counted>;

/// What this process counts of a subject, or has heard of it.
#[derive(Debug)]
struct Counted {
    window: Window,
    /// The line to the shared counts over which it was last heard; 0 where it never was.
    heard_over: u32,
    /// Calls that were counted here and the shared counts have not been told of.
    alone: u64,
}

impl Counted {
    fn own(window: Window, alone: u64) -> Self {
        Self { window, heard_over: 0, alone }
    }
}

/// What this process knows of a subject and the shared counts may not.
#[derive(Debug)]
pub struct Untold {
    /// None where they know all of it.
    pub window: Option<Window>,
    /// Whether it counts in any case. Else it comes from records that are coarser than theirs, and counts where they have
    /// nothing.
    pub is_counted: bool,
    /// How many calls it tells of, so that those that come meanwhile are told the next time.
    alone: u64,
}

impl Untold {
    pub const NOTHING: Self = Self { window: None, is_counted: false, alone: 0 };
}

/// A window per subject, in shards so that they don't wait for each other.
#[derive(Debug)]
pub struct Limiter {
    shards: Vec<Mutex<Shard>>,
    most_per_shard: usize,
}

impl Default for Limiter {
    fn default() -> Self {
        Self::new(MOST_SUBJECTS)
    }
}

impl Limiter {
    pub fn new(most: usize) -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect(), most_per_shard: most.div_ceil(SHARDS) }
    }

    /// Takes `cost` from all of them if it fits into all, else from none. In the order of `held`.
    ///
    /// # Errors
    /// `Unavailable` where too many subjects are counted already and this is a new one.
    pub fn take(&self, held: &[Held], now: DateTime<Utc>, cost: u64) -> Result<Vec<Standing>> {
        if let [one] = held {
            return Ok(vec![self.take_one(*one, now, cost)?]);
        }
        let mut shards = self.locked(held);
        let looked = held.iter().map(|one| look(&mut shards, *one, now, cost)).collect::<Vec<_>>();
        if cost == 0 || looked.iter().any(|standing| !standing.is_allowed) {
            return Ok(looked);
        }
        for one in held {
            self.make_room(&mut shards, one.subject, now)?;
        }
        let take = |one: &Held| {
            let counted = counted(&mut shards, *one, now)?;
            counted.alone += 1;
            Some(counted.window.take(now, cost))
        };
        Ok(held.iter().filter_map(take).collect())
    }

    /// The same for one, as most keys have it: there is nothing to be done together.
    fn take_one(&self, held: Held, now: DateTime<Utc>, cost: u64) -> Result<Standing> {
        let Some(shard) = self.shards.get(held.subject.shard()) else { return Err(Error::bug("no such shard")) };
        let mut shard = lock(shard);
        let Some(Counted { window, alone, .. }) = shard.get_mut(&held.subject) else {
            let mut window = Window::new(held.limit);
            let looked = window.look(now, cost);
            if cost == 0 || !looked.is_allowed {
                return Ok(looked);
            }
            self.make_room_in(&mut shard, now)?;
            let taken = window.take(now, cost);
            shard.insert(held.subject, Counted::own(window, 1));
            return Ok(taken);
        };
        if window.limit() != held.limit {
            window.adopt(held.limit, now);
        }
        *alone += 1;
        // What is refused, and what costs nothing, is not counted.
        Ok(window.take(now, cost))
    }

    /// Whether `cost` would fit, taking nothing.
    pub fn look(&self, held: &[Held], now: DateTime<Utc>, cost: u64) -> Vec<Standing> {
        let mut shards = self.locked(held);
        held.iter().map(|one| look(&mut shards, *one, now, cost)).collect()
    }

    pub fn knows(&self, subject: Subject) -> bool {
        self.shards.get(subject.shard()).is_some_and(|shard| lock(shard).contains_key(&subject))
    }

    /// Counts what was used before this process knew the subject: each minute wholly at its end, or now if that is
    /// sooner.
    pub fn warm(&self, held: Held, now: DateTime<Utc>, used: &[(DateTime<Utc>, i64)]) {
        let Some(shard) = self.shards.get(held.subject.shard()) else { return };
        let mut shard = lock(shard);
        // Whoever was faster has counted since: what the database knows is in there already.
        if used.is_empty() || shard.contains_key(&held.subject) {
            return;
        }
        let mut window = Window::new(held.limit);
        for (minute, cost) in used {
            let end = *minute + TimeDelta::seconds(60) - TimeDelta::microseconds(1);
            window.remember(end.min(now), u64::try_from(*cost).unwrap_or(0));
        }
        shard.insert(held.subject, Counted::own(window, 0));
    }

    /// What those who share the counts are to be told over this line.
    pub fn untold(&self, held: Held, now: DateTime<Utc>, line: u32) -> Untold {
        let Some(shard) = self.shards.get(held.subject.shard()) else { return Untold::NOTHING };
        match lock(shard).get_mut(&held.subject) {
            Some(counted) if counted.heard_over != line || counted.alone != 0 => {
                counted.window.adopt(held.limit, now);
                let is_counted = counted.heard_over != 0 || counted.alone != 0;
                Untold { window: Some(counted.window.clone()), is_counted, alone: counted.alone }
            }
            _ => Untold::NOTHING,
        }
    }

    /// Keeps what was heard over this line, where this was told, for a time without one. Where there is no room it is not
    /// kept.
    pub fn hear(&self, held: Held, now: DateTime<Utc>, line: u32, told: &Untold, heard: Window) {
        let Some(shard) = self.shards.get(held.subject.shard()) else { return };
        let mut shard = lock(shard);
        if let Some(counted) = shard.get_mut(&held.subject) {
            if counted.heard_over == 0 && counted.alone == 0 {
                counted.window = heard;
            } else {
                counted.window.join(&heard, now);
            }
            counted.heard_over = line;
            counted.alone = counted.alone.saturating_sub(told.alone);
        } else if self.make_room_in(&mut shard, now).is_ok() {
            shard.insert(held.subject, Counted { window: heard, heard_over: line, alone: 0 });
        }
    }

    /// The shards of these subjects, each once and in one order, so that nobody waits for each other in a ring.
    fn locked(&self, held: &[Held]) -> Locked<'_> {
        let mut numbers: Vec<usize> = held.iter().map(|one| one.subject.shard()).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers.into_iter().filter_map(|number| Some((number, lock(self.shards.get(number)?)))).collect()
    }

    fn make_room(&self, shards: &mut Locked<'_>, subject: Subject, now: DateTime<Utc>) -> Result<()> {
        let Some(shard) = shard(shards, subject) else { return Err(Error::bug("no such shard")) };
        if shard.contains_key(&subject) { Ok(()) } else { self.make_room_in(shard, now) }
    }

    fn make_room_in(&self, shard: &mut Shard, now: DateTime<Utc>) -> Result<()> {
        if shard.len() < self.most_per_shard {
            return Ok(());
        }
        shard.retain(|_, counted| !counted.window.is_idle(now));
        if shard.len() < self.most_per_shard {
            return Ok(());
        }
        Err(Error::unavailable("too many keys are being counted"))
    }
}

type Locked<'a> = Vec<(usize, MutexGuard<'a, Shard>)>;

fn shard<'s>(shards: &'s mut Locked<'_>, subject: Subject) -> Option<&'s mut Shard> {
    shards.iter_mut().find(|(number, _)| *number == subject.shard()).map(|(_, shard)| &mut **shard)
}

fn counted<'s>(shards: &'s mut Locked<'_>, held: Held, now: DateTime<Utc>) -> Option<&'s mut Counted> {
    let made = || Counted::own(Window::new(held.limit), 0);
    let counted = shard(shards, held.subject)?.entry(held.subject).or_insert_with(made);
    if counted.window.limit() != held.limit {
        counted.window.adopt(held.limit, now);
    }
    Some(counted)
}

fn look(shards: &mut Locked<'_>, held: Held, now: DateTime<Utc>, cost: u64) -> Standing {
    let is_counted = shard(shards, held.subject).is_some_and(|shard| shard.contains_key(&held.subject));
    let known = if is_counted { counted(shards, held, now) } else { None };
    match known {
        Some(counted) => counted.window.look(now, cost),
        None => Window::new(held.limit).look(now, cost),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Limit = Limit { quota: 10, window_seconds: 60 };

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_764_000_000 + seconds, 0).unwrap()
    }

    fn key(id: i64, limit: Limit) -> Held {
        Held { subject: Subject::of_lineage(LineageId(id), "key"), limit }
    }

    fn remaining(limiter: &Limiter, held: Held, now: DateTime<Utc>) -> u64 {
        limiter.look(&[held], now, 0).remove(0).remaining
    }

    #[test]
    fn keys_are_counted_apart_and_a_new_limit_counts_at_once() {
        let limiter = Limiter::default();
        limiter.take(&[key(1, LIMIT)], at(0), 9).unwrap();
        assert_eq!(remaining(&limiter, key(1, LIMIT), at(0)), 1);
        assert_eq!(remaining(&limiter, key(65, LIMIT), at(0)), 10);
        let tighter = key(1, Limit { quota: 9, ..LIMIT });
        assert!(!limiter.take(&[tighter], at(1), 1).unwrap().remove(0).is_allowed);
    }

    #[test]
    fn several_limits_are_taken_from_together_or_not_at_all() {
        let limiter = Limiter::default();
        let burst =
            Held { subject: Subject::of_lineage(LineageId(1), "burst"), limit: Limit { quota: 2, window_seconds: 1 } };
        let both = [key(1, LIMIT), burst];
        limiter.take(&both, at(0), 2).unwrap();
        let refused = limiter.take(&both, at(0), 1).unwrap();
        assert_eq!(refused.iter().map(|standing| standing.is_allowed).collect::<Vec<_>>(), [true, false]);
        assert_eq!(remaining(&limiter, key(1, LIMIT), at(0)), 8, "a refused call costs nothing anywhere");
        assert!(limiter.take(&both, at(3), 2).unwrap().iter().all(|standing| standing.is_allowed));
        assert_eq!(remaining(&limiter, key(1, LIMIT), at(3)), 6);
    }

    #[test]
    fn keys_of_an_owner_share_what_is_theirs_together() {
        let limiter = Limiter::default();
        let owner = |limit| Held { subject: Subject::of_owner(TenantId(1), "cust_1", "team", 60), limit };
        limiter.take(&[key(1, LIMIT), owner(LIMIT)], at(0), 6).unwrap();
        let second = limiter.take(&[key(2, LIMIT), owner(LIMIT)], at(1), 5).unwrap();
        assert_eq!(second.iter().map(|standing| standing.is_allowed).collect::<Vec<_>>(), [true, false]);
        assert_ne!(owner(LIMIT).subject, Subject::of_owner(TenantId(2), "cust_1", "team", 60));
    }

    #[test]
    fn looking_leaves_nothing_behind() {
        let limiter = Limiter::new(SHARDS);
        assert_eq!(remaining(&limiter, key(1, LIMIT), at(0)), 10);
        assert!(!limiter.knows(key(1, LIMIT).subject));
    }

    #[test]
    fn when_there_are_too_many_keys_new_ones_wait_until_others_are_idle() {
        let limiter = Limiter::new(SHARDS);
        let shard = key(1, LIMIT).subject.shard();
        let other = (2..).map(|id| key(id, LIMIT)).find(|held| held.subject.shard() == shard).unwrap();
        assert!(limiter.take(&[key(1, LIMIT)], at(0), 1).is_ok());
        assert!(matches!(limiter.take(&[other], at(1), 1), Err(Error::Unavailable(_))));
        assert!(limiter.take(&[key(1, LIMIT)], at(1), 1).is_ok());
        assert!(limiter.take(&[other], at(100), 1).is_ok());
    }

    #[test]
    fn a_restart_does_not_reset_a_limit() {
        let limiter = Limiter::default();
        limiter.warm(key(1, LIMIT), at(90), &[(at(0), 3), (at(60), 4)]);
        // The first minute ended 30 s ago, the second has not ended yet.
        assert_eq!(remaining(&limiter, key(1, LIMIT), at(90)), 3);
        limiter.warm(key(1, LIMIT), at(90), &[(at(0), 3)]);
        assert_eq!(remaining(&limiter, key(1, LIMIT), at(121)), 6);
        assert_eq!(remaining(&limiter, key(1, LIMIT), at(152)), 10);
    }
}
