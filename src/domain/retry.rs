//! Retry policy: decides from the outcome of an attempt if and when a delivery is tried again.

use chrono::TimeDelta;

use super::delivery::Outcome;
use super::error::Rejection;

/// Longest wait that a `Retry-After` can cause.
const MAX_RETRY_AFTER: TimeDelta = TimeDelta::hours(24);

/// Longest wait that a note names.
pub const LONGEST_ASKED: TimeDelta = TimeDelta::days(3_650);

/// Time of nothing but failures after which a webhook is disabled.
pub const DISABLED_AFTER: TimeDelta = TimeDelta::days(5);

/// Time before that at which the webhook's owner is warned.
pub const WARNED_BEFORE: TimeDelta = TimeDelta::days(1);

/// Waits before each attempt of a round, counted from the end of the attempt before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule(Vec<TimeDelta>);

impl Default for Schedule {
    /// Default schedule: 0 s, 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h, 24 h.
    fn default() -> Self {
        let seconds = [0, 5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];
        Self(seconds.into_iter().map(TimeDelta::seconds).collect())
    }
}

impl Schedule {
    /// Creates a schedule from the waits before each attempt, the first one included.
    pub fn new(gaps: Vec<TimeDelta>) -> Self {
        Self(gaps)
    }

    /// Creates a schedule with a first attempt at once, and a retry after each of these seconds.
    pub fn of_retries(gaps: &[i64]) -> Self {
        Self(std::iter::once(0).chain(gaps.iter().copied()).map(TimeDelta::seconds).collect())
    }

    /// Returns the number of attempts in one round.
    pub fn attempts(&self) -> i64 {
        i64::try_from(self.0.len()).unwrap_or(i64::MAX)
    }

    /// Returns the wait before the next attempt if `remaining` are left in this round.
    fn gap(&self, remaining: i64) -> Option<TimeDelta> {
        let index = usize::try_from(self.attempts() - remaining).ok()?;
        self.0.get(index).copied()
    }

    /// Returns the waits, for pages.
    pub fn gaps(&self) -> &[TimeDelta] {
        &self.0
    }
}

/// Maximum number of retries of a custom schedule, and the longest wait before one: a week in seconds.
const MOST_RETRIES: usize = 20;
const LONGEST_GAP: i64 = 604_800;

/// Checks a custom schedule: the seconds before each retry. An empty one means no retries. An error about one wait
/// comes with its index.
pub fn retries(gaps: Vec<i64>) -> Result<Vec<i64>, (Option<usize>, Rejection)> {
    if MOST_RETRIES < gaps.len() {
        return Err((None, Rejection::new("too_many", format!("must be at most {MOST_RETRIES} waits"))));
    }
    match gaps.iter().position(|gap| !(1..=LONGEST_GAP).contains(gap)) {
        None => Ok(gaps),
        place => Err((place, Rejection::new("range", "must be a wait of 1 second to 7 days"))),
    }
}

/// Parses a custom schedule as people write it: `5 s, 5 min, 2 h, 1 d`.
pub fn retries_of_text(text: &str) -> Result<Vec<i64>, Rejection> {
    let parts = text.split([',', ';', '\n']).map(str::trim).filter(|part| !part.is_empty());
    let gaps: Option<Vec<i64>> = parts.map(seconds_of).collect();
    gaps.ok_or_else(|| Rejection::new("duration", "must be waits like 30 s, 5 min, 2 h or 1 d, separated by commas"))
        .and_then(|gaps| retries(gaps).map_err(|(_, rejection)| rejection))
}

/// Writes a custom schedule in the largest unit that fits each wait.
pub fn text_of_retries(gaps: &[i64]) -> String {
    let text = |gap: &i64| {
        let units = [(86_400, "d"), (3_600, "h"), (60, "min")];
        let (size, unit) = units.into_iter().find(|(size, _)| gap % size == 0).unwrap_or((1, "s"));
        format!("{} {unit}", gap / size)
    };
    gaps.iter().map(text).collect::<Vec<_>>().join(", ")
}

fn seconds_of(text: &str) -> Option<i64> {
    let digits = text.chars().take_while(char::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = match unit.trim() {
        "" | "s" | "sec" => 1,
        "m" | "min" => 60,
        "h" => 3_600,
        "d" | "days" | "day" => 86_400,
        _ => return None,
    };
    number.parse::<i64>().ok()?.checked_mul(unit)
}

/// Number of an attempt, and the last number that its delivery may reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// Number from 1, over all rounds.
    pub number: i64,
    /// Highest number allowed; a redelivery raises it by one round.
    pub max: i64,
}

