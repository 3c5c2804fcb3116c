//! Rate limits: a sliding window, counted in sixtieths, that never lets more than its limit through.

pub mod named;

use std::collections::VecDeque;

use chrono::{DateTime, TimeDelta, Utc};

/// Number of counters in one window.
const SUB_WINDOWS: i64 = 60;

/// A rate limit: how much in how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Maximum number of units in any window.
    pub quota: u64,
    /// Length of the window in seconds.
    pub window_seconds: u64,
}

impl Limit {
    /// Returns the length of the window in microseconds.
    pub fn window(self) -> i64 {
        i64::try_from(self.window_seconds).unwrap_or(i64::MAX / 1_000_000).saturating_mul(1_000_000)
    }

    /// Returns a sixtieth of the window in microseconds, rounded up.
    pub fn sub_window(self) -> i64 {
        self.window().div_ceil_by(SUB_WINDOWS).max(1)
    }
}

trait DivCeil {
    fn div_ceil_by(self, by: Self) -> Self;
}

impl DivCeil for i64 {
    fn div_ceil_by(self, by: Self) -> Self {
        self.div_euclid(by) + i64::from(self.rem_euclid(by) != 0)
    }
}

/// State of a limit after a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitState {
    /// The limit itself.
    pub limit: Limit,
    /// True if the call's cost fitted.
    pub is_allowed: bool,
    /// Units left.
    pub remaining: u64,
    /// Whole seconds until one more unit is surely free, at most the window; 0 if nothing is used.
    pub more_in: u64,
    /// Time at which that unit is free (UTC), rounded up to a second.
    pub more_at: DateTime<Utc>,
    /// Whole seconds until a refused cost would fit, at least 1. `None` if allowed, and for a cost above the quota.
    pub retry_after: Option<u64>,
}

/// Counters of one key or owner, one for each sub-window in use. A counter stays until a whole window has passed since
/// its newest call, so costs may count a little too long, never too short.
#[derive(Debug, Clone)]
pub struct Window {
    limit: Limit,
    /// Time of the newest call in microseconds, and the count, for each sub-window; oldest first.
    counts: VecDeque<(i64, u64)>,
}

impl Window {
    pub fn new(limit: Limit) -> Self {
        Self { limit, counts: VecDeque::new() }
    }

    /// Changes to another limit. If the window's length changes, counts of one new sub-window are merged: a used unit
    /// is never forgotten early.
    pub fn adopt(&mut self, limit: Limit) {
        let is_other = self.limit.sub_window() != limit.sub_window();
        self.limit = limit;
        if is_other {
            for (at, count) in std::mem::take(&mut self.counts) {
                self.push(at, count);
            }
        }
    }

    /// Adds what was used up to `until`, before a restart or in another process.
    pub fn remember(&mut self, until: DateTime<Utc>, cost: u64) {
        if cost != 0 {
            let count = |count: u64| count.saturating_add(cost);
            self.change(until.timestamp_micros(), count, cost);
        }
    }

    /// Changes the count of this call's sub-window with `count`, or starts it with `first`.
    fn change(&mut self, at: i64, count: impl FnOnce(u64) -> u64, first: u64) {
        let sub_window = self.limit.sub_window();
        let number = at.div_euclid(sub_window);
        let place = self.counts.partition_point(|(other, _)| other.div_euclid(sub_window) < number);
        match self.counts.get_mut(place) {
            Some((newest, known)) if newest.div_euclid(sub_window) == number => {
                *newest = at.max(*newest);
                *known = count(*known);
            }
            _ => self.counts.insert(place, (at, first)),
        }
    }

    /// Builds a window from the counts of Redis: microseconds of the newest call and count of each sub-window, in any
    /// order.
    pub fn of(limit: Limit, counts: impl IntoIterator<Item = (i64, u64)>) -> Self {
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_unstable();
        Self { limit, counts: counts.into() }
    }

    /// Returns the counts in the form that [`Window::of`] takes, oldest first.
    pub fn counts(&self) -> impl ExactSizeIterator<Item = (i64, u64)> {
        self.counts.iter().copied()
    }

    /// Merges another window of the same key: takes its limit, and the higher count of each sub-window.
    pub fn join(&mut self, other: &Self) {
        self.adopt(other.limit);
        for (at, theirs) in &other.counts {
            self.change(*at, |ours| ours.max(*theirs), *theirs);
        }
        if let Some((newest, _)) = self.counts.back().copied() {
            self.forget(newest);
        }
    }

    /// Returns the state after `cost` was taken in Redis.
    pub fn taken(&mut self, now: DateTime<Utc>, cost: u64) -> LimitState {
        self.forget(self.current(now));
        self.standing(now, cost, true)
    }

    /// Takes `cost` if it fits, else nothing. A cost of 0 always fits.
    pub fn take(&mut self, now: DateTime<Utc>, cost: u64) -> LimitState {
        let current = self.current(now);
        self.forget(current);
        let is_allowed = self.fits(cost);
        if is_allowed && cost != 0 {
            self.push(current, cost);
        }
        self.standing(now, cost, is_allowed)
    }

