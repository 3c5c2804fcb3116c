//! Usage of keys: totals, buckets, groups, latency and single records.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use diesel::pg::PgConnection;

use crate::domain::page::{Capped, Page, PageSize, Paging};
use crate::domain::usage::report::{KeyName, Reported};
use crate::domain::usage::{GroupBy, Outcome, RecordPlace, Span, UsageRecord};
use crate::domain::{Actor, ApiKeyId, Error, FieldErrors, LineageId, Noun, Permission, Rejection, Result, TenantId};
use crate::model::{ApiKey, UsageLog};
use crate::store::usage::{GroupRow, UsageScope};
pub use crate::store::usage_logs::LogFilter;
use crate::store::{self, Scope};

const MOST_ENDPOINTS: i64 = 50;
/// All statuses of HTTP.
const MOST_STATUSES: i64 = 500;
/// Records of a short span that its percentiles are taken from.
pub const LATENCY_SAMPLE: i64 = 10_000;

/// Usage within a time span.
#[derive(Debug, Clone)]
pub struct UsageReport {
    pub span: Span,
    pub total: i64,
    /// Buckets with any usage, oldest first.
    pub buckets: Vec<UsageBucket>,
    /// Request counts by endpoint, busiest first.
    pub by_endpoint: Capped<GroupRow>,
    /// Request counts by HTTP status, busiest first.
    pub by_status: Vec<(String, i64)>,
    pub latency: Option<Latency>,
}

#[derive(Debug, Clone)]
pub struct UsageBucket {
    /// Start of the bucket (UTC).
    pub at: DateTime<Utc>,
    pub total: i64,
    pub by_outcome: BTreeMap<Outcome, i64>,
}

/// Percentiles in milliseconds. Short spans use the newest requests, longer spans an estimate.
#[derive(Debug, Clone, Copy)]
pub struct Latency {
    /// True if the span has more than [`LATENCY_SAMPLE`] records: its newest were measured.
    pub is_sampled: bool,
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
}

pub fn of_key(conn: &mut PgConnection, actor: &Actor, id: ApiKeyId, span: Span) -> Result<(ApiKey, UsageReport)> {
    actor.must(Permission::ReadUsage)?;
    let key = store::api_keys::find(conn, actor.tenant, id)?.ok_or(Error::NotFound(Noun::ApiKey))?;
    let report = report(conn, UsageScope { scope: Scope::Tenant(actor.tenant), key: Some(id) }, span)?;
    Ok((key, report))
}

/// Reports the usage of a tenant or of the whole instance. The caller has checked that the actor may read the scope.
pub fn of_tenant(conn: &mut PgConnection, scope: Scope, span: Span) -> Result<UsageReport> {
    report(conn, UsageScope { scope, key: None }, span)
}

/// Returns only the buckets of a time span.
pub fn buckets(conn: &mut PgConnection, scope: Scope, span: &Span) -> Result<Vec<UsageBucket>> {
    bucketed(conn, UsageScope { scope, key: None }, span)
}

/// Groups usage by the given property, busiest group first.
pub fn groups(
    conn: &mut PgConnection,
    of: UsageScope,
    span: &Span,
    by: GroupBy,
    limit: i64,
) -> Result<Capped<GroupRow>> {
    Ok(Capped::cut(store::usage::groups(conn, of, span, by, limit.saturating_add(1))?, limit))
}

pub fn latency(conn: &mut PgConnection, of: UsageScope, span: &Span) -> Result<Option<Latency>> {
    // Include requests of the current second, at the span's end.
    let to_now = Span { until: span.until + TimeDelta::seconds(1), ..*span };
    let row = store::usage::latency(conn, of, &to_now, LATENCY_SAMPLE)?;
    Ok(match (row.p50, row.p95, row.p99) {
        (Some(p50), Some(p95), Some(p99)) => Some(Latency { is_sampled: row.is_sampled, p50, p95, p99 }),
        _ => None,
    })
}

