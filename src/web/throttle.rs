//! Throttling of password guesses, per account and per address. It is kept in memory and locks no user out for good.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::device::DeviceId;
use crate::domain::{Error, Rejection, Result, email};
use crate::gate::hashing::Requester;

/// Failures without a wait.
const FREE: u32 = 5;
/// Longest wait, and how long failures are remembered.
const LONGEST: TimeDelta = TimeDelta::minutes(15);
/// Longest wait for all failures at one account together. Owners on a known device or network do not wait for it.
const LONGEST_FROM_EVERYWHERE: TimeDelta = TimeDelta::minutes(1);
/// Maximum number of subjects. Two cores cannot try passwords of more in [`LONGEST`].
const CAPACITY: usize = 100_000;
/// Maximum length of an e-mail address in bytes (RFC 5321, section 4.5.3.1.3).
const LONGEST_EMAIL: usize = 254;

/// Attempt to sign in: account, network and device.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// Account's e-mail address, or `None` for an attempt at no account.
    account: Option<String>,
    /// Client's network, from [`network`].
    network: String,
    /// Device id, if the browser signed in to the account before.
    device: Option<DeviceId>,
}

impl Attempt {
    /// Returns an attempt at an account. Refuses text too long for an e-mail address before any work is done.
    pub fn at(email: &str, ip: Option<IpAddr>) -> Result<Self> {
        let email = email.trim();
        if LONGEST_EMAIL < email.len() {
            let says = format!("must be an e-mail address of at most {LONGEST_EMAIL} bytes");
            return Err(Error::field("email", Rejection::new("too_long", says)));
        }
        Ok(Self { account: Some(email::lookup(email)), network: network(ip), device: None })
    }

    /// Adds the device, if the browser is known for the account.
    pub fn by(self, device: Option<DeviceId>) -> Self {
        Self { device, ..self }
    }

    /// Counts the attempt as a password reset, separately from sign-ins.
    pub fn for_reset(self) -> Self {
        Self { account: self.account.map(|email| format!("{email} (reset)")), ..self }
    }

    /// Returns an attempt with a link's token, counted separately: following a dead link guesses no password.
    pub fn with_link(ip: Option<IpAddr>) -> Self {
        Self { account: None, network: format!("{} (link)", network(ip)), device: None }
    }
}

/// Returns an IPv4 address, or the /64 network of an IPv6 address.
fn network(ip: Option<IpAddr>) -> String {
    match ip {
        Some(IpAddr::V4(ip)) => ip.to_string(),
        Some(IpAddr::V6(ip)) => ip.segments().iter().take(4).map(|part| format!("{part:x}:")).collect(),
        None => "unknown".to_owned(),
    }
}

/// Digest of a subject's name, keyed at random per process. Its size is fixed, so long names take no more memory.
type Key = [u8; 16];

/// Subject under which attempts are counted.
#[derive(Clone, Copy)]
struct Subject {
    key: Key,
    free: u32,
    longest: TimeDelta,
    /// True for the account over all networks. Known requesters do not wait for it.
    is_from_everywhere: bool,
}

/// Attempts counted for one subject.
#[derive(Debug, Clone, Copy)]
struct Attempts {
    failed: u32,
    /// Attempts that began and have no result yet. Each may turn out wrong.
    under_way: u32,
    last: DateTime<Utc>,
}

impl Attempts {
    fn none(now: DateTime<Utc>) -> Self {
        Self { failed: 0, under_way: 0, last: now }
    }

    fn is_over(self, now: DateTime<Utc>) -> bool {
        self.under_way == 0 && (self.failed == 0 || self.last + LONGEST <= now)
    }

    /// Returns the wait, which doubles from one second after the free failures. Attempts then go one at a time.
    fn wait(self, subject: &Subject, now: DateTime<Utc>) -> Option<TimeDelta> {
        let failed = if self.last + LONGEST <= now { 0 } else { self.failed };
        if failed.saturating_add(self.under_way) < subject.free {
            return None;
        }
        let beyond = failed.checked_sub(subject.free);
        // 2^10 seconds exceed `LONGEST` already, so a larger exponent changes nothing.
        let seconds = beyond.map_or(0, |beyond| 1_i64.checked_shl(beyond.min(10)).unwrap_or(i64::MAX));
        let open_at = self.last + TimeDelta::seconds(seconds).min(subject.longest);
        let turn = if self.under_way == 0 { now } else { now + TimeDelta::seconds(1) };
        let wait = open_at.max(turn) - now;
        (TimeDelta::zero() < wait).then_some(wait)
    }

