//! Usage queries: totals in buckets and groups, and percentiles of latency.
//!
//! Totals of a span are summed from whole hours, and from minutes at its ends that are no whole hour.

pub mod write;

use chrono::{DateTime, TimeDelta, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::BoxedSqlQuery;
use diesel::sql_types::{BigInt, Bool, Double, Nullable, Text, Timestamptz};

use self::write::{ALL_KEYS, Width};
use super::Scope;
use crate::domain::usage::{Bucket, GroupBy, Outcome, Span, floor_to};
use crate::domain::{ApiKeyId, LineageId, Result, TenantId};
use crate::schema::{api_keys, usage_minutes};

/// Longest span whose latency is read from single records. Longer spans use the histogram of whole hours.
const FEW_HOURS: TimeDelta = TimeDelta::hours(3);

/// Returns what a lineage of keys has taken from its limit since a time, by minute.
pub fn cost_by_minute(
    conn: &mut PgConnection,
    tenant: TenantId,
    lineage: LineageId,
    since: DateTime<Utc>,
) -> Result<Vec<(DateTime<Utc>, i64)>> {
    let keys = api_keys::table.filter(api_keys::tenant_id.eq(tenant)).filter(api_keys::lineage_id.eq(lineage));
    cost_of(conn, tenant, keys.select(api_keys::id).into_boxed(), since)
}

/// Returns what all keys of an owner have taken from their limits since a time, by minute.
pub fn cost_of_owner(
    conn: &mut PgConnection,
    tenant: TenantId,
    owner: &str,
    since: DateTime<Utc>,
) -> Result<Vec<(DateTime<Utc>, i64)>> {
    let keys = api_keys::table.filter(api_keys::tenant_id.eq(tenant)).filter(api_keys::owner.eq(owner));
    cost_of(conn, tenant, keys.select(api_keys::id).into_boxed(), since)
}

/// Returns what these keys have taken from their limits since a time, by minute.
fn cost_of(
    conn: &mut PgConnection,
    tenant: TenantId,
    keys: api_keys::BoxedQuery<'_, Pg, BigInt>,
    since: DateTime<Utc>,
) -> Result<Vec<(DateTime<Utc>, i64)>> {
    let used = usage_minutes::table
        .filter(usage_minutes::tenant_id.eq(tenant))
        .filter(usage_minutes::api_key_id.eq_any(keys))
        .filter(usage_minutes::minute.ge(since))
        .filter(usage_minutes::cost.gt(0))
        .order(usage_minutes::minute)
        .select((usage_minutes::minute, usage_minutes::cost));
    Ok(used.load(conn)?)
}

/// Owner of the usage: a tenant or the instance, and one key or all.
#[derive(Debug, Clone, Copy)]
pub struct UsageScope {
    /// One tenant, or all of the instance.
    pub scope: Scope,
    /// One key, or all keys if `None`.
    pub key: Option<ApiKeyId>,
}

impl UsageScope {
    fn tenant(self) -> Option<TenantId> {
        match self.scope {
            Scope::Tenant(tenant) => Some(tenant),
            Scope::Instance => None,
        }
    }
}

type Query = BoxedSqlQuery<'static, Pg, diesel::query_builder::SqlQuery>;

/// Builds `SELECT` … `FROM totals` …, where `totals` holds the rows of a span. They use the first six parameters.
fn totals(select: &str, rest: &str, of: UsageScope, span: &Span, (is_each_key, is_fine): (bool, bool)) -> Query {
    let parts = span.parts(is_fine);
    let keys = if is_each_key { "api_key_id <> 0" } else { "api_key_id = $2" };
    let part = |width: Width, range: &str| {
        let (table, at) = (width.table(), width.column());
        // `range` names the time as `at`; each table has its own column for it.
        let range = range.replace("at", at);
        format!(
            "SELECT tenant_id, api_key_id, {at} AS at, endpoint, outcome, status, total FROM {table}
             WHERE ($1 IS NULL OR tenant_id = $1) AND {keys} AND {range}"
        )
    };
    let query = diesel::sql_query(format!(
        "WITH totals AS (({}) UNION ALL ({}) UNION ALL ({})) {select} FROM totals {rest}",
        part(Width::Minute, "at >= $3 AND at < $4"),
        part(Width::Hour, "at >= $4 AND at < $5"),
        part(Width::Minute, "at >= $5 AND at < $6"),
    ));
    query
        .into_boxed()
        .bind::<Nullable<BigInt>, _>(of.tenant())
        .bind::<BigInt, _>(of.key.unwrap_or(ALL_KEYS))
        .bind::<Timestamptz, _>(parts.since)
        .bind::<Timestamptz, _>(parts.hours_from)
        .bind::<Timestamptz, _>(parts.hours_to)
        .bind::<Timestamptz, _>(parts.until)
}

/// Total of one bucket and outcome.
#[derive(Debug, QueryableByName)]
pub struct BucketRow {
    /// Start of the bucket (UTC).
    #[diesel(sql_type = Timestamptz)]
    pub at: DateTime<Utc>,
    /// Outcome of the verifications.
    #[diesel(sql_type = Text)]
    pub outcome: Outcome,
    /// Number of verifications.
    #[diesel(sql_type = BigInt)]
    pub total: i64,
}

/// Returns totals by bucket and outcome, ordered by time.
pub fn buckets(conn: &mut PgConnection, of: UsageScope, span: &Span) -> Result<Vec<BucketRow>> {
    let select = "SELECT date_bin(make_interval(secs => $7), at, TIMESTAMPTZ '2000-01-01 00:00:00+00') AS at, outcome,
                         sum(total)::bigint AS total";
    let query = totals(select, "GROUP BY 1, 2 ORDER BY 1, 2", of, span, (false, span.bucket == Bucket::Minute));
    Ok(query.bind::<BigInt, _>(span.bucket.seconds()).load(conn)?)
}

/// Usage of one group: of a key, an owner, an endpoint …
#[derive(Debug, Clone, QueryableByName)]
pub struct GroupRow {
    /// Group as text: a key's id, an outcome, a class such as `4xx`; empty for keys without an owner.
    #[diesel(sql_type = Text)]
    pub group: String,
    /// Display name: the key's name; equal to `group` for other groupings.
    #[diesel(sql_type = Text)]
    pub label: String,
    /// Number of verifications.
    #[diesel(sql_type = BigInt)]
    pub total: i64,
    /// Number of verifications with the outcome `VALID`.
    #[diesel(sql_type = BigInt)]
    pub valid: i64,
}

/// Returns the busiest groups, at most `limit`. Deleted keys count too.
pub fn groups(conn: &mut PgConnection, of: UsageScope, span: &Span, by: GroupBy, limit: i64) -> Result<Vec<GroupRow>> {
    let plain = |expression: &str| {
        let select = format!(
            "SELECT {expression} AS \"group\", {expression} AS label, sum(total)::bigint AS total,
                    (coalesce(sum(total) FILTER (WHERE outcome = 'VALID'), 0))::bigint AS valid"
        );
        totals(&select, "GROUP BY 1 ORDER BY 3 DESC, 1 LIMIT $7", of, span, (false, false))
    };
    let query = match by {
        GroupBy::Endpoint => plain("endpoint"),
        GroupBy::Outcome => plain("outcome"),
        GroupBy::Status => plain("status::text"),
        GroupBy::StatusClass => plain("(status / 100)::text || 'xx'"),
        GroupBy::Key => by_key("s.api_key_id::text", "coalesce(k.name, 'deleted key ' || s.api_key_id)", of, span),
        GroupBy::Owner => by_key("coalesce(k.owner, '')", "coalesce(k.owner, '')", of, span),
    };
    Ok(query.bind::<BigInt, _>(limit).load(conn)?)
}

/// Sums up by key first, then looks up the keys. The rows of some keys are gone.
fn by_key(group: &str, label: &str, of: UsageScope, span: &Span) -> Query {
    let select = format!(
        "SELECT {group} AS \"group\", {label} AS label, sum(s.total)::bigint AS total, sum(s.valid)::bigint AS valid
         FROM (SELECT api_key_id, sum(total) AS total, coalesce(sum(total) FILTER (WHERE outcome = 'VALID'), 0) AS valid"
    );
    let rest = "GROUP BY 1) AS s LEFT JOIN api_keys k ON k.id = s.api_key_id GROUP BY 1, 2 ORDER BY 3 DESC, 1 LIMIT $7";
    totals(&select, rest, of, span, (of.key.is_none(), false))
}

/// Percentiles of latency, in milliseconds.
#[derive(Debug, Clone, Copy, QueryableByName)]
pub struct LatencyRow {
    /// True if the span has more records than were measured.
    #[diesel(sql_type = Bool)]
    pub is_sampled: bool,
    /// Median in milliseconds.
    #[diesel(sql_type = Nullable<Double>)]
    pub p50: Option<f64>,
    /// 95th percentile in milliseconds.
    #[diesel(sql_type = Nullable<Double>)]
    pub p95: Option<f64>,
    /// 99th percentile in milliseconds.
    #[diesel(sql_type = Nullable<Double>)]
    pub p99: Option<f64>,
}

/// Returns the percentiles of a span. A short span uses its newest `sample` records. A longer one uses the histogram
/// of the hours that it touches, which is exact to one step: half an octave.
pub fn latency(conn: &mut PgConnection, of: UsageScope, span: &Span, sample: i64) -> Result<LatencyRow> {
    if span.until - span.since <= FEW_HOURS { sampled(conn, of, span, sample) } else { estimated(conn, of, span) }
}

/// Computes percentiles from the newest records.
fn sampled(conn: &mut PgConnection, of: UsageScope, span: &Span, sample: i64) -> Result<LatencyRow> {
    let row = diesel::sql_query(
        "SELECT count(*) FILTER (WHERE is_measured) < count(*) AS is_sampled,
                percentile_cont(0.50) WITHIN GROUP (ORDER BY duration_us) FILTER (WHERE is_measured) / 1000.0 AS p50,
                percentile_cont(0.95) WITHIN GROUP (ORDER BY duration_us) FILTER (WHERE is_measured) / 1000.0 AS p95,
                percentile_cont(0.99) WITHIN GROUP (ORDER BY duration_us) FILTER (WHERE is_measured) / 1000.0 AS p99
         FROM (SELECT duration_us, row_number() OVER (ORDER BY created_at DESC) <= $5 AS is_measured FROM usage_logs
               WHERE ($1 IS NULL OR tenant_id = $1) AND ($2 IS NULL OR api_key_id = $2)
                 AND created_at >= $3 AND created_at < $4
               ORDER BY created_at DESC LIMIT $5 + 1) AS newest",
    )
    .bind::<Nullable<BigInt>, _>(of.tenant())
    .bind::<Nullable<BigInt>, _>(of.key)
    .bind::<Timestamptz, _>(span.since)
    .bind::<Timestamptz, _>(span.until)
    .bind::<BigInt, _>(sample);
    Ok(row.get_result(conn)?)
}

/// Estimates percentiles from the histogram, interpolating within the step that contains each.
fn estimated(conn: &mut PgConnection, of: UsageScope, span: &Span) -> Result<LatencyRow> {
    // Two steps of the histogram make an octave: step `n` begins at 2^(n/2) microseconds.
    let at = |share: &str| {
        format!(
            "(SELECT power(2, (step + ({share} * whole - (upto - n)) / n) / 2) / 1000 FROM steps
              WHERE upto >= {share} * whole ORDER BY step LIMIT 1)::float8"
        )
    };
    let row = diesel::sql_query(format!(
        "WITH sums AS (
             SELECT step, sum(total) AS n FROM usage_latencies
             WHERE ($1 IS NULL OR tenant_id = $1) AND api_key_id = $2 AND hour >= $3 AND hour < $4 GROUP BY step
         ), steps AS (SELECT step, n, sum(n) OVER (ORDER BY step) AS upto, sum(n) OVER () AS whole FROM sums)
         SELECT false AS is_sampled, {} AS p50, {} AS p95, {} AS p99",
        at("0.50"),
        at("0.95"),
        at("0.99"),
    ))
    .bind::<Nullable<BigInt>, _>(of.tenant())
    .bind::<BigInt, _>(of.key.unwrap_or(ALL_KEYS))
    .bind::<Timestamptz, _>(floor_to(span.since, 3600))
    .bind::<Timestamptz, _>(span.until);
    Ok(row.get_result(conn)?)
}