    /// Returns the state as if `cost` were taken, without taking it.
    pub fn look(&mut self, now: DateTime<Utc>, cost: u64) -> LimitState {
        self.forget(self.current(now));
        self.standing(now, cost, self.fits(cost))
    }

    fn fits(&self, cost: u64) -> bool {
        cost == 0 || (cost <= self.limit.quota && self.used() <= self.limit.quota - cost)
    }

    pub fn limit(&self) -> Limit {
        self.limit
    }

    /// True if all counts have expired.
    pub fn is_idle(&self, now: DateTime<Utc>) -> bool {
        self.counts.back().is_none_or(|(newest, _)| self.leaves(*newest) <= now.timestamp_micros())
    }

    fn standing(&self, now: DateTime<Utc>, cost: u64, is_allowed: bool) -> LimitState {
        let (used, quota) = (self.used(), self.limit.quota);
        let frees_one = used.saturating_sub(1).min(quota.saturating_sub(1));
        let more = if used == 0 { now } else { self.when_at_most(frees_one, now) };
        let retry_after = (!is_allowed && cost <= quota)
            .then(|| seconds_until(self.when_at_most(quota.saturating_sub(cost), now), now).max(1));
        LimitState {
            limit: self.limit,
            is_allowed,
            remaining: quota.saturating_sub(used),
            more_in: seconds_until(more, now).min(self.limit.window_seconds),
            more_at: whole_second_after(more),
            retry_after,
        }
    }

    /// Returns the earliest time at which the remaining counts total at most `target`.
    fn when_at_most(&self, target: u64, now: DateTime<Utc>) -> DateTime<Utc> {
        let mut used = self.used();
        let mut when = now;
        for (newest, count) in &self.counts {
            if used <= target {
                break;
            }
            used = used.saturating_sub(*count);
            when = DateTime::from_timestamp_micros(self.leaves(*newest)).unwrap_or(now);
        }
        when
    }

    fn used(&self) -> u64 {
        self.counts.iter().fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }

    /// Returns the time in microseconds at which a count with this newest call expires.
    fn leaves(&self, newest: i64) -> i64 {
        newest.saturating_add(self.limit.window())
    }

    /// Returns the time in microseconds, never before the newest count: threads read the clock before they take the
    /// lock.
    fn current(&self, now: DateTime<Utc>) -> i64 {
        let newest = self.counts.back().map_or(i64::MIN, |(newest, _)| *newest);
        now.timestamp_micros().max(newest)
    }

    /// Drops expired counts.
    fn forget(&mut self, current: i64) {
        while self.counts.front().is_some_and(|(newest, _)| self.leaves(*newest) <= current) {
            self.counts.pop_front();
        }
    }

    /// Adds to the newest sub-window, or starts one after it.
    fn push(&mut self, at: i64, cost: u64) {
        let sub_window = self.limit.sub_window();
        match self.counts.back_mut() {
            Some((newest, count)) if newest.div_euclid(sub_window) == at.div_euclid(sub_window) => {
                *newest = at.max(*newest);
                *count = count.saturating_add(cost);
            }
            _ => self.counts.push_back((at, cost)),
        }
    }
}

fn seconds_until(then: DateTime<Utc>, now: DateTime<Utc>) -> u64 {
    let micros = (then - now).num_microseconds().unwrap_or(i64::MAX).max(0);
    u64::try_from(micros.div_ceil_by(1_000_000)).unwrap_or(0)
}