    fn fail(&mut self, now: DateTime<Utc>) {
        self.failed = if self.last + LONGEST <= now { 1 } else { self.failed.saturating_add(1) };
        self.last = now;
    }
}

#[derive(Default)]
struct Known {
    attempts: HashMap<Key, Attempts>,
    /// Time of the last sign-in per account and network, since this process started.
    at_home: HashMap<Key, DateTime<Utc>>,
}

/// Counts of attempts, shared by all requests of this process.
pub struct Throttle {
    mac: Hmac<Sha256>,
    known: Mutex<Known>,
}

impl Throttle {
    pub fn new() -> Result<Self> {
        let mut key = Zeroizing::new([0; 32]);
        getrandom::fill(key.as_mut()).map_err(|cause| Error::bug(cause.to_string()))?;
        let mac = Hmac::new_from_slice(key.as_ref()).map_err(Error::bug)?;
        Ok(Self { mac, known: Mutex::default() })
    }

    /// Counts an attempt before its password is checked, or refuses it if it must wait. Counting first means that
    /// concurrent attempts get no more guesses than sequential ones.
    pub fn begin(&self, attempt: &Attempt, now: DateTime<Utc>) -> Result<PendingAttempt<'_>> {
        let subjects = self.subjects(attempt);
        let mut known = self.known();
        let is_known = attempt.device.is_some() || known.at_home.contains_key(&self.here(attempt));
        let waits = subjects.iter().filter_map(|subject| {
            let must_wait = !(is_known && subject.is_from_everywhere);
            must_wait.then(|| known.attempts.get(&subject.key)?.wait(subject, now)).flatten()
        });
        if let Some(wait) = waits.max() {
            return Err(Error::Throttled { retry_after: wait.to_std().unwrap_or_default() });
        }
        known.make_room(now);
        for subject in &subjects {
            known.attempts.entry(subject.key).or_insert(Attempts::none(now)).under_way += 1;
        }
        drop(known);
        let requester = match &attempt.account {
            Some(account) if is_known => Requester::Known(account.clone()),
            _ => Requester::Unknown,
        };
        Ok(PendingAttempt {
            throttle: self,
            keys: subjects.iter().map(|subject| subject.key).collect(),
            requester,
            now,
        })
    }

    /// Forgets the account's failures on this network and this device. Failures of the network stay, or one known
    /// password would buy endless guesses. Failures of the account over all networks stay too.
    pub fn forgive(&self, attempt: &Attempt, now: DateTime<Utc>) {
        let here = self.here(attempt);
        let mut known = self.known();
        for subject in self.subjects(attempt).iter().filter(|subject| subject.free == FREE) {
            if let Some(attempts) = known.attempts.get_mut(&subject.key) {
                attempts.failed = 0;
            }
        }
        known.at_home.insert(here, now);
        if CAPACITY < known.at_home.len() {
            let oldest = known.at_home.iter().min_by_key(|(_, last)| **last).map(|(key, _)| *key);
            oldest.map(|key| known.at_home.remove(&key));
        }
    }

    /// Returns the subjects: account on this network, network, account over all networks, known device.
    fn subjects(&self, attempt: &Attempt) -> Vec<Subject> {
        let subject = |key, free, longest| Subject { key, free, longest, is_from_everywhere: false };
        let mut subjects = vec![subject(self.key(None, Some(&attempt.network)), FREE * 10, LONGEST)];
        if let Some(email) = &attempt.account {
            subjects.push(subject(self.here(attempt), FREE, LONGEST));
            let everywhere = subject(self.key(Some(email), None), FREE * 10, LONGEST_FROM_EVERYWHERE);
            subjects.push(Subject { is_from_everywhere: true, ..everywhere });
            // A stolen device cookie then buys no more guesses than one address has, on however many networks.
            let device = attempt.device.map(|device| format!("device {}", hex::encode(device)));
            subjects.extend(device.map(|device| subject(self.key(Some(email), Some(&device)), FREE, LONGEST)));
        }
        subjects
    }

    /// Returns the key of the account on this network.
    fn here(&self, attempt: &Attempt) -> Key {
        self.key(attempt.account.as_deref(), Some(&attempt.network))
    }

    fn key(&self, account: Option<&str>, network: Option<&str>) -> Key {
        let mut mac = self.mac.clone();
        for part in [account, network] {
            // No part contains a line end, and "none"/"some" marks absent parts, so no two subjects share a key.
            mac.update(part.map_or("none", |_| "some").as_bytes());
            mac.update(part.unwrap_or_default().as_bytes());
            mac.update(b"\n");
        }
        let mut key = Key::default();
        key.iter_mut().zip(mac.finalize().into_bytes()).for_each(|(to, from)| *to = from);
        key
    }

    /// Returns the locked state. A poisoned lock is fine: no invariant could be broken by a panic.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Drops expired subjects, then a tenth of all: fewest failures first, then oldest. Attempts in progress stay.
    fn make_room(&mut self, now: DateTime<Utc>) {
        if self.attempts.len() < CAPACITY {
            return;
        }
        self.attempts.retain(|_, attempts| !attempts.is_over(now));
        let most = CAPACITY - CAPACITY / 10;
        let excess = self.attempts.len().saturating_sub(most);
        let idle = self.attempts.iter().filter(|(_, attempts)| attempts.under_way == 0);
        let mut idle: Vec<_> = idle.map(|(key, attempts)| (attempts.failed, attempts.last, *key)).collect();
        idle.sort_unstable();
        for (_, _, key) in idle.into_iter().take(excess) {
            self.attempts.remove(&key);
        }
    }
}

