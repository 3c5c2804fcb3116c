//! Queries on `usage_logs` and `usage_minutes`: written in batches, read in buckets.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Double, Nullable, SmallInt, Text, Timestamptz};

use super::Scope;
use crate::domain::usage::{Outcome, Span, UsageRecord};
use crate::domain::{ApiKeyId, LineageId, Result, TenantId};
use crate::model::UsageLog;
use crate::model::usage_log::NewUsageLog;
use crate::schema::{api_keys, usage_logs, usage_minutes};

/// One row to add to `usage_minutes`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MinuteKey {
    pub tenant: TenantId,
    pub api_key: ApiKeyId,
    pub minute: DateTime<Utc>,
    pub endpoint: String,
    pub outcome: Outcome,
    pub status: i16,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MinuteSum {
    pub total: i64,
    pub cost: i64,
}

/// By COPY, which only the owner of the tables may do: in `Scope::Instance`.
pub fn insert_logs(conn: &mut PgConnection, records: &[UsageRecord]) -> Result<()> {
    let rows: Vec<NewUsageLog<'_>> = records.iter().map(NewUsageLog::from).collect();
    diesel::copy_from(usage_logs::table).from_insertable(&rows).execute(conn)?;
    Ok(())
}

/// Adds to the minutes; `sums` in the order of their keys, so that replicas never wait for each other in a ring.
pub fn add_to_minutes(conn: &mut PgConnection, sums: &[(MinuteKey, MinuteSum)]) -> Result<()> {
    diesel::sql_query(
        "INSERT INTO usage_minutes (tenant_id, api_key_id, minute, endpoint, outcome, status, total, cost)
         SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (tenant_id, api_key_id, minute, endpoint, outcome, status)
         DO UPDATE SET total = usage_minutes.total + excluded.total, cost = usage_minutes.cost + excluded.cost",
    )
    .bind::<Array<BigInt>, _>(sums.iter().map(|(key, _)| key.tenant.0).collect::<Vec<_>>())
    .bind::<Array<BigInt>, _>(sums.iter().map(|(key, _)| key.api_key.0).collect::<Vec<_>>())
    .bind::<Array<Timestamptz>, _>(sums.iter().map(|(key, _)| key.minute).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(sums.iter().map(|(key, _)| key.endpoint.as_str()).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(sums.iter().map(|(key, _)| key.outcome.as_str()).collect::<Vec<_>>())
    .bind::<Array<SmallInt>, _>(sums.iter().map(|(key, _)| key.status).collect::<Vec<_>>())
    .bind::<Array<BigInt>, _>(sums.iter().map(|(_, sum)| sum.total).collect::<Vec<_>>())
    .bind::<Array<BigInt>, _>(sums.iter().map(|(_, sum)| sum.cost).collect::<Vec<_>>())
    .execute(conn)?;
    Ok(())
}

/// What a key and those that it was rotated into have taken from their limit since then, by the minute.
pub fn cost_by_minute(
    conn: &mut PgConnection,
    tenant: TenantId,
    lineage: LineageId,
    since: DateTime<Utc>,
) -> Result<Vec<(DateTime<Utc>, i64)>> {
    let keys = api_keys::table.filter(api_keys::tenant_id.eq(tenant)).filter(api_keys::lineage_id.eq(lineage));
    let used = usage_minutes::table
        .filter(usage_minutes::tenant_id.eq(tenant))
        .filter(usage_minutes::api_key_id.eq_any(keys.select(api_keys::id)))
        .filter(usage_minutes::minute.ge(since))
        .filter(usage_minutes::cost.gt(0))
        .order(usage_minutes::minute)
        .select((usage_minutes::minute, usage_minutes::cost));
    Ok(used.load(conn)?)
}

/// Whose usage is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Of {
    pub scope: Scope,
    pub key: Option<ApiKeyId>,
}

impl Of {
    fn tenant(self) -> Option<i64> {
        match self.scope {
            Scope::Tenant(tenant) => Some(tenant.0),
            Scope::Instance => None,
        }
    }
}

#[derive(Debug, QueryableByName)]
pub struct BucketRow {
    #[diesel(sql_type = Timestamptz)]
    pub at: DateTime<Utc>,
    #[diesel(sql_type = Text)]
    pub outcome: Outcome,
    #[diesel(sql_type = BigInt)]
    pub total: i64,
}

/// Totals by bucket and outcome, in the order of time.
pub fn buckets(conn: &mut PgConnection, of: Of, span: &Span) -> Result<Vec<BucketRow>> {
    let rows = diesel::sql_query(
        "SELECT date_bin(make_interval(secs => $1), minute, TIMESTAMPTZ '2000-01-01 00:00:00+00') AS at, outcome,
                sum(total)::bigint AS total
         FROM usage_minutes
         WHERE ($2 IS NULL OR tenant_id = $2) AND ($3 IS NULL OR api_key_id = $3)
           AND minute >= date_trunc('minute', $4) AND minute < $5
         GROUP BY 1, 2 ORDER BY 1, 2",
    )
    .bind::<BigInt, _>(span.bucket.seconds())
    .bind::<Nullable<BigInt>, _>(of.tenant())
    .bind::<Nullable<BigInt>, _>(of.key.map(|key| key.0))
    .bind::<Timestamptz, _>(span.since)
    .bind::<Timestamptz, _>(span.until);
    Ok(rows.load(conn)?)
}

#[derive(Debug, QueryableByName)]
pub struct EndpointRow {
    #[diesel(sql_type = Text)]
    pub endpoint: String,
    #[diesel(sql_type = BigInt)]
    pub total: i64,
}

/// The busiest endpoints, at most `limit`.
pub fn by_endpoint(conn: &mut PgConnection, of: Of, span: &Span, limit: i64) -> Result<Vec<EndpointRow>> {
    let rows = diesel::sql_query(
        "SELECT endpoint, sum(total)::bigint AS total FROM usage_minutes
         WHERE ($1 IS NULL OR tenant_id = $1) AND ($2 IS NULL OR api_key_id = $2)
           AND minute >= date_trunc('minute', $3) AND minute < $4
         GROUP BY endpoint ORDER BY 2 DESC, 1 LIMIT $5",
    )
    .bind::<Nullable<BigInt>, _>(of.tenant())
    .bind::<Nullable<BigInt>, _>(of.key.map(|key| key.0))
    .bind::<Timestamptz, _>(span.since)
    .bind::<Timestamptz, _>(span.until)
    .bind::<BigInt, _>(limit);
    Ok(rows.load(conn)?)
}

#[derive(Debug, QueryableByName)]
pub struct StatusRow {
    #[diesel(sql_type = SmallInt)]
    pub status: i16,
    #[diesel(sql_type = BigInt)]
    pub total: i64,
}

pub fn by_status(conn: &mut PgConnection, of: Of, span: &Span) -> Result<Vec<StatusRow>> {
    let rows = diesel::sql_query(
        "SELECT status, sum(total)::bigint AS total FROM usage_minutes
         WHERE ($1 IS NULL OR tenant_id = $1) AND ($2 IS NULL OR api_key_id = $2)
           AND minute >= date_trunc('minute', $3) AND minute < $4
         GROUP BY status ORDER BY status",
    )
    .bind::<Nullable<BigInt>, _>(of.tenant())
    .bind::<Nullable<BigInt>, _>(of.key.map(|key| key.0))
    .bind::<Timestamptz, _>(span.since)
    .bind::<Timestamptz, _>(span.until);
    Ok(rows.load(conn)?)
}

/// Milliseconds.
#[derive(Debug, Clone, Copy, QueryableByName)]
pub struct LatencyRow {
    #[diesel(sql_type = Nullable<Double>)]
    pub p50: Option<f64>,
    #[diesel(sql_type = Nullable<Double>)]
    pub p95: Option<f64>,
    #[diesel(sql_type = Nullable<Double>)]
    pub p99: Option<f64>,
}

/// Over at most the newest `limit` records, so that a busy tenant's page stays fast.
pub fn latency(conn: &mut PgConnection, of: Of, span: &Span, limit: i64) -> Result<LatencyRow> {
    let row = diesel::sql_query(
        "SELECT percentile_cont(0.50) WITHIN GROUP (ORDER BY duration_us) / 1000.0 AS p50,
                percentile_cont(0.95) WITHIN GROUP (ORDER BY duration_us) / 1000.0 AS p95,
                percentile_cont(0.99) WITHIN GROUP (ORDER BY duration_us) / 1000.0 AS p99
         FROM (SELECT duration_us FROM usage_logs
               WHERE ($1 IS NULL OR tenant_id = $1) AND ($2 IS NULL OR api_key_id = $2)
                 AND created_at >= $3 AND created_at < $4
               ORDER BY created_at DESC LIMIT $5) AS newest",
    )
    .bind::<Nullable<BigInt>, _>(of.tenant())
    .bind::<Nullable<BigInt>, _>(of.key.map(|key| key.0))
    .bind::<Timestamptz, _>(span.since)
    .bind::<Timestamptz, _>(span.until)
    .bind::<BigInt, _>(limit);
    Ok(row.get_result(conn)?)
}

/// The newest records of a key.
pub fn list_logs(conn: &mut PgConnection, tenant: TenantId, key: ApiKeyId, limit: i64) -> Result<Vec<UsageLog>> {
    let newest = UsageLog::query()
        .filter(usage_logs::tenant_id.eq(tenant))
        .filter(usage_logs::api_key_id.eq(key))
        .order((usage_logs::created_at.desc(), usage_logs::id.desc()))
        .limit(limit);
    Ok(newest.load(conn)?)
}

/// Deletes up to `limit` usage records older than `before`, and tells how many.
pub fn delete_old_logs(conn: &mut PgConnection, before: DateTime<Utc>, limit: i64) -> Result<usize> {
    // Ids rise with time, so the oldest rows are found without an index on time.
    let old = usage_logs::table.order(usage_logs::id).limit(limit).select((usage_logs::id, usage_logs::created_at));
    let old: Vec<(i64, DateTime<Utc>)> = old.load(conn)?;
    let old: Vec<i64> = old.into_iter().filter(|(_, at)| *at < before).map(|(id, _)| id).collect();
    Ok(diesel::delete(usage_logs::table.filter(usage_logs::id.eq_any(old))).execute(conn)?)
}

/// Deletes up to `limit` minute buckets older than `before`, and tells how many.
pub fn delete_old_minutes(conn: &mut PgConnection, before: DateTime<Utc>, limit: i64) -> Result<usize> {
    let query = diesel::sql_query(
        "DELETE FROM usage_minutes WHERE ctid = ANY (ARRAY(SELECT ctid FROM usage_minutes WHERE minute < $1 LIMIT $2))",
    );
    Ok(query.bind::<Timestamptz, _>(before).bind::<BigInt, _>(limit).execute(conn)?)
}
