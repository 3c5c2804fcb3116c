//! Usage: outcomes of verifications, their records, and spans to look at.

pub mod report;

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::error::Rejection;
use super::time::sure;
use super::{ApiKeyId, TenantId};

crate::text_enum! {
    /// Outcome of one verification of a key.
    pub enum Outcome {
        Valid = "VALID",
        NotFound = "NOT_FOUND",
        Malformed = "MALFORMED",
        Disabled = "DISABLED",
        Revoked = "REVOKED",
        Expired = "EXPIRED",
        RotatedOut = "ROTATED_OUT",
        OwnerInactive = "OWNER_INACTIVE",
        WrongEnvironment = "WRONG_ENVIRONMENT",
        IpNotAllowed = "IP_NOT_ALLOWED",
        InsufficientScope = "INSUFFICIENT_SCOPE",
        RateLimited = "RATE_LIMITED",
        QuotaExceeded = "QUOTA_EXCEEDED",
        TenantSuspended = "TENANT_SUSPENDED",
    }
}

/// Record of one request or verification with a key.
#[derive(Debug, Clone)]
pub struct UsageRecord {
    /// Tenant of the key.
    pub tenant: TenantId,
    /// Key that was verified; `None` if no key of the tenant was presented.
    pub api_key: Option<ApiKeyId>,
    /// Id of the request.
    pub request_id: String,
    /// Endpoint that the caller named, or path of the request.
    pub endpoint: Cow<'static, str>,
    /// HTTP method.
    pub method: Cow<'static, str>,
    /// HTTP status of the answer.
    pub status: i16,
    /// Outcome of the verification.
    pub outcome: Outcome,
    /// Reason of a refusal, in a sentence.
    pub reason: Option<String>,
    /// Microseconds that it took.
    pub duration_us: i64,
    /// Units that it took from the limit; 0 if refused.
    pub cost: i64,
    /// IP address of the caller.
    pub ip: Option<IpAddr>,
    /// Time of the request (UTC).
    pub at: DateTime<Utc>,
    /// True if an application reported it, with an id of its own choice. Other ids carry their time ([`began_at`]).
    pub is_reported: bool,
}

/// Returns when the request of this id began. The server's own ids are UUIDv7, whose first 48 bits are the
/// milliseconds since 1970 (RFC 9562, section 5.7).
pub fn began_at(request_id: &str) -> Option<DateTime<Utc>> {
    let id = Uuid::try_parse(request_id).ok().filter(|id| id.get_version_num() == 7)?;
    let (seconds, nanos) = id.get_timestamp()?.to_unix();
    DateTime::from_timestamp(i64::try_from(seconds).ok()?, nanos)
}

/// Place of a record in the log: its time, and its id among records of the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordPlace {
    /// Time of the record (UTC).
    pub at: DateTime<Utc>,
    /// Number of the record.
    pub id: i64,
}

impl fmt::Display for RecordPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.at.timestamp_micros(), self.id)
    }
}

impl FromStr for RecordPlace {
    type Err = Rejection;

    fn from_str(text: &str) -> Result<Self, Rejection> {
        let parsed = text.split_once('-').and_then(|(micros, id)| {
            Some(Self {
                at: DateTime::from_timestamp_micros(micros.parse().ok()?).and_then(sure)?,
                id: id.parse().ok()?,
            })
        });
        parsed.ok_or_else(|| Rejection::new("cursor", "is not a cursor of this list"))
    }
}

/// Maximum number of characters of an endpoint.
pub const LONGEST_ENDPOINT: usize = 200;

/// Cuts an endpoint to its longest form and drops control characters.
pub fn endpoint(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(LONGEST_ENDPOINT).collect()
}

/// Returns the step of the latency histogram for a duration: step n begins at 2^(n/2) µs.
pub fn latency_step(duration_us: i64) -> i16 {
    let micros = duration_us.max(1).unsigned_abs();
    let octave = micros.ilog2();
    let is_upper = u128::from(micros).pow(2) >> (2 * octave + 1) != 0;
    i16::try_from(2 * octave).unwrap_or(i16::MAX - 1) + i16::from(is_upper)
}

/// Returns the start of the hour, minute or other period of `seconds` that contains a time.
pub fn floor_to(at: DateTime<Utc>, seconds: i64) -> DateTime<Utc> {
    let since_epoch = at.timestamp();
    DateTime::from_timestamp(since_epoch - since_epoch.rem_euclid(seconds), 0).unwrap_or(at)
}