/// Random factor from -1 to 1 that moves a wait by up to 20 %. The caller provides it, so that verdicts stay pure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Jitter(f64);

impl Jitter {
    /// No change of the wait.
    pub const NONE: Self = Self(0.0);

    /// Creates a factor from a random number over its whole range.
    pub fn from_random(random: u32) -> Self {
        Self(f64::from(random) / f64::from(u32::MAX) * 2.0 - 1.0)
    }

    fn applied_to(self, gap: TimeDelta) -> TimeDelta {
        let fifth_in_thousandths = f64::from(i32::try_from(gap.num_seconds()).unwrap_or(i32::MAX)) * 200.0 * self.0;
        // No `as`: a wait of days in thousandths of a second is exact enough as f64.
        let span = std::time::Duration::try_from_secs_f64(fifth_in_thousandths.abs() / 1_000.0).unwrap_or_default();
        let span = TimeDelta::from_std(span).unwrap_or_default();
        if self.0 < 0.0 { gap - span } else { gap + span }
    }
}

/// Consequence of an outcome for its delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The webhook accepted it.
    Delivered,
    /// Another attempt follows.
    Retry {
        /// Wait until that attempt.
        after: TimeDelta,
    },
    /// No attempt is left.
    Failed,
    /// Status 410: the endpoint wants no more deliveries, so its webhook is disabled.
    Gone,
}

/// Returns the wait that a receiver requested by `Retry-After`, which counts with 429, 502, 503 and 504 only.
fn asked_for(outcome: &Outcome) -> TimeDelta {
    let asked = outcome.retry_after.filter(|_| matches!(outcome.status, Some(429 | 502 | 503 | 504)));
    asked.unwrap_or_default()
}

/// Returns a note for the log if the receiver requested a longer wait than the actual one.
pub fn cap_note(outcome: &Outcome, wait: TimeDelta) -> Option<String> {
    let asked = asked_for(outcome);
    let length = match asked {
        asked if LONGEST_ASKED <= asked => format!("more than {} days", LONGEST_ASKED.num_days()),
        asked if asked < TimeDelta::hours(48) => match asked.num_seconds() {
            seconds if seconds % 3_600 == 0 => format!("{} hours", seconds / 3_600),
            seconds => format!("{seconds} seconds"),
        },
        // Rounded to whole days: a date is some seconds nearer once it is read.
        asked => format!("{} days", (asked + TimeDelta::hours(12)).num_days()),
    };
    let cap = MAX_RETRY_AFTER.num_hours();
    let result = if wait <= MAX_RETRY_AFTER { "capped at" } else { "the schedule decides beyond" };
    (wait < asked).then(|| format!("asked for a wait of {length}; {result} {cap} hours"))
}

