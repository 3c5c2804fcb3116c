//! Quotas: a hard limit for good, or for each day or month.

use chrono::{DateTime, Datelike, Days, Months, NaiveTime, Utc};

use super::error::Rejection;

/// Largest quota.
pub const MOST: i64 = 1_000_000_000_000;

crate::text_enum! {
    /// Period after which a quota is full again: at midnight, or on the first of the month, in UTC.
    pub enum Refill {
        Daily = "daily",
        Monthly = "monthly",
    }
}

impl Refill {
    /// Returns the end of the period that contains `now`.
    pub fn after(self, now: DateTime<Utc>) -> DateTime<Utc> {
        let today = now.date_naive();
        let next = match self {
            Self::Daily => today.checked_add_days(Days::new(1)),
            Self::Monthly => today.with_day(1).and_then(|first| first.checked_add_months(Months::new(1))),
        };
        next.map_or(DateTime::<Utc>::MAX_UTC, |day| day.and_time(NaiveTime::MIN).and_utc())
    }
}

/// Amount that a key may use. Without a refill it is used up once and for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Units of one period.
    pub quota: i64,
    /// Period of the refill.
    pub refill: Option<Refill>,
}

impl Quota {
    /// Checks a quota.
    pub fn parse(quota: i64, refill: Option<Refill>) -> Result<Self, Rejection> {
        if (1..=MOST).contains(&quota) {
            Ok(Self { quota, refill })
        } else {
            Err(Rejection::new("range", format!("must be from 1 to {MOST}")))
        }
    }
}

/// State of a key's quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaState {
    /// Units of one period.
    pub quota: i64,
    /// Units left.
    pub remaining: i64,
    /// Time of the next refill (UTC); `None` without one.
    pub refills_at: Option<DateTime<Utc>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_full_again_at_the_end_of_its_period() {
        let after = |refill: Refill, at: &str| refill.after(at.parse().unwrap()).to_rfc3339();
        assert_eq!(after(Refill::Daily, "2026-11-22T23:59:59Z"), "2026-11-23T00:00:00+00:00");
        assert_eq!(after(Refill::Daily, "2026-11-23T00:00:00Z"), "2026-11-24T00:00:00+00:00");
        assert_eq!(after(Refill::Monthly, "2026-12-31T12:00:00Z"), "2027-01-01T00:00:00+00:00");
        assert_eq!(after(Refill::Monthly, "2024-01-31T12:00:00Z"), "2024-02-01T00:00:00+00:00");
    }

    #[test]
    fn a_quota_is_at_least_one_and_bounded() {
        assert!(Quota::parse(0, None).is_err() && Quota::parse(MOST + 1, None).is_err());
        assert!(Quota::parse(1, Some(Refill::Daily)).is_ok());
    }
}