crate::text_enum! {
    /// Grouping of usage.
    pub enum GroupBy {
        Endpoint = "endpoint",
        Key = "key",
        Owner = "owner",
        Outcome = "outcome",
        Status = "status",
        StatusClass = "status_class",
    }
}

crate::text_enum! {
    /// Width of a usage bucket.
    pub enum Bucket {
        Minute = "minute",
        Hour = "hour",
        Day = "day",
    }
}

impl Bucket {
    /// Returns the width in seconds.
    pub const fn seconds(self) -> i64 {
        match self {
            Self::Minute => 60,
            Self::Hour => 3600,
            Self::Day => 86_400,
        }
    }
}

/// Span of usage, and the width of its buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Start of the span (UTC), inclusive.
    pub since: DateTime<Utc>,
    /// End of the span (UTC), exclusive.
    pub until: DateTime<Utc>,
    /// Width of its buckets.
    pub bucket: Bucket,
}

/// Parts of a span: whole hours, and minutes before and after them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts {
    /// Start of the span (UTC), rounded down to a minute.
    pub since: DateTime<Utc>,
    /// Start of the whole hours (UTC); equal to `hours_to` if there are none.
    pub hours_from: DateTime<Utc>,
    /// End of the whole hours (UTC).
    pub hours_to: DateTime<Utc>,
    /// End of the span (UTC).
    pub until: DateTime<Utc>,
}

impl Span {
    /// Splits the span into whole hours and minutes; with `is_fine` into minutes only.
    pub fn parts(&self, is_fine: bool) -> Parts {
        let since = floor_to(self.since, 60);
        let to = floor_to(self.until, 3600);
        let from = match floor_to(since, 3600) {
            hour if hour == since => hour,
            hour => hour + TimeDelta::hours(1),
        };
        let (hours_from, hours_to) = if is_fine || to <= from { (since, since) } else { (from, to) };
        Parts { since, hours_from, hours_to, until: self.until }
    }

    /// Checks a span and fills in its defaults: the last 24 hours, by the hour. At most 1,500 buckets.
    pub fn parse(
        since: Option<DateTime<Utc>>,
        until: Option<DateTime<Utc>>,
        bucket: Option<Bucket>,
        now: DateTime<Utc>,
    ) -> Result<Self, (&'static str, Rejection)> {
        let until = until.unwrap_or(now);
        let since = since.unwrap_or(until - TimeDelta::hours(24));
        if until <= since {
            return Err(("since", Rejection::new("range", "must be before until")));
        }
        let length = (until - since).num_seconds();
        let bucket = bucket.unwrap_or(match length {
            ..=7_200 => Bucket::Minute,
            7_201..=259_200 => Bucket::Hour,
            _ => Bucket::Day,
        });
        if 1_500 < length / bucket.seconds() {
            return Err((
                "bucket",
                Rejection::new("range", "gives more than 1500 buckets: choose a larger bucket or a shorter time span"),
            ));
        }
        Ok(Self { since, until, bucket })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        format!("2026-11-22T{text}Z").parse().unwrap()
    }

    #[test]
    fn each_duration_has_its_step_of_half_an_octave() {
        let steps = [0, 1, 2, 3, 4, 5, 6, 1000, 1024, 1448, 1449, i64::MAX].map(latency_step);
        assert_eq!(steps, [0, 0, 2, 3, 4, 4, 5, 19, 20, 20, 21, 125]);
    }

    #[test]
    fn a_span_is_whole_hours_between_minutes() {
        let span = |since, until| Span { since: at(since), until: at(until), bucket: Bucket::Hour };
        let parts = |since, until| {
            let parts = span(since, until).parts(false);
            (parts.since, parts.hours_from, parts.hours_to, parts.until)
        };
        assert_eq!(parts("10:20:30", "13:05:00"), (at("10:20:00"), at("11:00:00"), at("13:00:00"), at("13:05:00")));
        assert_eq!(parts("10:00:00", "13:00:00"), (at("10:00:00"), at("10:00:00"), at("13:00:00"), at("13:00:00")));
        assert_eq!(parts("10:20:00", "10:50:00"), (at("10:20:00"), at("10:20:00"), at("10:20:00"), at("10:50:00")));
        let fine = span("10:00:00", "13:00:00").parts(true);
        assert_eq!((fine.hours_from, fine.hours_to), (at("10:00:00"), at("10:00:00")));
    }
}
