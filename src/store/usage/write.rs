//! Writes usage: records by COPY, and what they add to the totals.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, SmallInt, Text, Timestamptz};

use crate::domain::usage::{Outcome, UsageRecord};
use crate::domain::{ApiKeyId, Result, TenantId};
use crate::model::usage_log::NewUsageLog;
use crate::model::usage_log::usage_logs;
use crate::store::kept::kept;

/// The key under which the totals of a whole tenant stand.
pub const ALL_KEYS: ApiKeyId = ApiKeyId(0);

/// The tables of totals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    Minute,
    Hour,
}

impl Width {
    pub const fn seconds(self) -> i64 {
        match self {
            Self::Minute => 60,
            Self::Hour => 3600,
        }
    }

    pub(super) const fn table(self) -> &'static str {
        match self {
            Self::Minute => "usage_minutes",
            Self::Hour => "usage_hours",
        }
    }

    pub(super) const fn column(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
        }
    }
}

/// What a row of totals is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TotalKey<'a> {
    pub tenant: TenantId,
    pub api_key: ApiKeyId,
    pub at: DateTime<Utc>,
    pub endpoint: &'a str,
    pub outcome: Outcome,
    pub status: i16,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Total {
    pub total: i64,
    pub cost: i64,
}

/// What a row of the histogram is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LatencyKey {
    pub tenant: TenantId,
    pub api_key: ApiKeyId,
    pub hour: DateTime<Utc>,
    pub step: i16,
}

/// By COPY, which only the owner of the tables may do: in `Scope::Instance`.
pub fn insert_logs<'a>(conn: &mut PgConnection, records: impl Iterator<Item = &'a UsageRecord>) -> Result<()> {
    let rows: Vec<NewUsageLog<'_>> = records.map(NewUsageLog::from).collect();
    diesel::copy_from(usage_logs::table).from_insertable(&rows).execute(conn)?;
    Ok(())
}

/// Adds to the totals; `sums` in the order of their keys, so that replicas never wait for each other in a ring.
pub fn add_totals(conn: &mut PgConnection, width: Width, sums: &[(TotalKey<'_>, Total)]) -> Result<()> {
    let query = match width {
        Width::Minute => kept(
            "INSERT INTO usage_minutes AS t (tenant_id, api_key_id, minute, endpoint, outcome, status, total, cost)
             SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8)
             ON CONFLICT (tenant_id, api_key_id, minute, endpoint, outcome, status)
             DO UPDATE SET total = t.total + excluded.total, cost = t.cost + excluded.cost",
        ),
        Width::Hour => kept(
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

/// Adds to the histogram of latency; in the order of the keys too.
pub fn add_latencies(conn: &mut PgConnection, counts: &[(LatencyKey, i64)]) -> Result<()> {
    kept(
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
