//! `/api/webhook-logs`: the attempts of deliveries, to be read only.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::list::{List, paging, text};
use crate::domain::delivery::{ErrorKind, StatusClass, Timings};
use crate::domain::time::Time;
use crate::domain::{AttemptId, DeliveryId, Error, EventId, Noun, Permission, Result, WebhookId};
use crate::model::Attempt;
use crate::services::deliveries::{self, AttemptFilter, Logged};
use crate::store::Scope;
use crate::web::bearer::{Bearer, TenantAsk};
use crate::web::json::{NoParameters, Query};
use crate::web::problem::Answer;
use crate::web::state::State;

/// Characters of an answer's body that a list shows.
const SHOWN_IN_LISTS: usize = 1_000;

#[derive(Debug, Serialize)]
pub struct AttemptBody {
    id: AttemptId,
    delivery_id: DeliveryId,
    webhook_id: WebhookId,
    event: String,
    payload: Box<RawValue>,
    attempt: i64,
    url: String,
    request_headers: Option<Value>,
    response_status: Option<i16>,
    response_headers: Option<Value>,
    response_body: Option<String>,
    duration_ms: Option<i64>,
    timings: TimingsBody,
    remote_address: Option<String>,
    success: bool,
    error_kind: Option<ErrorKind>,
    error: Option<String>,
    created_at: DateTime<Utc>,
    /// The bytes that were sent, as text; not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_body: Option<String>,
}

/// Milliseconds; null for a phase that there was none of.
#[derive(Debug, Serialize)]
struct TimingsBody {
    dns_ms: Option<f64>,
    connect_ms: Option<f64>,
    first_byte_ms: Option<f64>,
    total_ms: Option<i64>,
}

impl TimingsBody {
    fn of(row: &Attempt) -> Self {
        let millis = |us: Option<i32>| us.map(|us| f64::from(us) / 1_000.0);
        let Timings { dns_us, connect_us, first_byte_us } = row.timings();
        Self {
            dns_ms: millis(dns_us),
            connect_ms: millis(connect_us),
            first_byte_ms: millis(first_byte_us),
            total_ms: row.duration_ms,
        }
    }
}

impl AttemptBody {
    /// With all that was kept of the answer's body, and what was sent.
    pub fn whole(row: Attempt, payload: String, request_body: Option<String>) -> Result<Self> {
        Ok(Self {
            timings: TimingsBody::of(&row),
            request_body,
            remote_address: row.remote_address,
            id: row.id,
            delivery_id: row.delivery_id,
            webhook_id: row.webhook_id,
            event: row.event_type,
            payload: RawValue::from_string(payload).map_err(Error::bug)?,
            attempt: row.number,
            url: row.request_url,
            request_headers: row.request_headers,
            response_status: row.response_status,
            response_headers: row.response_headers,
            response_body: row.response_body,
            duration_ms: row.duration_ms,
            success: row.success,
            error_kind: row.error_kind,
            error: row.error,
            created_at: row.created_at,
        })
    }

    fn in_a_list((row, payload): Logged) -> Result<Self> {
        let mut body = Self::whole(row, payload, None)?;
        body.response_body = body.response_body.map(|text| text.chars().take(SHOWN_IN_LISTS).collect());
        Ok(body)
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IndexQuery {
    limit: Option<i64>,
    cursor: Option<String>,
    offset: Option<i64>,
    webhook_id: Option<WebhookId>,
    delivery_id: Option<DeliveryId>,
    event_id: Option<EventId>,
    #[serde(rename = "type", alias = "event")]
    kind: Option<String>,
    success: Option<bool>,
    status: Option<StatusClass>,
    since: Option<Time>,
    until: Option<Time>,
}

pub async fn index(state: Data<State>, bearer: Bearer, Query(query): Query<IndexQuery>) -> Answer {
    let scope = bearer.reach(&TenantAsk::default(), Permission::ReadEvents).await?;
    let paging = paging(query.limit, query.cursor.as_deref(), query.offset)?;
    let filter = AttemptFilter {
        webhook: query.webhook_id,
        delivery: query.delivery_id,
        event: query.event_id,
        kind: text("type", query.kind)?,
        success: query.success,
        status: query.status,
        since: query.since.map(Time::utc),
        until: query.until.map(Time::utc),
        skew: state.clock.offset(),
    };
    let page = state.api.read(scope, move |tx| deliveries::attempts(tx, scope, &filter, &paging)).await?;
    let cursor = page.older;
    let data = page.rows.into_iter().map(AttemptBody::in_a_list).collect::<Result<Vec<_>>>()?;
    Ok(HttpResponse::Ok().json(List { data, next_cursor: cursor.map(crate::domain::page::cursor), total: None }))
}

pub async fn show(state: Data<State>, bearer: Bearer, id: Path<String>, _: NoParameters) -> Answer {
    let id: AttemptId = id.parse().map_err(|_| Error::NotFound(Noun::Attempt))?;
    let actor = bearer.actor_for(Noun::Attempt, move |tx| deliveries::tenant_of_attempt(tx, id)).await?;
    let scope = Scope::Tenant(actor.tenant);
    let found = state.api.read(scope, move |tx| deliveries::find_attempt(tx, &actor, id)).await?;
    let body = AttemptBody::whole(found.attempt, found.event.payload, found.request_body)?;
    Ok(HttpResponse::Ok().json(body))
}
