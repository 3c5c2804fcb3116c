//! Usage writes: records by COPY, and their additions to the totals.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, SmallInt, Text, Timestamptz};

use crate::domain::usage::{Outcome, UsageRecord};
use crate::domain::{ApiKeyId, Result, TenantId};
use crate::model::usage_log::NewUsageLog;
use crate::model::usage_log::usage_logs;
use crate::store::cached_sql::cached_sql;

/// Key id of rows that hold the totals of a whole tenant.
pub const ALL_KEYS: ApiKeyId = ApiKeyId(0);

/// Period that one row of totals covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    /// Rows of `usage_minutes`.
    Minute,
    /// Rows of `usage_hours`.
    Hour,
}

impl Width {
    /// Length in seconds.
    pub const fn seconds(self) -> i64 {
        match self {
            Self::Minute => 60,
            Self::Hour => 3600,
        }
    }

    /// Name of the table.
    pub(super) const fn table(self) -> &'static str {
        match self {
            Self::Minute => "usage_minutes",
            Self::Hour => "usage_hours",
        }
    }

    /// Name of the column with the start of the period.
    pub(super) const fn column(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
        }
    }
}

/// Key of a row of totals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TotalKey<'a> {
    /// Tenant of the verified key.
    pub tenant: TenantId,
    /// Verified key, or [`ALL_KEYS`].
    pub api_key: ApiKeyId,
    /// Start of the period (UTC).
    pub at: DateTime<Utc>,
    /// Endpoint that the caller named.
    pub endpoint: &'a str,
    /// Outcome of the verification.
    pub outcome: Outcome,
    /// HTTP status of the answer.
    pub status: i16,
}

/// Values of a row of totals.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Total {
    /// Number of verifications.
    pub total: i64,
    /// Sum of what they took from the rate limit.
    pub cost: i64,
}

/// Key of a row of the latency histogram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LatencyKey {
    /// Tenant of the verified key.
    pub tenant: TenantId,
    /// Verified key, or [`ALL_KEYS`].
    pub api_key: ApiKeyId,
    /// Start of the hour (UTC).
    pub hour: DateTime<Utc>,
    /// Step of the histogram: twice the binary logarithm of the microseconds, rounded down.
    pub step: i16,
}

/// Writes records by COPY, which only the owner of the tables may do: in `Scope::Instance`.
pub fn insert_logs<'a>(conn: &mut PgConnection, records: impl Iterator<Item = &'a UsageRecord>) -> Result<()> {
    let rows: Vec<NewUsageLog<'_>> = records.map(NewUsageLog::from).collect();
    diesel::copy_from(usage_logs::table).from_insertable(&rows).execute(conn)?;
    Ok(())
}

/// Adds to the totals. `sums` must be ordered by key, so that replicas never deadlock.
pub fn add_totals(conn: &mut PgConnection, width: Width, sums: &[(TotalKey<'_>, Total)]) -> Result<()> {
    let query = match width {
        Width::Minute => cached_sql(
            "INSERT INTO usage_minutes AS t (tenant_id, api_key_id, minute, endpoint, outcome, status, total, cost)
             SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8)
             ON CONFLICT (tenant_id, api_key_id, minute, endpoint, outcome, status)
             DO UPDATE SET total = t.total + excluded.total, cost = t.cost + excluded.cost",
        ),
        Width::Hour => cached_sql(
            "INSERT INTO usage_hours AS t (tenant_id, api_key_id, hour, endpoint, outcome, status, total, cost)
             SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8)
             ON CONFLICT (tenant_id, api_key_id, hour, endpoint, outcome, status)
             DO UPDATE SET total = t.total + excluded.total, cost = t.cost + excluded.cost",
        ),
    };
    let bound = query
        .bind::<Array<BigInt>, _>(sums.iter().map(|(key, _)| key.tenant.0).collect::<Vec<_>>())
        .bind::<Array<BigInt>, _>(sums.iter().map(|(key, _)| key.api_key.0).collect::<Vec<_>>())
        .bind::<Array<Timestamptz>, _>(sums.iter().map(|(key, _)| key.at).collect::<Vec<_>>())
        .bind::<Array<Text>, _>(sums.iter().map(|(key, _)| key.endpoint).collect::<Vec<_>>())
        .bind::<Array<Text>, _>(sums.iter().map(|(key, _)| key.outcome.as_str()).collect::<Vec<_>>())
        .bind::<Array<SmallInt>, _>(sums.iter().map(|(key, _)| key.status).collect::<Vec<_>>())
        .bind::<Array<BigInt>, _>(sums.iter().map(|(_, sum)| sum.total).collect::<Vec<_>>())
        .bind::<Array<BigInt>, _>(sums.iter().map(|(_, sum)| sum.cost).collect::<Vec<_>>());
    bound.execute(conn)?;
    Ok(())
}

/// Adds to the latency histogram. `counts` must be ordered by key as well.
pub fn add_latencies(conn: &mut PgConnection, counts: &[(LatencyKey, i64)]) -> Result<()> {
    cached_sql(
        "INSERT INTO usage_latencies AS l (tenant_id, api_key_id, hour, step, total)
         SELECT * FROM unnest($1, $2, $3, $4, $5)
         ON CONFLICT (tenant_id, api_key_id, hour, step) DO UPDATE SET total = l.total + excluded.total",
    )
    .bind::<Array<BigInt>, _>(counts.iter().map(|(key, _)| key.tenant.0).collect::<Vec<_>>())
    .bind::<Array<BigInt>, _>(counts.iter().map(|(key, _)| key.api_key.0).collect::<Vec<_>>())
    .bind::<Array<Timestamptz>, _>(counts.iter().map(|(key, _)| key.hour).collect::<Vec<_>>())
    .bind::<Array<SmallInt>, _>(counts.iter().map(|(key, _)| key.step).collect::<Vec<_>>())
    .bind::<Array<BigInt>, _>(counts.iter().map(|(_, count)| *count).collect::<Vec<_>>())
    .execute(conn)?;
    Ok(())
}
