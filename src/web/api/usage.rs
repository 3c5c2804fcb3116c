//! `/api/usage` and `/api/keys/{id}/usage`: usage totals of keys.

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

use super::api_keys::{actor, parse_id};
use crate::domain::page::Capped;
use crate::domain::time::Time;
use crate::domain::usage::{Bucket, GroupBy, Outcome, Span};
use crate::domain::{ApiKeyId, Error, Permission, Result};
use crate::services::usage::{self, UsageReport};
use crate::store::usage::{GroupRow, UsageScope};
use crate::store::{Scope, Tx};
use crate::web::bearer::{Bearer, TenantAsk};
use crate::web::csv::{self, Csv};
use crate::web::json::Query;
use crate::web::problem::Answer;
use crate::web::state::State;

/// Maximum number of groups in a JSON response, the busiest first.
const MOST_GROUPS: i64 = 1_000;
/// Maximum number of groups in a CSV file.
const MOST_IN_CSV: i64 = 100_000;

/// Format of the response.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Json,
    Csv,
}

/// Time span and grouping of a report.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UsageQuery {
    /// Start of the time span.
    since: Option<Time>,
    /// End of the time span.
    until: Option<Time>,
    /// Length of a bucket: minute, hour or day.
    bucket: Option<Bucket>,
    /// Property by which calls are grouped.
    group_by: Option<GroupBy>,
    /// Format of the response.
    #[serde(default)]
    format: Format,
}

impl UsageQuery {
    /// Returns the property to group by, and the maximum number of groups.
    fn grouping(&self) -> Option<(GroupBy, i64)> {
        let most = if self.format == Format::Csv { MOST_IN_CSV } else { MOST_GROUPS };
        self.group_by.map(|by| (by, most))
    }

    fn span(&self, now: DateTime<Utc>) -> Result<Span> {
        let span = Span::parse(self.since.map(Time::utc), self.until.map(Time::utc), self.bucket, now);
        span.map_err(|(field, rejection)| Error::field(field, rejection))
    }

    /// Returns the CSV table if one was requested: the groups, or else the buckets by outcome.
    fn table(&self, report: &UsageReport, groups: Option<&Capped<GroupRow>>) -> Option<Csv> {
        match (self.format, self.group_by, groups) {
            (Format::Json, _, _) => None,
            (Format::Csv, Some(by), Some(groups)) => Some(csv::groups(&groups.rows, by)),
            (Format::Csv, _, _) => Some(buckets_csv(report)),
        }
    }
}

fn buckets_csv(report: &UsageReport) -> Csv {
    let mut csv = Csv::new(&["at", "outcome", "total"]);
    for bucket in &report.buckets {
        for (outcome, total) in &bucket.by_outcome {
            let at = bucket.at.to_rfc3339_opts(SecondsFormat::Secs, true);
            csv.row(&[at.as_str(), outcome.as_str(), &total.to_string()]);
        }
    }
    csv
}

/// Calls in one bucket of time.
#[derive(Debug, Serialize)]
struct BucketBody {
    /// Start of the bucket (UTC).
    at: DateTime<Utc>,
    /// Number of calls.
    total: i64,
    /// Number of calls per outcome.
    by_outcome: BTreeMap<Outcome, i64>,
}

/// Calls to one endpoint.
#[derive(Debug, Serialize)]
struct EndpointBody {
    /// Path of the endpoint.
    endpoint: String,
    /// Number of calls.
    total: i64,
}

/// Percentiles of latency in milliseconds.
#[derive(Debug, Default, Serialize)]
struct LatencyBody {
    p50: Option<f64>,
    p95: Option<f64>,
    p99: Option<f64>,
}

/// Usage report.
#[derive(Debug, Serialize)]
struct UsageBody {
    /// Id of the key, in the report of one key.
    #[serde(skip_serializing_if = "Option::is_none")]
    key_id: Option<ApiKeyId>,
    /// Start of the time span (UTC).
    since: DateTime<Utc>,
    /// End of the time span (UTC).
    until: DateTime<Utc>,
    /// Length of a bucket.
    bucket: Bucket,
    /// Number of calls.
    total: i64,
    /// Calls left in the key's first rate limit now, in the report of one key.
    #[serde(skip_serializing_if = "Option::is_none")]
    remaining: Option<u64>,
    /// Calls over time.
    buckets: Vec<BucketBody>,
    /// Calls per endpoint.
    by_endpoint: Vec<EndpointBody>,
    /// True if there are more endpoints than `by_endpoint` holds.
    by_endpoint_is_capped: bool,
    /// Calls per HTTP status.
    by_status: BTreeMap<String, i64>,
    /// Percentiles of latency in milliseconds.
    latency_ms: LatencyBody,
    /// True if `latency_ms` is that of the newest requests of the span only.
    latency_is_sampled: bool,
    /// Groups, if `group_by` was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    groups: Option<Vec<GroupBody>>,
    /// True if there may be more groups than `groups` holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    groups_are_capped: Option<bool>,
}