/// Returns one page of single records, newest first. The caller has checked that the actor may read the scope.
pub fn records(
    conn: &mut PgConnection,
    scope: Scope,
    filter: &LogFilter,
    paging: &Paging<RecordPlace>,
) -> Result<Page<UsageLog, RecordPlace>> {
    let rows = store::usage_logs::list(conn, scope, filter, paging)?;
    Ok(Page::cut(rows, paging, |row| RecordPlace { at: row.created_at, id: row.id }))
}

/// Returns the newest records of a key. The caller has checked that the key belongs to the actor's tenant.
pub fn latest(conn: &mut PgConnection, actor: &Actor, key: ApiKeyId, count: i64) -> Result<Vec<UsageLog>> {
    actor.must(Permission::ReadUsage)?;
    let filter = LogFilter { key: Some(key), ..LogFilter::default() };
    let few = Paging { size: PageSize::new(count).unwrap_or_default(), ..Paging::default() };
    Ok(records(conn, Scope::Tenant(actor.tenant), &filter, &few)?.rows)
}

/// Resolves the keys of reported records to their ids. Keys must belong to the tenant, or, if a key reports, to its
/// `lineage`.
///
/// # Errors
/// `Invalid`, naming the records whose key does not qualify.
pub fn named(
    conn: &mut PgConnection,
    tenant: TenantId,
    lineage: Option<LineageId>,
    reported: Vec<Reported>,
) -> Result<Vec<UsageRecord>> {
    let names: HashSet<&KeyName> = reported.iter().map(|one| &one.key).collect();
    let (mut ids, mut publics) = (Vec::new(), Vec::new());
    for name in names {
        match name {
            KeyName::Id(id) => ids.push(*id),
            KeyName::Public(public) => publics.push(public.clone()),
        }
    }
    let mut known = HashMap::new();
    for (id, public) in store::api_keys::list_ids(conn, tenant, lineage, &ids, &publics)? {
        known.insert(KeyName::Id(id), id);
        known.insert(KeyName::Public(public), id);
    }
    let mut errors = FieldErrors::default();
    let says = match lineage {
        Some(_) => "is neither the reporting key nor related to it by rotation",
        None => "is not a key of this tenant",
    };
    for (index, one) in reported.iter().enumerate().filter(|(_, one)| !known.contains_key(&one.key)).take(20) {
        let field = if matches!(one.key, KeyName::Id(_)) { "key_id" } else { "key" };
        errors.add(format!("records[{index}].{field}"), Rejection::new("not_found", says));
    }
    if !errors.is_empty() {
        return Err(errors.into());
    }
    Ok(reported
        .into_iter()
        .filter_map(|one| known.get(&one.key).map(|id| (*id, one)))
        .map(|(id, one)| one.by(id))
        .collect())
}

fn report(conn: &mut PgConnection, of: UsageScope, span: Span) -> Result<UsageReport> {
    let buckets = bucketed(conn, of, &span)?;
    let statuses = store::usage::groups(conn, of, &span, GroupBy::Status, MOST_STATUSES)?;
    Ok(UsageReport {
        span,
        total: buckets.iter().map(|bucket| bucket.total).sum(),
        buckets,
        by_endpoint: groups(conn, of, &span, GroupBy::Endpoint, MOST_ENDPOINTS)?,
        by_status: statuses.into_iter().map(|row| (row.group, row.total)).collect(),
        latency: latency(conn, of, &span)?,
    })
}

fn bucketed(conn: &mut PgConnection, of: UsageScope, span: &Span) -> Result<Vec<UsageBucket>> {
    let mut buckets: Vec<UsageBucket> = Vec::new();
    for row in store::usage::buckets(conn, of, span)? {
        if buckets.last().is_none_or(|bucket| bucket.at != row.at) {
            buckets.push(UsageBucket { at: row.at, total: 0, by_outcome: BTreeMap::new() });
        }
        if let Some(bucket) = buckets.last_mut() {
            bucket.total += row.total;
            bucket.by_outcome.insert(row.outcome, row.total);
        }
    }
    Ok(buckets)
}
