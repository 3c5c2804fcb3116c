//! Readiness of this process, as the last background check found it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use diesel::pg::PgConnection;
use tokio::sync::watch;

use crate::domain::Result;
use crate::store::write_probe::{self, Refusal};
use crate::store::{fitness, migrations};

/// Age at which the last good check no longer counts. Two checks in a row must fail before that.
const GOOD_FOR: Duration = Duration::from_secs(5);

/// Reason why requests would fail. The text is public, so it names no host, user or secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reason {
    /// Stable snake_case code, part of the API contract.
    pub code: &'static str,
    /// Sentence for operators.
    pub detail: &'static str,
}

impl Reason {
    pub const STOPPING: Self =
        Self { code: "stopping", detail: "the server is stopping: send requests to another replica" };
    pub const LIMITS: Self = Self { code: "limits", detail: "rate limits cannot be counted: Redis does not respond" };
    pub const DATABASE: Self = Self { code: "database", detail: "the database is unreachable or does not respond" };
    pub const MIGRATIONS: Self =
        Self { code: "migrations", detail: "the database lacks tables of this version: run `gatepost migrate`" };
    pub const UNFIT: Self = Self {
        code: "rights",
        detail: "the database lacks a role, rights or partitions that requests need: `gatepost doctor` names them",
    };
    pub const READ_ONLY: Self = Self { code: "read_only", detail: "the database is read-only" };
    pub const STORAGE: Self = Self { code: "storage", detail: "the database cannot write to its disk" };
    const UNCHECKED: Self = Self { code: "database", detail: "the database has not been checked yet" };

    /// False if an administrator must act first, so that waiting does not help.
    pub fn can_pass(self) -> bool {
        self != Self::MIGRATIONS && self != Self::UNFIT
    }
}

/// Results of the checks so far.
#[derive(Debug, Clone, Copy, Default)]
struct Checks {
    last_good: Option<Instant>,
    /// Result of the last check that failed, until one succeeds.
    failure: Option<Reason>,
}

/// Readiness of this process, in memory: reading it never waits.
#[derive(Debug, Default)]
pub struct Readiness {
    checks: watch::Sender<Checks>,
    is_stopping: AtomicBool,
}

impl Readiness {
    /// Stores the result of a check.
    pub fn note(&self, result: Result<(), Reason>, now: Instant) {
        self.checks.send_modify(|checks| match result {
            Ok(()) => *checks = Checks { last_good: Some(now), failure: None },
            Err(reason) => checks.failure = Some(reason),
        });
    }

    /// Waits until the first check is done, whatever its result.
    pub async fn first_check(&self) {
        let is_done = |checks: &Checks| checks.last_good.is_some() || checks.failure.is_some();
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = self.checks.subscribe().wait_for(is_done).await;
    }

    /// Reports this process as not ready from now on.
    pub fn stop(&self) {
        self.is_stopping.store(true, Ordering::Release);
    }

    pub fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Acquire)
    }

    /// Reasons why this process is not ready. Empty: it is ready.
    pub fn reasons(&self, now: Instant) -> Vec<Reason> {
        let Checks { last_good, failure } = *self.checks.borrow();
        let is_good = last_good.is_some_and(|at| now.saturating_duration_since(at) < GOOD_FOR);
        let stopping = self.is_stopping().then_some(Reason::STOPPING);
        let failed = match last_good {
            _ if is_good => None,
            None => Some(failure.unwrap_or(Reason::UNCHECKED)),
            Some(_) => Some(failure.unwrap_or(Reason::DATABASE)),
        };
        stopping.into_iter().chain(failed).collect()
    }
}

/// Checks the database for what requests need, and repairs what it can. A server that is not ready gets no requests
/// that could trigger a repair.
pub fn check(conn: &mut PgConnection) -> Result<(), Reason> {
    match write_probe::refusal(conn) {
        Ok(None) => {}
        Ok(Some(Refusal::ReadOnly)) => return Err(Reason::READ_ONLY),
        Ok(Some(Refusal::Storage(says))) => {
            tracing::debug!(says, "the readiness check failed");
            return Err(Reason::STORAGE);
        }
        Err(error) => return Err(unreachable(&error)),
    }
    match migrations::is_current(conn) {
        Ok(true) => fitness::check_then_repair(conn).map_err(|unfit| {
            tracing::debug!(%unfit, "the readiness check failed");
            Reason::UNFIT
        }),
        Ok(false) => Err(Reason::MIGRATIONS),
        Err(error) => Err(unreachable(&error)),
    }
}

fn unreachable(error: &dyn std::error::Error) -> Reason {
    tracing::debug!(%error, "the readiness check failed");
    Reason::DATABASE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn a_process_is_not_ready_before_its_first_check() {
        assert_eq!(Readiness::default().reasons(Instant::now()), [Reason::UNCHECKED]);
    }

    #[test]
    fn one_failed_check_changes_nothing_while_the_last_good_one_is_recent() {
        let (readiness, start) = (Readiness::default(), Instant::now());
        readiness.note(Ok(()), start);
        readiness.note(Err(Reason::MIGRATIONS), after(start, 1));
        assert_eq!(readiness.reasons(after(start, 4)), []);
        assert_eq!(readiness.reasons(after(start, 5)), [Reason::MIGRATIONS]);
    }

    #[test]
    fn a_check_that_never_ends_makes_the_process_unready() {
        let (readiness, start) = (Readiness::default(), Instant::now());
        readiness.note(Ok(()), start);
        assert_eq!(readiness.reasons(after(start, 5)), [Reason::DATABASE]);
    }

    #[test]
    fn a_good_check_makes_the_process_ready_again() {
        let (readiness, start) = (Readiness::default(), Instant::now());
        readiness.note(Err(Reason::DATABASE), start);
        readiness.note(Ok(()), after(start, 9));
        assert_eq!(readiness.reasons(after(start, 10)), []);
    }

    #[test]
    fn a_stopping_process_is_not_ready_although_its_checks_succeed() {
        let (readiness, start) = (Readiness::default(), Instant::now());
        readiness.note(Ok(()), start);
        readiness.stop();
        assert_eq!(readiness.reasons(start), [Reason::STOPPING]);
    }
}
