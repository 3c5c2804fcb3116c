//! `/api/usage/records` and `POST /api/usage`: single usage records, and records reported by applications.

use std::net::IpAddr;

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::body::{idempotency, or_default};
use super::list::{List, paging, text};
use crate::domain::time::Time;
use crate::domain::usage::report::{self, RecordDraft};
use crate::domain::usage::{Outcome, RecordPlace};
use crate::domain::{ApiKeyId, Permission, TenantId};
use crate::model::UsageLog;
use crate::services::idempotency::{self, IdempotencyOutcome};
use crate::services::usage::{self, LogFilter};
use crate::store::{Scope, Tx};
use crate::web::bearer::{Bearer, TenantAsk};
use crate::web::json::{Json, Query};
use crate::web::json_object::JsonObject;
use crate::web::key_auth::{TokenOrKey, UsageWrite};
use crate::web::problem::Answer;
use crate::web::state::State;

/// Maximum size of a report in bytes: 10,000 records with long paths.
const REPORT_LIMIT: usize = 4 * 1024 * 1024;

/// Filters and page of a list of records.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IndexQuery {
    /// Number of rows per page.
    limit: Option<i64>,
    /// Cursor of the page's start, from `next_cursor`.
    cursor: Option<String>,
    /// Number of rows to skip, instead of a cursor.
    offset: Option<i64>,
    /// Id of the key.
    key_id: Option<ApiKeyId>,
    /// Outcome of the calls.
    outcome: Option<Outcome>,
    /// True: refused calls only.
    #[serde(default)]
    refused: bool,
    /// Id of the request.
    request_id: Option<String>,
    /// Start of the time span, inclusive.
    since: Option<Time>,
    /// End of the time span.
    until: Option<Time>,
}

/// Usage record as the API shows it.
#[derive(Debug, Serialize)]
struct RecordBody {
    /// Id of the request.
    request_id: String,
    /// Id of the key.
    key_id: Option<ApiKeyId>,
    /// Outcome of the call.
    outcome: Outcome,
    /// Reason of the refusal.
    reason: Option<String>,
    /// Path of the endpoint.
    endpoint: String,
    /// HTTP method.
    method: String,
    /// HTTP status.
    status: i16,
    /// Duration in milliseconds.
    duration_ms: f64,
    /// Client's IP address.
    ip: Option<String>,
    /// Time of the call (UTC).
    at: DateTime<Utc>,
}

impl From<UsageLog> for RecordBody {
    fn from(row: UsageLog) -> Self {
        let micros = u32::try_from(row.duration_us).unwrap_or(u32::MAX);
        Self {
            request_id: row.request_id,
            key_id: row.api_key_id,
            outcome: row.outcome,
            reason: row.reason,
            endpoint: row.endpoint,
            method: row.method,
            status: row.status,
            duration_ms: f64::from(micros) / 1000.0,
            ip: row.ip,
            at: row.created_at,
        }
    }
}

/// Lists usage records, newest first.
pub async fn index(state: Data<State>, bearer: Bearer, Query(query): Query<IndexQuery>) -> Answer {
    let scope = bearer.reach(&TenantAsk::default(), Permission::ReadUsage).await?;
    let paging = paging::<RecordPlace>(query.limit, query.cursor.as_deref(), query.offset)?;
    let filter = LogFilter {
        key: query.key_id,
        outcome: query.outcome,
        is_refused: query.refused,
        request: text("request_id", query.request_id)?,
        since: query.since.map(Time::utc),
        until: query.until.map(Time::utc),
    };
    state.gate.flush().await;
    let page = state.reports.read(scope, move |tx| usage::records(tx, scope, &filter, &paging)).await?;
    Ok(HttpResponse::Ok().json(List::new(page.map(RecordBody::from))))
}

/// Request body to report usage.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ReportBody {
    /// Tenant's id; an instance token needs this or `tenant`.
    tenant_id: Option<TenantId>,
    /// Tenant's slug.
    tenant: Option<String>,
    /// Records to add.
    #[serde(default, deserialize_with = "or_default")]
    records: Vec<JsonObject<ReportedBody>>,
}

/// Reported usage record.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct ReportedBody {
    /// Id of the key.
    key_id: Option<ApiKeyId>,
    /// Public id of the key, instead of `key_id`.
    key: Option<String>,
    /// Path of the endpoint.
    endpoint: Option<String>,
    /// HTTP method.
    method: Option<String>,
    /// HTTP status.
    status: Option<i64>,
    /// Outcome of the call.
    outcome: Option<String>,
    /// Duration in milliseconds.
    duration_ms: Option<f64>,
    /// Client's IP address.
    ip: Option<IpAddr>,
    /// Id of the request. Absent: that of the report.
    request_id: Option<String>,
    /// Time of the call. Absent: now.
    at: Option<Time>,
}

impl From<ReportedBody> for RecordDraft {
    fn from(body: ReportedBody) -> Self {
        Self {
            key_id: body.key_id,
            key: body.key,
            endpoint: body.endpoint,
            method: body.method,
            status: body.status,
            outcome: body.outcome,
            duration_ms: body.duration_ms,
            ip: body.ip,
            request_id: body.request_id,
            at: body.at.map(Time::utc),
        }
    }
}

/// Adds all records of a report, or none. When the response is sent, they are in the database. A report repeated with
/// the same `Idempotency-Key` adds nothing.
pub async fn create(
    state: Data<State>,
    who: TokenOrKey<UsageWrite>,
    request: HttpRequest,
    Json(body): Json<ReportBody, REPORT_LIMIT>,
) -> Answer {
    let actor = who.actor(&TenantAsk::new(body.tenant_id, body.tenant.clone())).await?;
    actor.must(Permission::WriteUsage)?;
    let once = idempotency(&request, &body)?;
    let (own, lineage) = match &who {
        TokenOrKey::Token(_) => (None, None),
        TokenOrKey::Key(keyed) => (Some(keyed.key()?.key.id), Some(keyed.key()?.key.lineage_id)),
    };
    let request_id = actor.request_id.clone().unwrap_or_default();
    let drafts = body.records.into_iter().map(|JsonObject(record)| RecordDraft::from(record)).collect();
    let reported = report::parse(actor.tenant, own, &request_id, drafts, state.clock.now())?;
    let scope = Scope::Tenant(actor.tenant);
    let records = state.api.read(scope, move |tx| usage::named(tx, actor.tenant, lineage, reported)).await?;
    let count = records.len();
    let mut answer = HttpResponse::Accepted();
    match once {
        None => state.gate.report(records).await?,
        Some((key, hash)) => {
            let tenant = actor.tenant;
            let first = move |tx: &mut Tx<'_>| {
                let done = idempotency::run_once(tx, tenant, "usage", &key, &hash, |_| Ok(count))?;
                Ok(matches!(done, IdempotencyOutcome::First(_)))
            };
            if !state.gate.report_unless(records, Box::new(first)).await? {
                answer.insert_header(("Idempotent-Replayed", "true"));
            }
        }
    }
    Ok(answer.json(json!({ "recorded": count })))
}