/// Judges an outcome: 2xx delivers, 410 ends the delivery, anything else waits for the next gap of the schedule. With
/// 429, 502, 503 and 504 a receiver can request a longer wait.
pub fn verdict(attempt: Attempt, outcome: &Outcome, schedule: &Schedule, jitter: Jitter) -> Verdict {
    if outcome.is_success() {
        return Verdict::Delivered;
    }
    if outcome.status == Some(410) {
        return Verdict::Gone;
    }
    let Some(gap) = Some(attempt.max - attempt.number).filter(|left| 0 < *left).and_then(|left| schedule.gap(left))
    else {
        return Verdict::Failed;
    };
    Verdict::Retry { after: jitter.applied_to(gap).max(asked_for(outcome).min(MAX_RETRY_AFTER)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::delivery::ErrorKind;

    fn answered(status: u16) -> Outcome {
        Outcome { status: Some(status), ..Outcome::default() }
    }

    fn after(attempt: i64, outcome: &Outcome) -> Verdict {
        verdict(Attempt { number: attempt, max: 10 }, outcome, &Schedule::default(), Jitter::NONE)
    }

    #[test]
    fn a_failing_delivery_follows_the_schedule_and_ends() {
        let gaps = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];
        for (number, seconds) in (1..).zip(gaps) {
            assert_eq!(after(number, &answered(500)), Verdict::Retry { after: TimeDelta::seconds(seconds) });
        }
        assert_eq!(after(10, &answered(500)), Verdict::Failed);
        assert_eq!(after(11, &answered(500)), Verdict::Failed);
    }

    #[test]
    fn waits_are_parsed_and_written_with_units() {
        assert_eq!(retries_of_text("5 s, 5min,2 h\n1 d, 90").unwrap(), [5, 300, 7_200, 86_400, 90]);
        assert_eq!(text_of_retries(&[5, 300, 7_200, 86_400, 90]), "5 s, 5 min, 2 h, 1 d, 90 s");
        assert_eq!(retries_of_text(" ").unwrap(), [0_i64; 0]);
        let code = |text: &str| retries_of_text(text).unwrap_err().code;
        assert_eq!(
            (code("soon"), code("5 weeks"), code("0 s"), code("8 d")),
            ("duration", "duration", "range", "range")
        );
        assert_eq!(code(&"1 s,".repeat(21)), "too_many");
        let own = Schedule::of_retries(&[7]);
        let next = verdict(Attempt { number: 1, max: 2 }, &answered(500), &own, Jitter::NONE);
        assert_eq!(next, Verdict::Retry { after: TimeDelta::seconds(7) });
        assert_eq!(verdict(Attempt { number: 2, max: 2 }, &answered(500), &own, Jitter::NONE), Verdict::Failed);
    }

    #[test]
    fn a_redelivery_begins_a_round_of_its_own() {
        let attempt = Attempt { number: 11, max: 20 };
        let expected = Verdict::Retry { after: TimeDelta::seconds(5) };
        assert_eq!(verdict(attempt, &answered(500), &Schedule::default(), Jitter::NONE), expected);
    }

    #[test]
    fn verdicts_of_success_redirect_and_gone() {
        assert_eq!(after(1, &answered(204)), Verdict::Delivered);
        assert_eq!(after(1, &answered(302)), Verdict::Retry { after: TimeDelta::seconds(5) });
        assert_eq!(after(1, &answered(410)), Verdict::Gone);
        let refused = Outcome::failed(ErrorKind::BlockedAddress, "no");
        assert_eq!(after(1, &refused), Verdict::Retry { after: TimeDelta::seconds(5) });
    }

    #[test]
    fn a_receiver_may_ask_for_more_time_but_not_for_more_than_a_day() {
        let asking = |status, seconds| Outcome { retry_after: Some(TimeDelta::seconds(seconds)), ..answered(status) };
        assert_eq!(after(1, &asking(429, 60)), Verdict::Retry { after: TimeDelta::seconds(60) });
        assert_eq!(after(1, &asking(504, 1)), Verdict::Retry { after: TimeDelta::seconds(5) });
        assert_eq!(after(1, &asking(502, 900_000)), Verdict::Retry { after: TimeDelta::hours(24) });
        assert_eq!(after(1, &asking(500, 60)), Verdict::Retry { after: TimeDelta::seconds(5) });
        assert_eq!(after(10, &asking(429, 60)), Verdict::Failed);
    }

    #[test]
    fn a_capped_wait_is_noted() {
        let day = TimeDelta::hours(24);
        let asking = |status, seconds| Outcome { retry_after: Some(TimeDelta::seconds(seconds)), ..answered(status) };
        let note = |status, seconds| cap_note(&asking(status, seconds), day);
        assert_eq!(note(503, 2_592_000).unwrap(), "asked for a wait of 30 days; capped at 24 hours");
        assert_eq!(note(429, 90_000).unwrap(), "asked for a wait of 25 hours; capped at 24 hours");
        assert_eq!((note(429, 86_400), note(500, 2_592_000), cap_note(&answered(503), day)), (None, None, None));
        assert_eq!(note(503, 86_401).unwrap(), "asked for a wait of 86401 seconds; capped at 24 hours");
        assert_eq!(note(503, 2_591_990).unwrap(), "asked for a wait of 30 days; capped at 24 hours");
        let longest = LONGEST_ASKED.num_seconds();
        assert_eq!(note(503, longest).unwrap(), "asked for a wait of more than 3650 days; capped at 24 hours");
    }

    #[test]
    fn a_wait_at_least_as_long_as_requested_is_not_noted_as_capped() {
        let asking = |seconds| Outcome { retry_after: Some(TimeDelta::seconds(seconds)), ..answered(503) };
        let week = TimeDelta::days(7);
        assert_eq!(cap_note(&asking(172_800), week), None);
        let note = cap_note(&asking(2_592_000), week).unwrap();
        assert_eq!(note, "asked for a wait of 30 days; the schedule decides beyond 24 hours");
    }

    #[test]
    fn jitter_moves_a_gap_by_a_fifth_at_most() {
        let gap = TimeDelta::seconds(300);
        assert_eq!(Jitter::from_random(0).applied_to(gap), TimeDelta::seconds(240));
        assert_eq!(Jitter::from_random(u32::MAX).applied_to(gap), TimeDelta::seconds(360));
        assert_eq!(Jitter::NONE.applied_to(gap), gap);
        assert_eq!(Jitter::from_random(0).applied_to(TimeDelta::zero()), TimeDelta::zero());
    }
}
