//! Rate limits counted in this process.

mod shard;

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::iter;
use std::sync::{Mutex, MutexGuard};

use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest, Sha256};

use super::lock;
use crate::domain::limit::{Limit, LimitState, Window};
use crate::domain::{Error, LineageId, Result, TenantId};
use shard::Shard;

const SHARD_BITS: u32 = 6;
const SHARDS: usize = 1 << SHARD_BITS;
/// Limit on subjects with counts that still matter, over all tenants. One tenant has at most half of them; beyond that its
/// new subjects must wait.
const MOST_SUBJECTS: usize = 512 * 1024;

/// Subject of a count: a lineage of keys, or all keys of an owner, together with the name of a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subject(u128);

impl Subject {
    /// Returns the subject of a key's lineage. A key and its successors share their limits.
    pub fn of_lineage(lineage: LineageId, name: &str) -> Self {
        Self::hashed(&["lineage", &lineage.to_string(), name])
    }

    /// Returns the subject of an owner. Limits of equal name and length count as one, whichever key of the owner has
    /// them.
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

    fn low(self) -> u64 {
        u64::try_from(self.0 & u128::from(u64::MAX)).unwrap_or(0)
    }
}

/// Formats the subject as a hash for use outside this process. It shows no name, though a guessed name can be
/// confirmed.
impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Subject with its tenant and its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitSubject {
    pub tenant: TenantId,
    pub subject: Subject,
    pub limit: Limit,
}

/// Counts of a subject: counted in this process, or received from Redis.
#[derive(Debug)]
struct Counted {
    tenant: TenantId,
    window: Window,
    /// Number of the Redis connection over which the counts were last received. 0 if never.
    heard_over: u32,
    /// Calls counted here that Redis has not been told of.
    alone: u64,
}

impl Counted {
    fn own(tenant: TenantId, window: Window, alone: u64) -> Self {
        Self { tenant, window, heard_over: 0, alone }
    }
}

/// Counts of this process that Redis may not have.
#[derive(Debug)]
pub struct UnreportedCounts {
    /// Window to merge. `None` if Redis has all of it.
    pub window: Option<Window>,
    /// True: always merge into Redis. False: rebuilt from minute totals, used only if Redis has no window yet.
    pub is_counted: bool,
    /// Number of calls in this report. Calls that come meanwhile are reported next time.
    alone: u64,
}

impl UnreportedCounts {
    pub const NOTHING: Self = Self { window: None, is_counted: false, alone: 0 };
}

/// Rate limiter of this process: a window per subject, in shards to reduce contention.
#[derive(Debug)]
pub struct Limiter {
    shards: Vec<Mutex<Shard>>,
    most_per_shard: usize,
    /// Random odd factor. It is secret, so that no tenant can choose names that all fall into one shard.
    secret: u64,
}

impl Default for Limiter {
    fn default() -> Self {
        Self::new(MOST_SUBJECTS)
    }
}

