//! The stretches of time that charts can show, and the charts of what happened in them.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::api_keys::view::Range;
use crate::domain::usage::{Bucket, Outcome, Span};
use crate::services::usage::UsageReport;
use crate::store::figures::StateRow;
use crate::web::view::{Chart, Series, filter};

/// One choice: its name in the URL, its label, and at most 60 bars.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    name: &'static str,
    label: &'static str,
    bars: i64,
    bucket: Bucket,
    /// Buckets in one bar.
    group: i64,
}

const ALL: [Stretch; 4] = [
    Stretch { name: "1h", label: "1 h", bars: 60, bucket: Bucket::Minute, group: 1 },
    Stretch { name: "24h", label: "24 h", bars: 48, bucket: Bucket::Minute, group: 30 },
    Stretch { name: "7d", label: "7 d", bars: 56, bucket: Bucket::Hour, group: 3 },
    Stretch { name: "30d", label: "30 d", bars: 30, bucket: Bucket::Day, group: 1 },
];

impl Stretch {
    /// The one that was asked for, or the last 24 hours.
    pub fn named(name: &str) -> Self {
        let [_, day, ..] = ALL;
        ALL.into_iter().find(|stretch| stretch.name == name).unwrap_or(day)
    }

    pub const fn step_seconds(self) -> i64 {
        self.bucket.seconds() * self.group
    }

    /// Up to now, beginning where a bar begins.
    pub fn span(self, now: DateTime<Utc>) -> Span {
        Span { since: self.since(now), until: now, bucket: self.bucket }
    }

    pub fn since(self, now: DateTime<Utc>) -> DateTime<Utc> {
        let step = self.step_seconds();
        let last = now.timestamp().div_euclid(step) * step;
        DateTime::from_timestamp(last - (self.bars - 1) * step, 0).unwrap_or(now)
    }

    /// Where each bar begins.
    fn marks(self, now: DateTime<Utc>) -> Vec<DateTime<Utc>> {
        let since = self.since(now);
        (0..self.bars).map(|index| since + TimeDelta::seconds(index * self.step_seconds())).collect()
    }

    pub fn choices(self, path: &str) -> Vec<Range> {
        let choice = |one: Self| Range {
            label: one.label,
            href: filter::href(path, &[("range", one.name)]),
            is_current: one == self,
        };
        ALL.into_iter().map(choice).collect()
    }

    pub fn usage_chart(self, id: &'static str, report: &UsageReport, now: DateTime<Utc>) -> Chart {
        let mut sums = Sums::new(self, now);
        for bucket in &report.buckets {
            for (outcome, total) in &bucket.by_outcome {
                sums.add(bucket.at, kind(*outcome), *total);
            }
        }
        let series = vec![
            Series::new("Valid", "series-good", sums.line(0)),
            Series::new("Limited", "series-warn", sums.line(1)),
            Series::new("Refused", "series-bad", sums.line(2)),
        ];
        Chart::new(id, "Verifications", "verification", &self.marks(now), series)
    }

    pub fn deliveries_chart(self, id: &'static str, rows: &[StateRow], now: DateTime<Utc>) -> Chart {
        let mut sums = Sums::new(self, now);
        for row in rows {
            let line = match row.state.as_str() {
                "delivered" => 0,
                "failed" | "cancelled" => 2,
                _ => 1,
            };
            sums.add(row.at, line, row.total);
        }
        let series = vec![
            Series::new("Delivered", "series-good", sums.line(0)),
            Series::new("Waiting", "series-info", sums.line(1)),
            Series::new("Failed", "series-bad", sums.line(2)),
        ];
        Chart::new(id, "Deliveries", "delivery", &self.marks(now), series)
    }
}

/// The line of the chart that an outcome belongs to.
const fn kind(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Valid => 0,
        Outcome::RateLimited | Outcome::QuotaExceeded => 1,
        _ => 2,
    }
}

/// Totals by bar and line.
struct Sums {
    since: i64,
    step: i64,
    bars: i64,
    totals: BTreeMap<(u8, i64), i64>,
}

impl Sums {
    fn new(stretch: Stretch, now: DateTime<Utc>) -> Self {
        let since = stretch.since(now).timestamp();
        Self { since, step: stretch.step_seconds(), bars: stretch.bars, totals: BTreeMap::new() }
    }

    fn add(&mut self, at: DateTime<Utc>, line: u8, total: i64) {
        let bar = (at.timestamp() - self.since).div_euclid(self.step);
        *self.totals.entry((line, bar)).or_default() += total;
    }

    fn line(&self, line: u8) -> Vec<i64> {
        (0..self.bars).map(|bar| self.totals.get(&(line, bar)).copied().unwrap_or(0)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_ends_with_the_bar_of_this_moment_and_has_at_most_sixty() {
        let now = DateTime::parse_from_rfc3339("2026-11-22T12:34:56Z").unwrap().to_utc();
        for stretch in ALL {
            let marks = stretch.marks(now);
            assert!(marks.len() <= 60, "{}", stretch.name);
            let last = *marks.last().unwrap();
            assert!(last <= now && now < last + TimeDelta::seconds(stretch.step_seconds()), "{}", stretch.name);
            assert_eq!(marks[0], stretch.span(now).since);
        }
        assert_eq!(Stretch::named("no such").name, "24h");
    }
}
