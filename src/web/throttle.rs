//! Slows guessing of passwords: per account and per address, in memory, without locking anybody out for good.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

/// Failures that cost nothing.
const FREE: u32 = 5;
/// The longest wait, and how long failures are remembered.
const LONGEST: TimeDelta = TimeDelta::minutes(15);
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
    fn open_at(self, free: u32) -> DateTime<Utc> {
        if self.count < free {
            return self.last;
        }
        let seconds = 1_i64.checked_shl(self.count.saturating_sub(free).min(10)).unwrap_or(i64::MAX);
        self.last + TimeDelta::seconds(seconds).min(LONGEST)
    }
}

#[derive(Debug, Default)]
pub struct Throttle {
    failures: Mutex<HashMap<String, Failures>>,
}

impl Throttle {
    /// How long this attempt must still wait.
    pub fn wait(&self, attempt: &Attempt, now: DateTime<Utc>) -> Option<TimeDelta> {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = subjects(attempt).into_iter().filter_map(|(subject, free)| {
            let open_at = failures.get(&subject)?.open_at(free);
            (now < open_at).then(|| open_at - now)
        });
        waits.max()
    }

    pub fn failed(&self, attempt: Attempt, now: DateTime<Utc>) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if CAPACITY <= failures.len() {
            failures.retain(|_, failure| now < failure.last + LONGEST);
        }
        if CAPACITY <= failures.len() {
            failures.clear();
        }
        for (subject, _) in subjects(&attempt) {
            let failure = failures.entry(subject).or_insert(Failures { count: 0, last: now });
            failure.count = if failure.last + LONGEST <= now { 1 } else { failure.count.saturating_add(1) };
            failure.last = now;
        }
    }

    /// Forgets the account's failures; the address's stay, or one known password would buy endless guesses.
    pub fn succeeded(&self, attempt: &Attempt) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((account, _)) = subjects(attempt).first() {
            failures.remove(account);
        }
    }
}

/// The account as seen from this network, and the network: so that an attacker elsewhere cannot lock the owner out.
fn subjects(attempt: &Attempt) -> Vec<(String, u32)> {
    let network = attempt.ip.map_or_else(|| "unknown".to_owned(), network);
    vec![(format!("{}@{network}", attempt.email), FREE), (network, FREE * 10)]
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
}
