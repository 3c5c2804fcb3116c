//! Time spans of charts, and the charts themselves.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use serde::Deserialize;

use super::api_keys::view::Range;
use super::paging::UnknownParameters;
use crate::domain::time;
use crate::domain::usage::{Bucket, Outcome, Span, floor_to};
use crate::domain::{FieldErrors, Rejection};
use crate::services::usage::UsageBucket;
use crate::store::delivery_totals::Finished;
use crate::web::view::{Chart, Series, filter};

/// Time span of a chart and the width of its bars: a predefined range, or chosen days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChartSpan {
    /// Name of the range in the URL. Empty for chosen days.
    name: &'static str,
    since: DateTime<Utc>,
    until: DateTime<Utc>,
    /// Width of a bar in seconds.
    step_seconds: i64,
}

/// Predefined range: name in the URL, label, number of bars, and width of a bar in seconds.
struct Known {
    name: &'static str,
    label: &'static str,
    bars: i64,
    step: i64,
}

const ALL: [Known; 4] = [
    Known { name: "1h", label: "1 h", bars: 60, step: 60 },
    Known { name: "24h", label: "24 h", bars: 24, step: 3_600 },
    Known { name: "7d", label: "7 d", bars: 56, step: 10_800 },
    Known { name: "30d", label: "30 d", bars: 30, step: DAY },
];
const DAY: i64 = 86_400;
/// Maximum number of bars in a chart.
const MOST_BARS: i64 = 60;
/// Widths of bars for chosen days, in seconds.
const STEPS: [i64; 5] = [3_600, 7_200, 21_600, DAY, 7 * DAY];
/// Maximum length of chosen days: the default retention of totals.
const MOST_DAYS: i64 = 400;

/// Time parameters in the URL of a page.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct TimeQuery {
    pub range: String,
    /// First day, in UTC.
    pub from: String,
    /// Last day, in UTC.
    pub to: String,
    #[serde(flatten)]
    pub others: UnknownParameters,
}

impl TimeQuery {
    /// Returns an error for each invalid parameter.
    pub fn ignored(&self) -> FieldErrors {
        let mut errors = self.others.noted();
        let known = |range: &str| {
            let names = ALL.map(|known| known.name);
            let says = || Rejection::new("choice", format!("must be one of {}", names.join(", ")));
            names.contains(&range).then_some(()).ok_or_else(says)
        };
        filter::read(&mut errors, "range", &self.range, known);
        filter::read(&mut errors, "from", &self.from, time::parse_day);
        filter::read(&mut errors, "to", &self.to, time::parse_day);
        errors
    }

    /// Returns the chosen days, else the named range, else the last 24 hours.
    pub fn stretch(&self, now: DateTime<Utc>) -> ChartSpan {
        match (time::day(&self.from), time::day(&self.to)) {
            (None, None) => ChartSpan::named(&self.range, now),
            (from, to) => ChartSpan::between(from, to, now),
        }
    }
}

impl ChartSpan {
    /// Returns the named range, or the last 24 hours. It ends now and starts at the boundary of a bar.
    pub fn named(name: &str, now: DateTime<Utc>) -> Self {
        let [_, day, ..] = &ALL;
        let known = ALL.iter().find(|known| known.name == name).unwrap_or(day);
        let last = floor_to(now, known.step);
        let since = last - TimeDelta::seconds((known.bars - 1) * known.step);
        Self { name: known.name, since, until: now, step_seconds: known.step }
    }

    /// Returns the span of whole days, last day included, without the future. Swaps the days if they are in the wrong
    /// order.
    fn between(from: Option<NaiveDate>, to: Option<NaiveDate>, now: DateTime<Utc>) -> Self {
        let today = now.date_naive();
        let (from, to) = (from.or(to).unwrap_or(today), to.unwrap_or(today));
        let (first, last) = (from.min(to), from.max(to).min(today));
        let first = first.min(last).max(last - TimeDelta::days(MOST_DAYS));
        let since = first.and_time(NaiveTime::MIN).and_utc();
        let until = (last + TimeDelta::days(1)).and_time(NaiveTime::MIN).and_utc().min(now);
        let seconds = (until - since).num_seconds();
        let fits = |step: &&i64| seconds <= **step * MOST_BARS;
        let step_seconds = STEPS.iter().find(fits).copied().unwrap_or(7 * DAY);
        Self { name: "", since, until, step_seconds }
    }

    pub const fn step_seconds(self) -> i64 {
        self.step_seconds
    }

    pub const fn since(self) -> DateTime<Utc> {
        self.since
    }

    /// Returns the span for queries, in buckets small enough for the bars.
    pub const fn span(self) -> Span {
        let bucket = if self.step_seconds < 3600 { Bucket::Minute } else { Bucket::Hour };
        Span { since: self.since, until: self.until, bucket }
    }

    /// Returns the first and last day as date inputs of a form hold them.
    pub fn days(self) -> (String, String) {
        let day = |at: DateTime<Utc>| at.format("%Y-%m-%d").to_string();
        (day(self.since), day(self.until - TimeDelta::seconds(1)))
    }

    /// Returns the span as URL parameters.
    pub fn parameters(self) -> Vec<(&'static str, String)> {
        if self.name.is_empty() {
            let (from, to) = self.days();
            return vec![("from", from), ("to", to)];
        }
        vec![("range", self.name.to_owned())]
    }

