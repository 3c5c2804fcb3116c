//! Times that come from outside: within the years that a calendar, Postgres and sums are sure of.

use chrono::{DateTime, Datelike, NaiveDate, Utc};
use serde::{Deserialize, Deserializer, Serialize, de};

/// A time as RFC 3339 writes it, which has four digits for a year (section 5.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Time(DateTime<Utc>);

impl Time {
    pub const fn utc(self) -> DateTime<Utc> {
        self.0
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let at = DateTime::deserialize(deserializer)?;
        sure(at).map(Self).ok_or_else(|| de::Error::custom("must lie between the years 0 and 9999"))
    }
}

/// The time or day itself, where its year has four digits.
pub fn sure<T: Datelike>(at: T) -> Option<T> {
    (0..=9999).contains(&at.year()).then_some(at)
}

/// A day as forms and URLs have it: `2026-11-22`.
pub fn day(text: &str) -> Option<NaiveDate> {
    text.trim().parse().ok().and_then(sure)
}

#[cfg(test)]
mod tests {
    use super::*;

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
