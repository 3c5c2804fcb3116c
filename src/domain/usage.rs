//! What a verification comes to, and the record that is kept of it.

use std::net::IpAddr;

use chrono::{DateTime, TimeDelta, Utc};

use super::error::Rejection;
use super::{ApiKeyId, TenantId};

crate::text_enum! {
    /// The outcome of one check of a key (FORMATS.md §2).
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

/// One key-authenticated request or verification.
#[derive(Debug, Clone)]
pub struct UsageRecord {
    pub tenant: TenantId,
    pub api_key: ApiKeyId,
    pub request_id: String,
    pub endpoint: String,
    pub method: String,
    pub status: i16,
    pub outcome: Outcome,
    pub duration_us: i64,
    /// What it took from the limit: 0 for a refused one.
    pub cost: i64,
    pub ip: Option<IpAddr>,
    pub at: DateTime<Utc>,
}

/// The longest endpoint that is kept, in characters.
pub const LONGEST_ENDPOINT: usize = 200;

/// Cuts an endpoint to what is kept; control characters go.
pub fn endpoint(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(LONGEST_ENDPOINT).collect()
}

crate::text_enum! {
    /// The width of a usage bucket.
    pub enum Bucket {
        Minute = "minute",
        Hour = "hour",
        Day = "day",
    }
}

impl Bucket {
    pub const fn seconds(self) -> i64 {
        match self {
            Self::Minute => 60,
            Self::Hour => 3600,
            Self::Day => 86_400,
        }
    }
}

/// From when until when usage is looked at, and in which steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub since: DateTime<Utc>,
    pub until: DateTime<Utc>,
    pub bucket: Bucket,
}

impl Span {
    /// The last 24 hours by the hour unless said otherwise; at most 1,500 buckets.
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
                Rejection::new("range", "makes more than 1500 buckets: choose a wider one or a shorter time"),
            ));
        }
        Ok(Self { since, until, bucket })
    }
}
