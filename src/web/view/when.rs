//! Time on a page: relative in the text, exact in UTC in the title.

use askama::Template;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

/// Time as its template needs it.
#[derive(Debug, Clone, Template)]
#[template(path = "components/when.html")]
pub struct When {
    /// Time in RFC 3339, which a script converts to the reader's time zone.
    pub iso: String,
    pub exact: String,
    pub text: String,
}

impl askama::filters::HtmlSafe for When {}

impl When {
    pub fn new(at: DateTime<Utc>, now: DateTime<Utc>) -> Self {
        Self {
            iso: at.to_rfc3339_opts(SecondsFormat::Millis, true),
            exact: at.format("%Y-%m-%d %H:%M:%S UTC").to_string(),
            text: relative(at, now),
        }
    }

    pub fn maybe(at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Option<Self> {
        at.map(|at| Self::new(at, now))
    }

    /// Formats how long a state has lasted: `for 12 min`, or `since` a date after 30 days.
    pub fn lasting(since: DateTime<Utc>, now: DateTime<Utc>) -> String {
        if TimeDelta::days(30) < now - since {
            return format!("since {}", relative(since, now));
        }
        format!("for {}", span(now - since).unwrap_or_else(|| "a moment".to_owned()))
    }
}

/// Formats a time as `just now`, `12 min ago` or `in 3 days`, and beyond 30 days as a date.
fn relative(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let distance = (now - at).abs();
    if TimeDelta::days(30) < distance {
        return at.format("%-d %b %Y").to_string();
    }
    match span(distance) {
        None => "just now".to_owned(),
        Some(span) if at <= now => format!("{span} ago"),
        Some(span) => format!("in {span}"),
    }
}

fn span(distance: TimeDelta) -> Option<String> {
    let seconds = distance.num_seconds();
    Some(match seconds {
        0..=4 => return None,
        5..=59 => format!("{seconds} s"),
        60..=3_599 => format!("{} min", seconds / 60),
        3_600..=86_399 => format!("{} h", seconds / 3_600),
        86_400..=172_799 => "1 day".to_owned(),
        _ => format!("{} days", seconds / 86_400),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_formatted_relative_to_now() {
        let now = DateTime::parse_from_rfc3339("2026-11-22T12:00:00Z").unwrap().to_utc();
        let ago = |seconds| relative(now - TimeDelta::seconds(seconds), now);
        assert_eq!(
            [ago(1), ago(12), ago(90), ago(7_300), ago(100_000), ago(400_000), ago(-5_000), ago(9_000_000)],
            ["just now", "12 s ago", "1 min ago", "2 h ago", "1 day ago", "4 days ago", "in 1 h", "10 Aug 2026"]
        );
        let lasting = |seconds| When::lasting(now - TimeDelta::seconds(seconds), now);
        assert_eq!([lasting(1), lasting(90), lasting(9_000_000)], ["for a moment", "for 1 min", "since 10 Aug 2026"]);
    }
}
