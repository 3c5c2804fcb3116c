//! Stacked bar chart, drawn by the server. It has at most 60 bars, titles as tooltips, and the numbers as a table too.

use askama::Template;
use chrono::{DateTime, SecondsFormat, Utc};

use super::text::{counted, grouped};

/// Data series, drawn in one color of the stack.
#[derive(Debug, Clone)]
pub struct Series {
    pub name: &'static str,
    /// Class in `charts.css`, such as `series-good` or `series-bad`.
    pub class: &'static str,
    pub total: String,
    values: Vec<i64>,
}

impl Series {
    pub fn new(name: &'static str, class: &'static str, values: Vec<i64>) -> Self {
        Self { name, class, total: grouped(values.iter().sum()), values }
    }
}

/// Segment of a bar, in units of the drawing, which is 100 units high.
#[derive(Debug, Clone)]
pub struct Segment {
    pub class: &'static str,
    pub y: String,
    pub height: String,
}

/// Bar of a chart, with its row of the table.
#[derive(Debug, Clone)]
pub struct Bar {
    pub x: usize,
    pub title: String,
    pub label: String,
    /// Time in RFC 3339, which a script converts to the reader's time zone.
    pub iso: String,
    pub segments: Vec<Segment>,
    /// Numbers of the table's row, in the order of the series.
    pub cells: Vec<String>,
}

/// Chart as its template needs it.
#[derive(Debug, Clone, Template)]
#[template(path = "components/chart.html")]
pub struct Chart {
    /// Id, unique on the page.
    pub id: &'static str,
    pub title: String,
    pub summary: String,
    pub series: Vec<Series>,
    pub bars: Vec<Bar>,
    pub width: usize,
    /// Value at the upper edge.
    pub top: String,
    pub first: String,
    pub last: String,
    /// Time in RFC 3339, which a script converts to the reader's time zone.
    pub first_iso: String,
    pub last_iso: String,
    /// `hour` or `day`: format of the axis labels.
    pub axis: &'static str,
    pub is_empty: bool,
}

impl askama::filters::HtmlSafe for Chart {}

/// Distance between two bars, in units of the drawing.
const STEP: usize = 10;

impl Chart {
    /// Builds a chart. `at` has the start of each bucket; each series has one value per bucket.
    pub fn new(id: &'static str, title: &str, noun: &str, at: &[DateTime<Utc>], series: Vec<Series>) -> Self {
        let sums: Vec<i64> = (0..at.len()).map(|index| column(&series, index).sum()).collect();
        let top = ceiling(sums.iter().copied().max().unwrap_or(0));
        let days = at.first().zip(at.last()).map_or(0, |(first, last)| (*last - *first).num_days());
        let (axis, format) = if days < 2 { ("hour", "%H:%M") } else { ("day", "%-d %b") };
        let end =
            |at: Option<&DateTime<Utc>>| at.map(|at| (at.format(format).to_string(), iso(*at))).unwrap_or_default();
        let ((first, first_iso), (last, last_iso)) = (end(at.first()), end(at.last()));
        let bars = at.iter().enumerate().map(|(index, at)| bar(&series, index, *at, top)).collect();
        let total: i64 = sums.iter().sum();
        Self {
            id,
            title: title.to_owned(),
            summary: counted(total, noun),
            width: (at.len() * STEP).max(STEP),
            top: grouped(top),
            first,
            last,
            first_iso,
            last_iso,
            axis,
            is_empty: total == 0,
            bars,
            series,
        }
    }
}

fn column(series: &[Series], index: usize) -> impl Iterator<Item = i64> {
    series.iter().map(move |series| series.values.get(index).copied().unwrap_or(0))
}

fn bar(series: &[Series], index: usize, at: DateTime<Utc>, top: i64) -> Bar {
    let mut below = 0;
    let segments = series.iter().zip(column(series, index)).filter(|(_, value)| 0 < *value).map(|(series, value)| {
        below += value;
        Segment { class: series.class, y: percent(top - below, top), height: percent(value, top) }
    });
    let segments = segments.collect();
    let parts: Vec<_> = series.iter().zip(column(series, index)).map(|(series, value)| (series.name, value)).collect();
    let shown: Vec<_> =
        parts.iter().map(|(name, value)| format!("{} {}", grouped(*value), name.to_lowercase())).collect();
    let label = at.format("%Y-%m-%d %H:%M UTC").to_string();
    Bar {
        x: index * STEP,
        title: format!("{label}: {}", shown.join(", ")),
        segments,
        iso: iso(at),
        cells: parts.iter().map(|(_, value)| grouped(*value)).collect(),
        label,
    }
}

fn iso(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Returns the next round number: 1, 2, 5, 10, 20, 50 …
fn ceiling(highest: i64) -> i64 {
    let mut step = 1_i64;
    loop {
        for factor in [1, 2, 5] {
            let round = step.saturating_mul(factor);
            if highest <= round {
                return round;
            }
        }
        step = step.saturating_mul(10);
    }
}

/// Returns a percentage with two decimals, computed without floats.
pub(super) fn percent(part: i64, whole: i64) -> String {
    let hundredths = part.saturating_mul(10_000) / whole.max(1);
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_stack_up_to_a_round_number() {
        let at = [DateTime::UNIX_EPOCH, DateTime::UNIX_EPOCH + chrono::TimeDelta::hours(1)];
        let series =
            vec![Series::new("Valid", "series-good", vec![3, 0]), Series::new("Refused", "series-bad", vec![1, 0])];
        let chart = Chart::new("c", "Verifications", "verification", &at, series);
        assert_eq!((chart.top.as_str(), chart.summary.as_str()), ("5", "4 verifications"));
        let pieces: Vec<_> = chart.bars[0].segments.iter().map(|s| (s.y.as_str(), s.height.as_str())).collect();
        assert_eq!(pieces, [("40.00", "60.00"), ("20.00", "20.00")]);
        assert!(chart.bars[1].segments.is_empty());
        assert_eq!(chart.bars[0].title, "1970-01-01 00:00 UTC: 3 valid, 1 refused");
    }
}
