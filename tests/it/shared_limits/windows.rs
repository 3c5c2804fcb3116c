//! Script that counts in Redis, compared with the rules of a sliding window: the same numbers, and never over the
//! limit.

use chrono::TimeDelta;
use gatepost::config::Outage;
use gatepost::domain::limit::{Limit, LimitState};
use gatepost::domain::{Clock, LineageId, TenantId};
use gatepost::gate::limiter::{LimitSubject, Limiter, Subject};
use gatepost::gate::shared::Shared;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};

use crate::support::Redis;

/// Process that counts together with others: its own limiter, and its connection to Redis.
struct Process {
    own: Limiter,
    shared: Shared,
    clock: Clock,
}

impl Process {
    async fn start(redis: &Redis, clock: &Clock) -> Self {
        let settings = redis.settings(Outage::FailClosed);
        let shared = Shared::start(&settings, "test".to_owned(), clock.clone()).await.unwrap();
        Self { own: Limiter::default(), shared, clock: clock.clone() }
    }

    async fn take(&self, held: LimitSubject, cost: u64) -> LimitState {
        self.shared.take(&self.own, &[held], self.clock.now(), cost).await.unwrap().remove(0)
    }
}

fn held(subject: i64, quota: u64, window_seconds: u64) -> LimitSubject {
    let (tenant, limit) = (TenantId(1), Limit { quota, window_seconds });
    LimitSubject { tenant, subject: Subject::of_lineage(LineageId(subject), "key"), limit }
}

/// Call of a generated history. First, the time since the previous call: in 320ths of the window, plus as many
/// milliseconds to be off the grid. Then its cost, and the process that gets it.
type Call = (i64, u64, bool);

fn histories() -> impl Strategy<Value = (u64, u64, Vec<Call>)> {
    let windows = prop_oneof![Just(1_u64), Just(7), Just(60), Just(61), 1_u64..4_000];
    let calls = prop::collection::vec((0_i64..40, 0_u64..4, any::<bool>()), 1..150);
    (1_u64..20, windows, calls)
}

#[actix_web::test]
async fn no_trailing_window_exceeds_the_limit_whichever_process_counts() {
    let redis = Redis::start();
    let clock = Clock::default();
    let processes = [Process::start(&redis, &clock).await, Process::start(&redis, &clock).await];
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(1) });
    for subject in 0..24 {
        let (quota, window_seconds, calls) = histories().new_tree(&mut runner).unwrap().current();
        let held = held(subject, quota, window_seconds);
        let length = TimeDelta::seconds(i64::try_from(window_seconds).unwrap());
        // Start, end and cost of each accepted call.
        let mut accepted = Vec::new();
        for (step, cost, which) in calls {
            clock.advance(TimeDelta::milliseconds((step * length.num_milliseconds() / 320).max(0) + step));
            let began = clock.now();
            let standing = processes[usize::from(which)].take(held, cost).await;
            let ended = clock.now();
            if standing.is_allowed && cost != 0 {
                accepted.push((began, ended, cost));
            }
            // Calls that are certainly in one window with this one: they started less than a window before this one's
            // end.
            let inside = accepted.iter().filter(|(began, _, _)| ended - length < *began);
            let sum: u64 = inside.map(|(_, _, cost)| cost).sum();
            assert!(sum <= quota, "{sum} of {quota} in {window_seconds} s: {accepted:?}");
            assert!(standing.remaining <= quota - sum);
            assert!(standing.retry_after.is_none_or(|wait| standing.more_in <= wait));
        }
    }
}

#[actix_web::test]
async fn the_wait_given_to_a_refused_call_is_sufficient_and_not_much_too_long() {
    let redis = Redis::start();
    let clock = Clock::default();
    let process = Process::start(&redis, &clock).await;
    for (subject, window_seconds) in [(1, 20_u64), (2, 60), (3, 3_600)] {
        let held = held(subject, 10, window_seconds);
        assert!(process.take(held, 7).await.is_allowed);
        let refused = process.take(held, 4).await;
        let wait = i64::try_from(refused.retry_after.unwrap()).unwrap();
        let longest = i64::try_from(window_seconds + window_seconds.div_ceil(60) + 1).unwrap();
        assert!((1..=longest).contains(&wait), "{wait} of {window_seconds}");
        clock.advance(TimeDelta::seconds(wait));
        assert!(process.take(held, 4).await.is_allowed, "after {wait} of {window_seconds}");
    }
}

