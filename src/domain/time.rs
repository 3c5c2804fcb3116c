//! Times from outside, limited to years that calendars, Postgres and arithmetic handle.

use std::str::FromStr;

use chrono::{DateTime, Datelike, NaiveDate, NaiveTime, Utc};
use serde::{Deserialize, Deserializer, Serialize, de};

use super::Rejection;

/// A time in the form of RFC 3339, which has four digits for a year (section 5.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Time(DateTime<Utc>);

impl Time {
    /// Returns the time in UTC.
    pub const fn utc(self) -> DateTime<Utc> {
        self.0
    }
}

/// Parses a time of RFC 3339. A day alone is its start in UTC. A space before the offset is a `+` that a URL lost.
impl FromStr for Time {
    type Err = Rejection;

    fn from_str(text: &str) -> Result<Self, Rejection> {
        let text = text.trim();
        let begin = || day(text).map(|day| day.and_time(NaiveTime::MIN).and_utc());
        let restored = || text.rsplit_once(' ').and_then(|(time, offset)| format!("{time}+{offset}").parse().ok());
        let at: Option<DateTime<Utc>> = text.parse().ok().or_else(restored).or_else(begin);
        match at {
            Some(at) => {
                sure(at).map(Self).ok_or_else(|| Rejection::new("range", "must lie between the years 0 and 9999"))
            }
            None => Err(Rejection::new(
                "time",
                "must be a time with an offset, as in 2026-11-30T12:00:00Z, or a day, as in 2026-11-30",
            )),
        }
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// Returns the time or day if its year has at most four digits.
pub fn sure<T: Datelike>(at: T) -> Option<T> {
    (0..=9999).contains(&at.year()).then_some(at)
}

/// Parses a day as forms and URLs write it: `2026-11-22`.
pub fn day(text: &str) -> Option<NaiveDate> {
    text.trim().parse().ok().and_then(sure)
}

/// Parses a day, with an error that says what to write.
pub fn parse_day(text: &str) -> Result<NaiveDate, Rejection> {
    day(text).ok_or_else(|| Rejection::new("day", "must be a day, as in 2026-11-22"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_its_start_and_a_space_is_a_plus() {
        let time = |text: &str| text.parse::<Time>().map(|time| time.utc().to_rfc3339()).ok();
        let noon = Some("2026-11-30T12:00:00+00:00".to_owned());
        for text in
            ["2026-11-30T12:00:00Z", "2026-11-30t12:00:00z", " 2026-11-30T12:00:00.000Z", "2026-11-30 12:00:00Z"]
        {
            assert_eq!(time(text), noon, "{text}");
        }
        for text in ["2026-11-30T13:00:00+01:00", "2026-11-30T13:00:00 01:00", "2026-11-30T11:00:00-01:00"] {
            assert_eq!(time(text), noon, "{text}");
        }
        assert_eq!(time("2026-11-30").unwrap(), "2026-11-30T00:00:00+00:00");
        for text in ["", "30.11.2026", "2026-11", "2026-11-31", "2026-11-30T12:00", "2026-11-30T12:00:00", "1764504000"]
        {
            assert_eq!(time(text), None, "{text}");
        }
    }

    #[test]
    fn years_have_four_digits() {
        let time = |text: &str| serde_json::from_value::<Time>(text.into()).map(Time::utc);
        let now: DateTime<Utc> = "2026-11-22T12:00:00Z".parse().unwrap();
        assert_eq!(time("2026-11-22T13:00:00+01:00").unwrap(), now);
        assert!(time("0000-01-01T00:00:00Z").is_ok() && time("9999-12-31T23:59:59Z").is_ok());
        for text in ["-0001-12-31T23:59:59Z", "-200000-01-01T00:00:00Z", "+10000-01-01T00:00:00Z"] {
            assert!(time(text).unwrap_err().to_string().contains("9999"), "{text}");
        }
        assert!(time("tomorrow").is_err() && day("+262000-01-01").is_none() && day("2026-11-22").is_some());
    }
}