fn whole_second_after(at: DateTime<Utc>) -> DateTime<Utc> {
    let whole = DateTime::from_timestamp(at.timestamp(), 0).unwrap_or(at);
    if whole < at { whole + TimeDelta::seconds(1) } else { whole }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(micros: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(1_764_000_000_000_000 + micros).unwrap()
    }

    fn hourly(quota: u64) -> Window {
        Window::new(Limit { quota, window_seconds: 3600 })
    }

    #[test]
    fn a_window_counts_down_and_a_refused_call_costs_nothing() {
        let mut window = hourly(2);
        assert_eq!(window.take(at(0), 1).remaining, 1);
        assert_eq!(window.take(at(1), 1).remaining, 0);
        let refused = window.take(at(2), 1);
        assert!(!refused.is_allowed);
        // Both calls are in one sub-window, the second a microsecond after the first.
        assert_eq!((refused.more_in, refused.retry_after), (3600, Some(3600)));
        assert_eq!(refused.more_at, at(3_601_000_000));
        assert!(!window.take(at(3_600_000_000), 1).is_allowed);
        assert!(window.take(at(3_600_000_001), 2).is_allowed);
    }

    #[test]
    fn a_cost_is_taken_whole_or_not_at_all() {
        let mut window = hourly(10);
        assert!(window.take(at(0), 8).is_allowed);
        let refused = window.take(at(60_000_000), 3);
        assert_eq!((refused.is_allowed, refused.remaining), (false, 2));
        assert!(window.take(at(60_000_000), 2).is_allowed);
        assert!(!hourly(10).take(at(0), 11).is_allowed);
        let looked = window.take(at(60_000_000), 0);
        assert_eq!((looked.is_allowed, looked.remaining), (true, 0));
    }

    #[test]
    fn a_changed_limit_keeps_all_counts() {
        let mut window = hourly(10);
        window.take(at(0), 8);
        window.adopt(Limit { quota: 9, window_seconds: 60 });
        assert_eq!(window.take(at(59_999_999), 0).remaining, 1);
        assert!(!window.is_idle(at(59_999_999)));
        assert_eq!(window.take(at(60_000_000), 0).remaining, 9);
        assert!(window.is_idle(at(60_000_000)));
    }

    #[test]
    fn joined_windows_keep_the_higher_counts() {
        let (mut one, mut other) = (hourly(20), hourly(20));
        one.take(at(0), 3);
        one.take(at(60_000_000), 1);
        other.take(at(60_000_000), 4);
        other.take(at(180_000_000), 2);
        one.join(&other);
        assert_eq!(one.counts().map(|(_, count)| count).collect::<Vec<_>>(), [3, 4, 2]);
        let turned = one.counts().collect::<Vec<_>>().into_iter().rev();
        one.join(&Window::of(Limit { quota: 30, ..one.limit() }, turned));
        assert_eq!(one.look(at(180_000_000), 0).remaining, 21, "nothing twice, and the limit that holds now");
    }

    #[test]
    fn joins_over_days_keep_no_more_than_one_window() {
        let mut heard = hourly(1_000);
        for minute in 0..3_000 {
            heard.join(&Window::of(heard.limit(), [((29_400_000 + minute) * 60_000_000, 1)]));
        }
        assert_eq!(heard.counts().len(), 60);
    }

    #[test]
    fn alternating_window_lengths_do_not_move_counts_into_the_future() {
        let (coarse, fine) = (hourly(10).limit(), Limit { quota: 10, window_seconds: 61 });
        let mut window = Window::new(coarse);
        window.take(at(0), 8);
        for turn in 0..1_000 {
            window.adopt(if turn % 2 == 0 { fine } else { coarse });
        }
        assert_eq!(window.take(at(1_000_000), 0).remaining, 2);
        assert_eq!(window.take(at(3_600_000_000), 0).remaining, 10);
    }

    #[test]
    fn usage_before_a_restart_still_counts() {
        let mut window = hourly(10);
        window.remember(at(59_999_999), 4);
        window.remember(at(-3_000_000_000), 5);
        assert_eq!(window.take(at(60_000_000), 0).remaining, 1);
        assert_eq!(window.take(at(1_000_000_000), 0).remaining, 6);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// Counting a little too long costs a caller at nine tenths of the limit next to nothing.
        #[test]
        fn who_stays_at_nine_tenths_of_the_limit_is_let_in(
            window_seconds in prop_oneof![Just(1_u64), Just(10), Just(60), Just(3600)],
            jitter in prop::collection::vec(0_i64..1000, 3_000),
            start in 0_i64..10_000_000,
        ) {
            let mut window = Window::new(Limit { quota: 1_000, window_seconds });
            // 900 calls in each window, each within a thousandth of the window from its regular time.
            let length = i64::try_from(window_seconds).unwrap() * 1_000_000;
            let calls = jitter.iter().zip(0_i64..).map(|(jitter, n)| start + n * length / 900 + jitter * length / 1_000_000);
            let accepted = calls.filter(|now| window.take(at(*now), 1).is_allowed).count();
            prop_assert!(2_850 <= accepted, "{accepted} of 3000");
        }
    }

    proptest! {
        #[test]
        fn never_over_the_limit_in_any_trailing_window(
            quota in 1_u64..20,
            window_seconds in prop_oneof![Just(1_u64), Just(7), Just(60), Just(61), 1_u64..4000],
            steps in prop::collection::vec((0_i64..40, 0_u64..4), 1..300),
            start in 0_i64..10_000_000,
        ) {
            let length = i64::try_from(window_seconds).unwrap() * 1_000_000;
            let mut window = Window::new(Limit { quota, window_seconds });
            let mut accepted: Vec<(i64, u64)> = Vec::new();
            let mut now = start;
            for (step, cost) in steps {
                // Steps of a 40th of the window, moved off its grid by a prime.
                now += step * length / 40 / 8 + step * 7919;
                let standing = window.take(at(now), cost);
                if standing.is_allowed && cost != 0 {
                    accepted.push((now, cost));
                }
                let inside = |(then, _): &&(i64, u64)| now - length < *then && *then <= now;
                let sum: u64 = accepted.iter().filter(inside).map(|(_, cost)| cost).sum();
                prop_assert!(sum <= quota);
                prop_assert!(standing.remaining <= quota - sum);
                if let (Some(wait), true) = (standing.retry_after, cost <= quota) {
                    let mut later = window.clone();
                    let then = at(now) + TimeDelta::seconds(i64::try_from(wait).unwrap());
                    prop_assert!(later.take(then, cost).is_allowed, "what was promised came true");
                    prop_assert!(standing.more_in <= wait);
                    prop_assert!(wait <= window_seconds);
                }
            }
        }
    }
}