/// Attempt in progress. Dropping it counts as a failure, also if the client disconnected before the result.
#[must_use]
pub struct PendingAttempt<'a> {
    throttle: &'a Throttle,
    keys: Vec<Key>,
    requester: Requester,
    now: DateTime<Utc>,
}

impl PendingAttempt<'_> {
    /// Returns the requester for the order of hashing: known if device or network signed in to the account before.
    pub fn requester(&self) -> &Requester {
        &self.requester
    }

    /// Ends an attempt that tested no password, or only a part. It counts neither as failure nor as success.
    pub fn take_back(mut self) {
        self.end(false);
    }

    pub fn succeed(self, attempt: &Attempt) {
        self.throttle.forgive(attempt, self.now);
        self.take_back();
    }

    fn end(&mut self, is_failure: bool) {
        let mut known = self.throttle.known();
        for key in self.keys.drain(..) {
            let attempts = known.attempts.entry(key).or_insert(Attempts::none(self.now));
            attempts.under_way = attempts.under_way.saturating_sub(1);
            if is_failure {
                attempts.fail(self.now);
            }
            if attempts.is_over(self.now) {
                known.attempts.remove(&key);
            }
        }
    }
}

impl Drop for PendingAttempt<'_> {
    fn drop(&mut self) {
        self.end(true);
    }
}