impl Limiter {
    pub fn new(most: usize) -> Self {
        let secret = RandomState::new().hash_one(most) | 1;
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect(), most_per_shard: most.div_ceil(SHARDS), secret }
    }

    /// Returns a subject's shard: the upper bits of a product, which depend on all lower bits of the subject.
    fn place(&self, subject: Subject) -> usize {
        usize::try_from(subject.low().wrapping_mul(self.secret) >> (u64::BITS - SHARD_BITS)).unwrap_or(0)
    }

    fn shard(&self, subject: Subject) -> Option<MutexGuard<'_, Shard>> {
        self.shards.get(self.place(subject)).map(lock)
    }

    /// Charges `cost` to all limits if it fits into all of them, else to none. Returns them in the order of `held`,
    /// whose entries belong to one tenant.
    ///
    /// # Errors
    /// `Unavailable` if the subject is new and too many of its tenant's subjects are counted already.
    pub fn take(&self, held: &[LimitSubject], now: DateTime<Utc>, cost: u64) -> Result<Vec<LimitState>> {
        if let [one] = held {
            return Ok(vec![self.take_one(*one, now, cost)?]);
        }
        let mut shards = self.locked(held);
        let looked = held.iter().map(|one| self.look_in(&mut shards, *one, now, cost)).collect::<Vec<_>>();
        if cost == 0 || looked.iter().any(|standing| !standing.is_allowed) {
            return Ok(looked);
        }
        // Make room for all before inserting the first: a window without calls counts as idle and could be evicted.
        for (number, shard) in &mut shards {
            let here = held.iter().filter(|one| self.place(one.subject) == *number);
            shard.make_room(here, self.most_per_shard, now)?;
        }
        let take = |one: &LimitSubject| {
            let counted = self.among(&mut shards, one.subject)?.begun(*one)?;
            counted.alone += 1;
            Some(counted.window.take(now, cost))
        };
        Ok(held.iter().filter_map(take).collect())
    }

    /// Charges a single limit, the case of most keys, without locking several shards.
    fn take_one(&self, held: LimitSubject, now: DateTime<Utc>, cost: u64) -> Result<LimitState> {
        let Some(mut shard) = self.shard(held.subject) else { return Err(Error::bug("no such shard")) };
        if let Some(Counted { window, alone, .. }) = shard.adopted(held) {
            *alone += 1;
            // Refused calls and calls of cost 0 are not counted.
            return Ok(window.take(now, cost));
        }
        let mut window = Window::new(held.limit);
        let looked = window.look(now, cost);
        if cost == 0 || !looked.is_allowed {
            return Ok(looked);
        }
        shard.make_room(iter::once(&held), self.most_per_shard, now)?;
        let taken = window.take(now, cost);
        shard.insert(held, Counted::own(held.tenant, window, 1));
        Ok(taken)
    }

    /// Checks whether `cost` would fit. Charges nothing.
    pub fn look(&self, held: &[LimitSubject], now: DateTime<Utc>, cost: u64) -> Vec<LimitState> {
        let mut shards = self.locked(held);
        held.iter().map(|one| self.look_in(&mut shards, *one, now, cost)).collect()
    }

    pub fn knows(&self, subject: Subject) -> bool {
        self.shard(subject).is_some_and(|shard| shard.knows(subject))
    }

    /// Adds usage from before this process knew the subject. Each minute counts as a whole at its end, or now if that
    /// is sooner.
    ///
    /// # Errors
    /// Like [`Limiter::take`]: without room, counting would start from zero.
    pub fn warm(&self, held: LimitSubject, now: DateTime<Utc>, used: &[(DateTime<Utc>, i64)]) -> Result<()> {
        let Some(mut shard) = self.shard(held.subject) else { return Err(Error::bug("no such shard")) };
        // A concurrent call was faster, and has already added this usage.
        if used.is_empty() || shard.knows(held.subject) {
            return Ok(());
        }
        let mut window = Window::new(held.limit);
        for (minute, cost) in used {
            let end = *minute + TimeDelta::seconds(60) - TimeDelta::microseconds(1);
            window.remember(end.min(now), u64::try_from(*cost).unwrap_or(0));
        }
        if window.is_idle(now) {
            return Ok(());
        }
        shard.make_room(iter::once(&held), self.most_per_shard, now)?;
        shard.insert(held, Counted::own(held.tenant, window, 0));
        Ok(())
    }

    /// Returns the counts to report over this Redis connection.
    pub fn untold(&self, held: LimitSubject, line: u32) -> UnreportedCounts {
        let Some(mut shard) = self.shard(held.subject) else { return UnreportedCounts::NOTHING };
        match shard.find(held.subject) {
            Some(counted) if counted.heard_over != line || counted.alone != 0 => {
                counted.window.adopt(held.limit);
                let is_counted = counted.heard_over != 0 || counted.alone != 0;
                UnreportedCounts { window: Some(counted.window.clone()), is_counted, alone: counted.alone }
            }
            _ => UnreportedCounts::NOTHING,
        }
    }

    /// Stores counts received over this Redis connection after `told` was reported, for use while Redis is away.
    /// Without room, they are not stored.
    pub fn hear(&self, held: LimitSubject, now: DateTime<Utc>, line: u32, told: &UnreportedCounts, heard: Window) {
        let Some(mut shard) = self.shard(held.subject) else { return };
        if let Some(counted) = shard.find(held.subject) {
            if counted.heard_over == 0 && counted.alone == 0 {
                counted.window = heard;
            } else {
                counted.window.join(&heard);
            }
            counted.heard_over = line;
            counted.alone = counted.alone.saturating_sub(told.alone);
        } else if shard.make_room(iter::once(&held), self.most_per_shard, now).is_ok() {
            shard.insert(held, Counted { tenant: held.tenant, window: heard, heard_over: line, alone: 0 });
        }
    }

    /// Locks the shards of these subjects, each once and in ascending order, so that two calls cannot deadlock.
    fn locked(&self, held: &[LimitSubject]) -> Locked<'_> {
        let mut numbers: Vec<usize> = held.iter().map(|one| self.place(one.subject)).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers.into_iter().filter_map(|number| Some((number, lock(self.shards.get(number)?)))).collect()
    }

    fn among<'s>(&self, shards: &'s mut Locked<'_>, subject: Subject) -> Option<&'s mut Shard> {
        let place = self.place(subject);
        shards.iter_mut().find(|(number, _)| *number == place).map(|(_, shard)| &mut **shard)
    }

    fn look_in(&self, shards: &mut Locked<'_>, held: LimitSubject, now: DateTime<Utc>, cost: u64) -> LimitState {
        let known = self.among(shards, held.subject).and_then(|shard| shard.adopted(held));
        match known {
            Some(counted) => counted.window.look(now, cost),
            None => Window::new(held.limit).look(now, cost),
        }
    }
}

