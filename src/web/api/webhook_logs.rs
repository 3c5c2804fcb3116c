//! `/api/webhook-logs`: attempts of deliveries, read only.

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

/// Maximum number of characters of a response body in a list.
const SHOWN_IN_LISTS: usize = 1_000;

/// Attempt of a delivery.
#[derive(Debug, Serialize)]
pub struct AttemptBody {
    /// Id of the attempt.
    id: AttemptId,
    /// Id of the delivery.
    delivery_id: DeliveryId,
    /// Id of the webhook.
    webhook_id: WebhookId,
    /// Type of the event.
    event: String,
    /// Payload of the event, exactly as it was published.
    payload: Box<RawValue>,
    /// Number of the attempt, from 1.
    attempt: i64,
    /// URL that the request went to.
    url: String,
    /// Headers of the request.
    request_headers: Option<Value>,
    /// HTTP status of the response, or `null` if none came.
    response_status: Option<i16>,
    /// Headers of the response.
    response_headers: Option<Value>,
    /// Body of the response, as far as it was stored.
    response_body: Option<String>,
    /// Duration in milliseconds.
    duration_ms: Option<i64>,
    /// Duration of each phase.
    timings: TimingsBody,
    /// Address that the request was sent to.
    remote_address: Option<String>,
    /// True if the delivery succeeded.
    success: bool,
    /// Kind of failure.
    error_kind: Option<ErrorKind>,
    /// Description of the failure.
    error: Option<String>,
    /// When the attempt was made (UTC).
    created_at: DateTime<Utc>,
    /// Body of the request as text. Absent in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_body: Option<String>,
}

/// Times in milliseconds. `null` for a phase that did not take place.
#[derive(Debug, Serialize)]
struct TimingsBody {
    /// Time for name resolution.
    dns_ms: Option<f64>,
    /// Time to connect.
    connect_ms: Option<f64>,
    /// Time to the first byte of the response.
    first_byte_ms: Option<f64>,
    /// Duration of the whole attempt.
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
    /// Returns an attempt with the stored response body and the request body.
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

/// Filters and page of a list of attempts.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IndexQuery {
    /// Number of rows per page.
    limit: Option<i64>,
    /// Cursor of the page's start, from `next_cursor`.
    cursor: Option<String>,
    /// Number of rows to skip, instead of a cursor.
    offset: Option<i64>,
    /// Id of the webhook.
    webhook_id: Option<WebhookId>,
    /// Id of the delivery.
    delivery_id: Option<DeliveryId>,
    /// Id of the event.
    event_id: Option<EventId>,
    /// Type of the event.
    #[serde(rename = "type", alias = "event")]
    kind: Option<String>,
    /// True: successful attempts only. False: failed attempts only.
    success: Option<bool>,
    /// Class of the HTTP status, such as `5xx`.
    status: Option<StatusClass>,
    /// Start of the time span, inclusive.
    since: Option<Time>,
    /// End of the time span.
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