/// Returns the sentence that a page shows.
pub fn says(seconds: u64) -> String {
    format!("Too many attempts. Wait {seconds} seconds, then try again.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(ip: &str) -> Attempt {
        Attempt::at("ada@example.com", ip.parse().ok()).unwrap()
    }

    fn wait(throttle: &Throttle, attempt: &Attempt, now: DateTime<Utc>) -> Option<TimeDelta> {
        match throttle.begin(attempt, now) {
            Ok(trial) => {
                trial.take_back();
                None
            }
            Err(Error::Throttled { retry_after }) => TimeDelta::from_std(retry_after).ok(),
            Err(error) => panic!("{error}"),
        }
    }

    fn fail(throttle: &Throttle, attempt: &Attempt, now: DateTime<Utc>) {
        let subjects = throttle.subjects(attempt);
        for subject in subjects {
            throttle.known().attempts.entry(subject.key).or_insert(Attempts::none(now)).fail(now);
        }
    }

    fn start() -> (Throttle, DateTime<Utc>) {
        (Throttle::new().unwrap(), DateTime::<Utc>::UNIX_EPOCH)
    }

    #[test]
    fn guessing_slows_down_and_a_success_forgives_the_account() {
        let (throttle, now) = start();
        let attempt = from("192.0.2.1");
        for _ in 0..5 {
            drop(throttle.begin(&attempt, now).unwrap());
        }
        assert_eq!(wait(&throttle, &attempt, now), Some(TimeDelta::seconds(1)));
        let now = now + TimeDelta::seconds(1);
        drop(throttle.begin(&attempt, now).unwrap());
        assert_eq!(wait(&throttle, &attempt, now), Some(TimeDelta::seconds(2)));
        assert_eq!(wait(&throttle, &from("192.0.2.2"), now), None);
        let now = now + TimeDelta::seconds(2);
        throttle.begin(&attempt, now).unwrap().succeed(&attempt);
        assert_eq!(wait(&throttle, &attempt, now), None);
        assert_eq!(throttle.known().attempts.len(), 2, "the network's and the account's failures stay");
    }

    #[test]
    fn concurrent_attempts_use_the_free_ones_and_then_go_one_at_a_time() {
        let (throttle, now) = start();
        let attempt = from("192.0.2.1");
        let trials: Vec<_> = (0..600).filter_map(|_| throttle.begin(&attempt, now).ok()).collect();
        assert_eq!(trials.len(), 5);
        drop(trials);
        let now = now + TimeDelta::seconds(1);
        let trials: Vec<_> = (0..600).filter_map(|_| throttle.begin(&attempt, now).ok()).collect();
        assert_eq!(trials.len(), 1);
        // An attempt that was taken back does not count.
        trials.into_iter().for_each(PendingAttempt::take_back);
        assert_eq!(wait(&throttle, &attempt, now), None);
    }

    #[test]
    fn an_ipv6_network_is_the_first_half_of_the_address() {
        let (throttle, now) = start();
        for last in 1..=5 {
            drop(throttle.begin(&from(&format!("2001:db8:1:2::{last}")), now).unwrap());
        }
        assert!(wait(&throttle, &from("2001:db8:1:2:ffff::9"), now).is_some());
        assert_eq!(wait(&throttle, &from("2001:db8:1:3::1"), now), None);
    }

    #[test]
    fn guesses_from_many_networks_are_slowed_and_a_known_owner_is_let_in() {
        let (throttle, now) = start();
        let home = from("203.0.113.7");
        throttle.begin(&home, now).unwrap().succeed(&home);
        for last in 0..100 {
            fail(&throttle, &from(&format!("192.0.2.{last}")), now);
        }
        let away = wait(&throttle, &from("198.51.100.1"), now).unwrap();
        assert_eq!((away, wait(&throttle, &home, now)), (TimeDelta::minutes(1), None));
        let other = Attempt::at("dan@example.com", "198.51.100.1".parse().ok()).unwrap();
        assert_eq!(wait(&throttle, &other, now), None);
    }

    #[test]
    fn at_capacity_the_subjects_with_fewest_failures_are_dropped() {
        let (throttle, now) = start();
        let (ada, later) = (from("203.0.113.7"), now + TimeDelta::seconds(1));
        for _ in 0..5 {
            drop(throttle.begin(&ada, now).unwrap());
        }
        let mut known = throttle.known();
        for number in 0..2 * u64::try_from(CAPACITY).unwrap() {
            let mut key = Key::default();
            key[..8].copy_from_slice(&number.to_le_bytes());
            known.make_room(later);
            known.attempts.insert(key, Attempts { failed: 1, under_way: 0, last: later });
        }
        assert!(known.attempts.len() <= CAPACITY);
        drop(known);
        assert!(wait(&throttle, &ada, now).is_some());
    }

    #[test]
    fn text_too_long_for_an_address_is_not_remembered() {
        assert!(Attempt::at(&"a".repeat(255), None).is_err());
        assert!(Attempt::at(&format!(" {} ", "a".repeat(254)), None).is_ok());
    }
}
