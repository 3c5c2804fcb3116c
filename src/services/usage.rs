//! What keys were used for: totals, buckets and latency.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use diesel::pg::PgConnection;

use super::api_keys;
use crate::domain::usage::{Outcome, Span};
use crate::domain::{Actor, ApiKeyId, Error, Noun, Permission, Result};
use crate::model::{ApiKey, UsageLog};
use crate::store::usage::Of;
use crate::store::{self, Scope};

const MOST_ENDPOINTS: i64 = 50;
const LATENCY_SAMPLE: i64 = 20_000;

/// Usage within a span of time.
#[derive(Debug, Clone)]
pub struct UsageReport {
    pub span: Span,
    pub total: i64,
    /// Those in which something happened, in the order of time.
    pub buckets: Vec<UsageBucket>,
    /// The busiest first.
    pub by_endpoint: Vec<(String, i64)>,
    pub by_status: Vec<(i16, i64)>,
    pub latency: Option<Latency>,
}

#[derive(Debug, Clone)]
pub struct UsageBucket {
    pub at: DateTime<Utc>,
    pub total: i64,
    pub by_outcome: BTreeMap<Outcome, i64>,
}

/// Milliseconds, of the newest requests of the span.
#[derive(Debug, Clone, Copy)]
pub struct Latency {
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
}

impl UsageReport {
    /// With a bucket for every step of the span, for charts.
    pub fn filled(&self) -> Vec<UsageBucket> {
        let step = self.span.bucket.seconds();
        let mut known = self.buckets.iter().peekable();
        let mut second = self.span.since.timestamp().div_euclid(step) * step;
        let mut filled = Vec::new();
        while second < self.span.until.timestamp() {
            let Some(at) = DateTime::from_timestamp(second, 0) else { break };
            match known.next_if(|bucket| bucket.at <= at) {
                Some(bucket) => filled.push(bucket.clone()),
                None => filled.push(UsageBucket { at, total: 0, by_outcome: BTreeMap::new() }),
            }
            second += step;
        }
        filled
    }
}

pub fn of_key(conn: &mut PgConnection, actor: &Actor, id: ApiKeyId, span: Span) -> Result<(ApiKey, UsageReport)> {
    actor.must(Permission::ReadUsage)?;
    let key = store::api_keys::find(conn, actor.tenant, id)?.ok_or(Error::NotFound(Noun::ApiKey))?;
    let report = report(conn, Of { scope: Scope::Tenant(actor.tenant), key: Some(id) }, span)?;
    Ok((key, report))
}

/// Of a tenant, or of the whole instance. Whoever calls has made sure that the scope may be read.
pub fn of_tenant(conn: &mut PgConnection, scope: Scope, span: Span) -> Result<UsageReport> {
    report(conn, Of { scope, key: None }, span)
}

/// The newest verifications of a key.
pub fn log_of_key(conn: &mut PgConnection, actor: &Actor, id: ApiKeyId, limit: i64) -> Result<Vec<UsageLog>> {
    actor.must(Permission::ReadUsage)?;
    let key = api_keys::find(conn, actor, id)?;
    store::usage::list_logs(conn, actor.tenant, key.id, limit)
}

fn report(conn: &mut PgConnection, of: Of, span: Span) -> Result<UsageReport> {
    let mut buckets: Vec<UsageBucket> = Vec::new();
    for row in store::usage::buckets(conn, of, &span)? {
        if buckets.last().is_none_or(|bucket| bucket.at != row.at) {
            buckets.push(UsageBucket { at: row.at, total: 0, by_outcome: BTreeMap::new() });
        }
        if let Some(bucket) = buckets.last_mut() {
            bucket.total += row.total;
            bucket.by_outcome.insert(row.outcome, row.total);
        }
    }
    let endpoints = store::usage::by_endpoint(conn, of, &span, MOST_ENDPOINTS)?;
    let statuses = store::usage::by_status(conn, of, &span)?;
    // What happens in this very moment belongs to the span's end.
    let span_to_now = Span { until: span.until + TimeDelta::seconds(1), ..span };
    let latency = store::usage::latency(conn, of, &span_to_now, LATENCY_SAMPLE)?;
    Ok(UsageReport {
        span,
        total: buckets.iter().map(|bucket| bucket.total).sum(),
        buckets,
        by_endpoint: endpoints.into_iter().map(|row| (row.endpoint, row.total)).collect(),
        by_status: statuses.into_iter().map(|row| (row.status, row.total)).collect(),
        latency: match (latency.p50, latency.p95, latency.p99) {
            (Some(p50), Some(p95), Some(p99)) => Some(Latency { p50, p95, p99 }),
            _ => None,
        },
    })
}