type Locked<'a> = Vec<(usize, MutexGuard<'a, Shard>)>;

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    const LIMIT: Limit = Limit { quota: 10, window_seconds: 60 };

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_764_000_000 + seconds, 0).unwrap()
    }

    fn key(id: i64, limit: Limit) -> LimitSubject {
        of(TenantId(1), id, limit)
    }

    fn of(tenant: TenantId, id: i64, limit: Limit) -> LimitSubject {
        LimitSubject { tenant, subject: Subject::of_lineage(LineageId(id), "key"), limit }
    }

    /// Returns keys, without end, that fall into the shard of key 1.
    fn beside(limiter: &Limiter, tenant: TenantId) -> impl Iterator<Item = LimitSubject> {
        let place = limiter.place(key(1, LIMIT).subject);
        let all = (2 + 1_000_000 * tenant.0..).map(move |id| of(tenant, id, LIMIT));
        all.filter(move |held| limiter.place(held.subject) == place)
    }

    fn remaining(limiter: &Limiter, held: LimitSubject, now: DateTime<Utc>) -> u64 {
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
    fn several_limits_are_charged_together_or_not_at_all() {
        let limiter = Limiter::default();
        let (tenant, limit) = (TenantId(1), Limit { quota: 2, window_seconds: 1 });
        let burst = LimitSubject { tenant, subject: Subject::of_lineage(LineageId(1), "burst"), limit };
        let both = [key(1, LIMIT), burst];
        limiter.take(&both, at(0), 2).unwrap();
        let refused = limiter.take(&both, at(0), 1).unwrap();
        assert_eq!(refused.iter().map(|standing| standing.is_allowed).collect::<Vec<_>>(), [true, false]);
        assert_eq!(remaining(&limiter, key(1, LIMIT), at(0)), 8, "a refused call costs nothing anywhere");
        assert!(limiter.take(&both, at(3), 2).unwrap().iter().all(|standing| standing.is_allowed));
        assert_eq!(remaining(&limiter, key(1, LIMIT), at(3)), 6);
    }

    #[test]
    fn keys_of_an_owner_share_the_owners_limits() {
        let limiter = Limiter::default();
        let tenant = TenantId(1);
        let owner = |limit| LimitSubject { tenant, subject: Subject::of_owner(tenant, "cust_1", "team", 60), limit };
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
        let other = beside(&limiter, TenantId(1)).next().unwrap();
        assert!(limiter.take(&[key(1, LIMIT)], at(0), 1).is_ok());
        assert!(matches!(limiter.take(&[other], at(1), 1), Err(Error::Unavailable(_))));
        assert!(limiter.take(&[key(1, LIMIT)], at(1), 1).is_ok());
        assert!(limiter.take(&[other], at(100), 1).is_ok());
    }

    #[test]
    fn a_greedy_tenant_leaves_room_for_every_other() {
        let limiter = Limiter::new(SHARDS * 64);
        let taken = |tenant| {
            let held = beside(&limiter, TenantId(tenant)).take(100);
            held.filter(|held| limiter.take(&[*held], at(0), 1).is_ok()).count()
        };
        assert_eq!((taken(1), taken(2), taken(3)), (32, 16, 8), "half of what was free");
        let place = limiter.place(key(1, LIMIT).subject);
        assert_eq!(lock(&limiter.shards[place]).len(), 56);
        let first = beside(&limiter, TenantId(1)).next().unwrap();
        assert_eq!(remaining(&limiter, first, at(1)), 9, "no other counts were dropped");
    }

    #[test]
    fn new_limits_of_one_call_get_no_more_room_than_others() {
        let limiter = Limiter::new(SHARDS * 8);
        let held: Vec<LimitSubject> = beside(&limiter, TenantId(1)).take(5).collect();
        assert!(matches!(limiter.take(&held, at(0), 1), Err(Error::Unavailable(_))));
        assert!(held.iter().all(|held| remaining(&limiter, *held, at(0)) == 10), "from all of them or from none");
        assert!(limiter.take(&held[..4], at(0), 1).is_ok());
    }

    #[test]
    fn usage_from_before_a_restart_is_an_error_when_there_is_no_room() {
        let limiter = Limiter::new(SHARDS * 2);
        let held: Vec<LimitSubject> = beside(&limiter, TenantId(1)).take(2).collect();
        limiter.warm(held[0], at(90), &[(at(60), 4)]).unwrap();
        assert!(limiter.warm(held[1], at(90), &[(at(60), 4)]).is_err(), "it would begin from nothing");
        let other = beside(&limiter, TenantId(2)).next().unwrap();
        assert!(limiter.warm(other, at(90), &[(at(60), 4)]).is_ok());
    }

    #[test]
    fn shards_of_subjects_differ_between_processes() {
        let (one, other) = (Limiter::default(), Limiter::default());
        let together = |limiter: &Limiter, (first, second): (i64, i64)| {
            limiter.place(key(first, LIMIT).subject) == limiter.place(key(second, LIMIT).subject)
        };
        let pairs: Vec<_> = (1..).map(|id| (id, id + 1)).filter(|pair| together(&one, *pair)).take(200).collect();
        let again = pairs.iter().filter(|pair| together(&other, **pair)).count();
        assert!(again < 50, "{again} of 200");
    }

    #[test]
    fn a_restart_does_not_reset_a_limit() {
        let limiter = Limiter::default();
        limiter.warm(key(1, LIMIT), at(90), &[(at(0), 3), (at(60), 4)]).unwrap();
        // The first minute ended 30 s ago, the second has not ended yet.
        assert_eq!(remaining(&limiter, key(1, LIMIT), at(90)), 3);
        limiter.warm(key(1, LIMIT), at(90), &[(at(0), 3)]).unwrap();
        assert_eq!(remaining(&limiter, key(1, LIMIT), at(121)), 6);
        assert_eq!(remaining(&limiter, key(1, LIMIT), at(152)), 10);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// Holds for keys that come when there is no room, and for keys that become idle meanwhile.
        #[test]
        fn never_over_a_limit_however_full_it_is(
            calls in prop::collection::vec((1_i64..4, 0_usize..6, any::<bool>(), 0_i64..6), 1..400),
        ) {
            let limiter = Limiter::new(SHARDS * 6);
            let limit = Limit { quota: 2, window_seconds: 20 };
            let keys: Vec<Vec<LimitSubject>> = (0..4).map(|tenant| {
                beside(&limiter, TenantId(tenant)).take(6).map(|held| LimitSubject { limit, ..held }).collect()
            }).collect();
            let mut accepted: HashMap<Subject, Vec<i64>> = HashMap::new();
            let mut now = 0;
            for (tenant, first, with_another, step) in calls {
                now += step;
                let of_tenant = &keys[usize::try_from(tenant).unwrap()];
                let held = &of_tenant[first..(first + 1 + usize::from(with_another)).min(6)];
                let taken = limiter.take(held, at(now), 1);
                if taken.is_ok_and(|standings| standings.len() == held.len() && standings.iter().all(|one| one.is_allowed)) {
                    held.iter().for_each(|one| accepted.entry(one.subject).or_default().push(now));
                }
                let inside = |times: &Vec<i64>| times.iter().filter(|then| now - 20 < **then).count();
                prop_assert!(accepted.values().all(|times| inside(times) <= 2));
                prop_assert!(lock(&limiter.shards[limiter.place(of_tenant[0].subject)]).len() <= 6);
            }
        }
    }
}