    /// Returns the start of each bar.
    fn marks(self) -> Vec<DateTime<Utc>> {
        let mut marks = vec![self.since];
        while let Some(last) = marks.last() {
            let next = *last + TimeDelta::seconds(self.step_seconds);
            if self.until <= next {
                break;
            }
            marks.push(next);
        }
        marks
    }

    /// Returns links to the predefined ranges.
    pub fn choices(self, path: &str) -> Vec<Range> {
        self.choices_with(path, &[])
    }

    /// Returns links to the predefined ranges, with further parameters to keep.
    pub fn choices_with(self, path: &str, others: &[(&str, &str)]) -> Vec<Range> {
        let choice = |known: &Known| {
            let mut parameters = vec![("range", known.name)];
            parameters.extend_from_slice(others);
            Range { label: known.label, href: filter::href(path, &parameters), is_current: known.name == self.name }
        };
        ALL.iter().map(choice).collect()
    }

    /// Returns the chart of verifications by outcome.
    pub fn usage_chart(self, id: &'static str, buckets: &[UsageBucket]) -> Chart {
        let mut sums = Sums::new(self);
        for bucket in buckets {
            for (outcome, total) in &bucket.by_outcome {
                sums.add(bucket.at, kind(*outcome), *total);
            }
        }
        let series = vec![
            Series::new("Valid", "series-good", sums.line(0)),
            Series::new("Over limit", "series-warn", sums.line(1)),
            Series::new("Otherwise refused", "series-bad", sums.line(2)),
        ];
        Chart::new(id, "Verifications", "verification", &sums.marks, series)
    }

    /// Returns the chart of finished deliveries by result.
    pub fn deliveries_chart(self, id: &'static str, finished: &[Finished]) -> Chart {
        let mut sums = Sums::new(self);
        for row in finished {
            sums.add(row.at, 0, row.delivered);
            sums.add(row.at, 1, row.failed);
            sums.add(row.at, 2, row.cancelled);
        }
        let series = vec![
            Series::new("Delivered", "series-good", sums.line(0)),
            Series::new("Failed", "series-bad", sums.line(1)),
            Series::new("Cancelled", "series-info", sums.line(2)),
        ];
        Chart::new(id, "Finished deliveries", "delivery", &sums.marks, series)
    }
}

/// Returns the index of the series that an outcome belongs to.
const fn kind(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Valid => 0,
        Outcome::RateLimited | Outcome::QuotaExceeded => 1,
        _ => 2,
    }
}

/// Totals per bar and series.
struct Sums {
    since: i64,
    step: i64,
    marks: Vec<DateTime<Utc>>,
    totals: BTreeMap<(u8, usize), i64>,
}

impl Sums {
    fn new(stretch: ChartSpan) -> Self {
        Self {
            since: stretch.since.timestamp(),
            step: stretch.step_seconds,
            marks: stretch.marks(),
            totals: BTreeMap::new(),
        }
    }

    fn add(&mut self, at: DateTime<Utc>, line: u8, total: i64) {
        let bar = (at.timestamp() - self.since).div_euclid(self.step);
        if let Ok(bar) = usize::try_from(bar) {
            *self.totals.entry((line, bar)).or_default() += total;
        }
    }

    fn line(&self, line: u8) -> Vec<i64> {
        (0..self.marks.len()).map(|bar| self.totals.get(&(line, bar)).copied().unwrap_or(0)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> DateTime<Utc> {
        "2026-11-22T12:34:56Z".parse().unwrap()
    }

    #[test]
    fn a_chart_ends_with_the_current_bar_and_has_at_most_sixty() {
        for known in &ALL {
            let stretch = ChartSpan::named(known.name, now());
            let marks = stretch.marks();
            assert_eq!(marks.len(), usize::try_from(known.bars).unwrap(), "{}", known.name);
            let last = *marks.last().unwrap();
            assert!(last <= now() && now() < last + TimeDelta::seconds(known.step), "{}", known.name);
        }
        assert_eq!(ChartSpan::named("no such", now()).name, "24h");
    }

    #[test]
    fn days_can_be_chosen() {
        let asked = |from: &str, to: &str| {
            let asked = TimeQuery { from: from.into(), to: to.into(), ..TimeQuery::default() };
            let stretch = asked.stretch(now());
            let (first, last) = stretch.days();
            (first, last, stretch.step_seconds, stretch.marks().len())
        };
        let day = |first: &str, last: &str, step, bars| (first.to_owned(), last.to_owned(), step, bars);
        assert_eq!(asked("2026-11-20", "2026-11-20"), day("2026-11-20", "2026-11-20", 3_600, 24));
        assert_eq!(asked("2026-11-01", "2026-11-10"), day("2026-11-01", "2026-11-10", 21_600, 40));
        assert_eq!(asked("2026-11-10", "2026-11-01"), day("2026-11-01", "2026-11-10", 21_600, 40));
        assert_eq!(asked("2026-11-22", "2027-01-01"), day("2026-11-22", "2026-11-22", 3_600, 13));
        assert_eq!(asked("1999-01-01", "2026-11-21"), day("2025-10-17", "2026-11-21", 7 * DAY, 58));
        assert_eq!(asked("2026-11-21", "soon"), day("2026-11-21", "2026-11-22", 3_600, 37));
    }
}
