//! `/api/usage` and `/api/keys/{id}/usage`: what keys were used for.

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::api_keys::{actor, parse_id};
use crate::domain::usage::{Bucket, Outcome, Span};
use crate::domain::{ApiKeyId, Error, Permission, Result, TenantId};
use crate::services::usage::{self, UsageReport};
use crate::store::Scope;
use crate::web::bearer::{Bearer, TenantAsk};
use crate::web::json::Query;
use crate::web::problem::Answer;
use crate::web::state::State;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UsageQuery {
    since: Option<DateTime<Utc>>,
    until: Option<DateTime<Utc>>,
    bucket: Option<Bucket>,
    tenant_id: Option<TenantId>,
    tenant: Option<String>,
}

impl UsageQuery {
    fn span(&self, now: DateTime<Utc>) -> Result<Span> {
        let span = Span::parse(self.since, self.until, self.bucket, now);
        span.map_err(|(field, rejection)| Error::field(field, rejection))
    }
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
    by_status: BTreeMap<i16, i64>,
    latency_ms: LatencyBody,
}

impl From<UsageReport> for UsageBody {
    fn from(report: UsageReport) -> Self {
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
    let (key, report) = state.api.read(scope, move |conn| usage::of_key(conn, &actor, id, span)).await?;
    let remaining = state.gate.standing(&key).remaining;
    Ok(HttpResponse::Ok().json(UsageBody { key_id: Some(id), remaining: Some(remaining), ..report.into() }))
}

/// Of a tenant, or of the whole instance for its token.
pub async fn index(state: Data<State>, bearer: Bearer, Query(query): Query<UsageQuery>) -> Answer {
    let span = query.span(state.clock.now())?;
    let scope = bearer.reach(&TenantAsk::new(query.tenant_id, query.tenant), Permission::ReadUsage).await?;
    state.gate.flush().await;
    let report = state.api.read(scope, move |conn| usage::of_tenant(conn, scope, span)).await?;
    Ok(HttpResponse::Ok().json(UsageBody::from(report)))
}