#[actix_web::test]
async fn counts_of_a_process_with_a_clock_ahead_are_kept_but_not_dated_in_the_future() {
    let redis = Redis::start();
    let (clock, ahead) = (Clock::default(), Clock::default());
    let process = Process::start(&redis, &clock).await;
    let held = held(1, 10, 60);
    // A process counted alone before it found Redis, with a clock that is a day ahead.
    ahead.advance(TimeDelta::days(1));
    let stranger = Process::start(&redis, &clock).await;
    for _ in 0..2 {
        stranger.own.take(&[held], ahead.now(), 2).unwrap();
        ahead.advance(TimeDelta::seconds(5));
    }
    assert_eq!(stranger.take(held, 1).await.remaining, 5);
    assert_eq!(process.take(held, 1).await.remaining, 4);
    clock.advance(TimeDelta::seconds(63));
    assert_eq!(process.take(held, 1).await.remaining, 9, "a minute later all of it is over");
}

#[actix_web::test]
async fn counts_of_a_process_alone_are_sent_with_its_next_call() {
    let redis = Redis::start();
    let clock = Clock::default();
    let (one, other) = (Process::start(&redis, &clock).await, Process::start(&redis, &clock).await);
    let held = held(1, 10, 3_600);
    assert_eq!(one.take(held, 3).await.remaining, 7);
    // This process has not heard of these three calls, and has counted in another sub-window.
    clock.advance(TimeDelta::minutes(2));
    other.own.take(&[held], clock.now(), 6).unwrap();
    let refused = other.take(held, 2).await;
    assert_eq!((refused.is_allowed, refused.remaining), (false, 1));
    // Counts made alone are also sent over a connection that was used before.
    clock.advance(TimeDelta::minutes(2));
    one.own.take(&[held], clock.now(), 1).unwrap();
    assert_eq!(one.take(held, 0).await.remaining, 0);
    assert_eq!(other.take(held, 0).await.remaining, 0);
}

#[actix_web::test]
async fn alternating_window_lengths_keep_every_count_and_date_none_in_the_future() {
    let redis = Redis::start();
    let clock = Clock::default();
    let process = Process::start(&redis, &clock).await;
    let (coarse, fine) = (held(1, 100, 3_600), held(1, 100, 61));
    for turn in 1..=20 {
        let held = if turn % 2 == 0 { fine } else { coarse };
        assert_eq!(process.take(held, 1).await.remaining, 100 - turn);
    }
    clock.advance(TimeDelta::seconds(3_661));
    assert_eq!(process.take(coarse, 0).await.remaining, 100);
}

#[actix_web::test]
async fn foreign_values_in_redis_are_ignored() {
    let redis = Redis::start();
    let process = Process::start(&redis, &Clock::default()).await;
    let held = held(1, 10, 3_600);
    assert_eq!(process.take(held, 2).await.remaining, 8);
    let name = format!("gatepost:test:limit:{}", held.subject);
    let set = |field: &str| redis::cmd("HSET").arg(&name).arg(field).arg("abc").exec(&mut redis.connect()).unwrap();
    set("strange");
    assert_eq!(process.take(held, 1).await.remaining, 7);
    set("s");
    assert_eq!(process.take(held, 1).await.remaining, 6);
}

#[actix_web::test]
async fn redis_deletes_expired_windows() {
    let redis = Redis::start();
    let process = Process::start(&redis, &Clock::default()).await;
    assert!(process.take(held(1, 10, 1), 1).await.is_allowed);
    assert!(process.take(held(2, 10, 3_600), 1).await.is_allowed);
    let start = std::time::Instant::now();
    while redis.contents().len() != 1 {
        assert!(start.elapsed() < std::time::Duration::from_secs(20), "{:?}", redis.contents());
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}
