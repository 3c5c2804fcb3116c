//! `/api/usage` and `/api/keys/{id}/usage`: what keys were used for.

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

use super::api_keys::{actor, parse_id};
use crate::domain::time::Time;
use crate::domain::usage::{Bucket, GroupBy, Outcome, Span};
use crate::domain::{ApiKeyId, Error, Permission, Result};
use crate::services::usage::{self, UsageReport};
use crate::store::usage::{GroupRow, Of};
use crate::store::{Scope, Tx};
use crate::web::bearer::{Bearer, TenantAsk};
use crate::web::csv::{self, Csv};
use crate::web::json::Query;
use crate::web::problem::Answer;
use crate::web::state::State;

/// Number of groups in one answer, the busiest.
const MOST_GROUPS: i64 = 1_000;
/// Number of groups in one file.
const MOST_IN_CSV: i64 = 100_000;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Json,
    Csv,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UsageQuery {
    since: Option<Time>,
    until: Option<Time>,
    bucket: Option<Bucket>,
    group_by: Option<GroupBy>,
    #[serde(default)]
    format: Format,
}

impl UsageQuery {
    /// What to group by, and the largest number of groups.
    fn grouping(&self) -> Option<(GroupBy, i64)> {
        let most = if self.format == Format::Csv { MOST_IN_CSV } else { MOST_GROUPS };
        self.group_by.map(|by| (by, most))
    }

    fn span(&self, now: DateTime<Utc>) -> Result<Span> {
        let span = Span::parse(self.since.map(Time::utc), self.until.map(Time::utc), self.bucket, now);
        span.map_err(|(field, rejection)| Error::field(field, rejection))
    }

    /// Where CSV was asked for: the groups, or else the buckets by outcome.
    fn table(&self, report: &UsageReport, groups: Option<&[GroupRow]>) -> Option<Csv> {
        match (self.format, self.group_by, groups) {
            (Format::Json, _, _) => None,
            (Format::Csv, Some(by), Some(groups)) => Some(csv::groups(groups, by)),
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

#[derive(Debug, Serialize)]
struct BucketBody {
    at: DateTime<Utc>,
    total: i64,
    by_outcome: BTreeMap<Outcome, i64>,
}

#[derive(Debug, Serialize)]
struct EndpointBody {
    endpoint: String,
    total: i64,
}

/// Milliseconds.
#[derive(Debug, Default, Serialize)]
struct LatencyBody {
    p50: Option<f64>,
    p95: Option<f64>,
    p99: Option<f64>,
}

#[derive(Debug, Serialize)]
struct UsageBody {
    #[serde(skip_serializing_if = "Option::is_none")]
    key_id: Option<ApiKeyId>,
    since: DateTime<Utc>,
    until: DateTime<Utc>,
    bucket: Bucket,
    total: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    remaining: Option<u64>,
    buckets: Vec<BucketBody>,
    by_endpoint: Vec<EndpointBody>,
    by_status: BTreeMap<String, i64>,
    latency_ms: LatencyBody,
    /// Where a breakdown was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    groups: Option<Vec<GroupBody>>,
    /// True if there can be more groups than `groups` holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    groups_are_capped: Option<bool>,
}

#[derive(Debug, Serialize)]
struct GroupBody {
    group: String,
    label: String,
    total: i64,
    valid: i64,
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

    fn new(report: UsageReport, groups: Option<Vec<GroupRow>>) -> Self {
        let buckets = report.buckets.into_iter();
        let endpoints = report.by_endpoint.into_iter();
        let latency = report.latency.map(|it| LatencyBody { p50: Some(it.p50), p95: Some(it.p95), p99: Some(it.p99) });
        Self {
            key_id: None,
            since: report.span.since,
            until: report.span.until,
            bucket: report.span.bucket,
            total: report.total,
            remaining: None,
            buckets: buckets.map(|it| BucketBody { at: it.at, total: it.total, by_outcome: it.by_outcome }).collect(),
            by_endpoint: endpoints.map(|(endpoint, total)| EndpointBody { endpoint, total }).collect(),
            by_status: report.by_status.into_iter().collect(),
            latency_ms: latency.unwrap_or_default(),
            groups_are_capped: groups
                .as_ref()
                .map(|rows| i64::try_from(rows.len()).is_ok_and(|count| count == MOST_GROUPS)),
            groups: groups.map(|rows| rows.into_iter().map(GroupBody::from).collect()),
        }
    }
}

/// Of one key, with what remains of its limit. What this process has counted up to now is in it.
pub async fn of_key(state: Data<State>, bearer: Bearer, id: Path<String>, Query(query): Query<UsageQuery>) -> Answer {
    let (id, span) = (parse_id(&id)?, query.span(state.clock.now())?);
    let actor = actor(&bearer, id).await?;
    actor.must(Permission::ReadUsage)?;
    state.gate.flush().await;
    let scope = Scope::Tenant(actor.tenant);
    let of = Of { scope, key: Some(id) };
    let by = query.grouping();
    let read = move |tx: &mut Tx<'_>| Ok((usage::of_key(tx, &actor, id, span)?, grouped(tx, of, &span, by)?));
    let ((key, report), groups) = state.reports.read(scope, read).await?;
    if let Some(table) = query.table(&report, groups.as_deref()) {
        return Ok(table.download(&format!("usage-of-key-{id}.csv")));
    }
    let remaining = state.gate.standings(&key).await.first().map_or(0, |first| first.standing.remaining);
    Ok(HttpResponse::Ok().json(UsageBody::new(report, groups).of(id, remaining)))
}

/// Of a tenant, or of the whole instance for its token.
pub async fn index(state: Data<State>, bearer: Bearer, Query(query): Query<UsageQuery>) -> Answer {
    let span = query.span(state.clock.now())?;
    let scope = bearer.reach(&TenantAsk::default(), Permission::ReadUsage).await?;
    state.gate.flush().await;
    let (of, by) = (Of { scope, key: None }, query.grouping());
    let read = move |tx: &mut Tx<'_>| Ok((usage::of_tenant(tx, scope, span)?, grouped(tx, of, &span, by)?));
    let (report, groups) = state.reports.read(scope, read).await?;
    if let Some(table) = query.table(&report, groups.as_deref()) {
        return Ok(table.download("usage.csv"));
    }
    Ok(HttpResponse::Ok().json(UsageBody::new(report, groups)))
}

fn grouped(tx: &mut Tx<'_>, of: Of, span: &Span, grouping: Option<(GroupBy, i64)>) -> Result<Option<Vec<GroupRow>>> {
    grouping.map(|(by, most)| usage::groups(tx, of, span, by, most)).transpose()
}