/// Calls of one group.
#[derive(Debug, Serialize)]
struct GroupBody {
    /// Value that the group's calls share.
    group: String,
    /// Name of the group for people.
    label: String,
    /// Number of calls.
    total: i64,
    /// Number of valid calls.
    valid: i64,
    /// Number of refused calls.
    refused: i64,
}

impl From<GroupRow> for GroupBody {
    fn from(row: GroupRow) -> Self {
        Self { group: row.group, label: row.label, total: row.total, valid: row.valid, refused: row.total - row.valid }
    }
}

impl UsageBody {
    fn of(self, key: ApiKeyId, remaining: u64) -> Self {
        Self { key_id: Some(key), remaining: Some(remaining), ..self }
    }

    fn new(report: UsageReport, groups: Option<Capped<GroupRow>>) -> Self {
        let buckets = report.buckets.into_iter();
        let (endpoints, by_endpoint_is_capped) = (report.by_endpoint.rows.into_iter(), report.by_endpoint.is_capped);
        let latency_is_sampled = report.latency.is_some_and(|it| it.is_sampled);
        let latency = report.latency.map(|it| LatencyBody { p50: Some(it.p50), p95: Some(it.p95), p99: Some(it.p99) });
        Self {
            key_id: None,
            since: report.span.since,
            until: report.span.until,
            bucket: report.span.bucket,
            total: report.total,
            remaining: None,
            buckets: buckets.map(|it| BucketBody { at: it.at, total: it.total, by_outcome: it.by_outcome }).collect(),
            by_endpoint: endpoints.map(|row| EndpointBody { endpoint: row.group, total: row.total }).collect(),
            by_endpoint_is_capped,
            by_status: report.by_status.into_iter().collect(),
            latency_ms: latency.unwrap_or_default(),
            latency_is_sampled,
            groups_are_capped: groups.as_ref().map(|groups| groups.is_capped),
            groups: groups.map(|groups| groups.rows.into_iter().map(GroupBody::from).collect()),
        }
    }
}

/// Reports usage of one key, with the calls left in its limit. Flushes this process's buffer first, so that calls up
/// to now are included.
pub async fn of_key(state: Data<State>, bearer: Bearer, id: Path<String>, Query(query): Query<UsageQuery>) -> Answer {
    let (id, span) = (parse_id(&id)?, query.span(state.clock.now())?);
    let actor = actor(&bearer, id).await?;
    actor.must(Permission::ReadUsage)?;
    state.gate.flush().await;
    let scope = Scope::Tenant(actor.tenant);
    let of = UsageScope { scope, key: Some(id) };
    let by = query.grouping();
    let read = move |tx: &mut Tx<'_>| Ok((usage::of_key(tx, &actor, id, span)?, grouped(tx, of, &span, by)?));
    let ((key, report), groups) = state.reports.read(scope, read).await?;
    if let Some(table) = query.table(&report, groups.as_ref()) {
        return Ok(table.download(&format!("usage-of-key-{id}.csv")));
    }
    let remaining = state.gate.standings(&key).await.first().map_or(0, |first| first.standing.remaining);
    Ok(HttpResponse::Ok().json(UsageBody::new(report, groups).of(id, remaining)))
}

/// Reports usage of a tenant, or of the whole instance for an instance token.
pub async fn index(state: Data<State>, bearer: Bearer, Query(query): Query<UsageQuery>) -> Answer {
    let span = query.span(state.clock.now())?;
    let scope = bearer.reach(&TenantAsk::default(), Permission::ReadUsage).await?;
    state.gate.flush().await;
    let (of, by) = (UsageScope { scope, key: None }, query.grouping());
    let read = move |tx: &mut Tx<'_>| Ok((usage::of_tenant(tx, scope, span)?, grouped(tx, of, &span, by)?));
    let (report, groups) = state.reports.read(scope, read).await?;
    if let Some(table) = query.table(&report, groups.as_ref()) {
        return Ok(table.download("usage.csv"));
    }
    Ok(HttpResponse::Ok().json(UsageBody::new(report, groups)))
}

fn grouped(
    tx: &mut Tx<'_>,
    of: UsageScope,
    span: &Span,
    grouping: Option<(GroupBy, i64)>,
) -> Result<Option<Capped<GroupRow>>> {
    grouping.map(|(by, most)| usage::groups(tx, of, span, by, most)).transpose()
}
