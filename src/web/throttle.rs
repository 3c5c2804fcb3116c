//! Slows guessing of passwords: per account and per address, in memory, without locking anybody out for good.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

/// Failures that cost nothing.
const FREE: u32 = 5;
/// The longest wait, and how long failures are remembered.
const LONGEST: TimeDelta = TimeDelta::minutes(15);
/// The longest wait for failures at one account from everywhere together: whoever guesses from many addresses gets no
/// more than so many guesses, and the owner is never kept out from where they have signed in before.
const LONGEST_FROM_EVERYWHERE: TimeDelta = TimeDelta::minutes(1);
/// Subjects remembered at once; beyond it the forgotten ones go first.
const CAPACITY: usize = 10_000;

/// Who tries to sign in, from where.
#[derive(Debug, Clone)]
pub struct Attempt {
    pub email: String,
    pub ip: Option<IpAddr>,
}

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    last: DateTime<Utc>,
}

impl Failures {
    /// Doubling from one second after the free ones.
    fn open_at(self, subject: &Subject) -> DateTime<Utc> {
        if self.count < subject.free {
            return self.last;
        }
        let seconds = 1_i64.checked_shl(self.count.saturating_sub(subject.free).min(10)).unwrap_or(i64::MAX);
        self.last + TimeDelta::seconds(seconds).min(subject.longest)
    }
}

/// What failures are counted under.
struct Subject {
    name: String,
    free: u32,
    longest: TimeDelta,
}

#[derive(Debug, Default)]
pub struct Throttle {
    failures: Mutex<HashMap<String, Failures>>,
    /// Accounts with the networks from which they were signed in to, since this process started.
    at_home: Mutex<HashSet<String>>,
}

impl Throttle {
    /// How long this attempt must still wait.
    pub fn wait(&self, attempt: &Attempt, now: DateTime<Utc>) -> Option<TimeDelta> {
        let is_at_home = lock(&self.at_home).contains(&here(attempt));
        let failures = lock(&self.failures);
        let waits = subjects(attempt).into_iter().filter_map(|subject| {
            if is_at_home && subject.name == attempt.email {
                return None;
            }
            let open_at = failures.get(&subject.name)?.open_at(&subject);
            (now < open_at).then(|| open_at - now)
        });
        waits.max()
    }

    pub fn failed(&self, attempt: Attempt, now: DateTime<Utc>) {
        let mut failures = lock(&self.failures);
        if CAPACITY <= failures.len() {
            failures.retain(|_, failure| now < failure.last + LONGEST);
        }
        if CAPACITY <= failures.len() {
            failures.clear();
        }
        for subject in subjects(&attempt) {
            let failure = failures.entry(subject.name).or_insert(Failures { count: 0, last: now });
            failure.count = if failure.last + LONGEST <= now { 1 } else { failure.count.saturating_add(1) };
            failure.last = now;
        }
    }

    /// Forgets the account's failures from here; the address's stay, or one known password would buy endless guesses,
    /// and so do those from everywhere.
    pub fn succeeded(&self, attempt: &Attempt) {
        lock(&self.failures).remove(&here(attempt));
        let mut at_home = lock(&self.at_home);
        if CAPACITY <= at_home.len() {
            at_home.clear();
        }
        at_home.insert(here(attempt));
    }
}

/// No invariant spans these locks, so what a panicking thread left behind is good.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The account as seen from this network.
fn here(attempt: &Attempt) -> String {
    format!("{}@{}", attempt.email, of_network(attempt))
}

fn of_network(attempt: &Attempt) -> String {
    attempt.ip.map_or_else(|| "unknown".to_owned(), network)
}

/// The account as seen from this network, the network, and the account from everywhere.
fn subjects(attempt: &Attempt) -> [Subject; 3] {
    let subject = |name, free, longest| Subject { name, free, longest };
    [
        subject(here(attempt), FREE, LONGEST),
        subject(of_network(attempt), FREE * 10, LONGEST),
        subject(attempt.email.clone(), FREE * 10, LONGEST_FROM_EVERYWHERE),
    ]
}

/// An IPv4 address, or the /64 of an IPv6 one.
fn network(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => ip.segments().iter().take(4).map(|part| format!("{part:x}:")).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guessing_slows_down_and_a_success_forgives_the_account() {
        let (throttle, now) = (Throttle::default(), DateTime::<Utc>::UNIX_EPOCH);
        let attempt = Attempt { email: "ada@example.com".into(), ip: "192.0.2.1".parse().ok() };
        for _ in 0..4 {
            throttle.failed(attempt.clone(), now);
        }
        assert_eq!(throttle.wait(&attempt, now), None);
        throttle.failed(attempt.clone(), now);
        assert_eq!(throttle.wait(&attempt, now), Some(TimeDelta::seconds(1)));
        throttle.failed(attempt.clone(), now);
        assert_eq!(throttle.wait(&attempt, now), Some(TimeDelta::seconds(2)));
        let elsewhere = Attempt { ip: "192.0.2.2".parse().ok(), ..attempt.clone() };
        assert_eq!(throttle.wait(&elsewhere, now), None);
        throttle.succeeded(&attempt);
        assert_eq!(throttle.wait(&attempt, now), None);
    }

    #[test]
    fn a_network_of_version_six_is_its_first_half() {
        let (throttle, now) = (Throttle::default(), DateTime::<Utc>::UNIX_EPOCH);
        let from = |ip: &str| Attempt { email: "ada@example.com".into(), ip: ip.parse().ok() };
        for last in 1..=5 {
            throttle.failed(from(&format!("2001:db8:1:2::{last}")), now);
        }
        assert!(throttle.wait(&from("2001:db8:1:2:ffff::9"), now).is_some());
        assert_eq!(throttle.wait(&from("2001:db8:1:3::1"), now), None);
    }

    #[test]
    fn guesses_from_everywhere_are_slowed_and_the_owner_is_let_in_where_they_are_known() {
        let (throttle, now) = (Throttle::default(), DateTime::<Utc>::UNIX_EPOCH);
        let from = |ip: String| Attempt { email: "ada@example.com".into(), ip: ip.parse().ok() };
        let home = from("203.0.113.7".into());
        throttle.succeeded(&home);
        for last in 0..100 {
            throttle.failed(from(format!("192.0.2.{last}")), now);
        }
        let wait = throttle.wait(&from("198.51.100.1".into()), now).unwrap();
        assert_eq!((wait, throttle.wait(&home, now)), (TimeDelta::minutes(1), None));
        let other = Attempt { email: "dan@example.com".into(), ip: "198.51.100.1".parse().ok() };
        assert_eq!(throttle.wait(&other, now), None);
    }
}
