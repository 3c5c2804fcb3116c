//! `/api/events`: publishing and listing events.

use actix_web::http::header::LOCATION;
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use super::body::{Keyed, idempotency, idempotency_key, named, named_payload, raw};
use super::deliveries::DeliveryBody;
use super::list::{List, paging, text};
use crate::domain::time::Time;
use crate::domain::{Actor, Error, EventId, FieldErrors, Noun, Permission, Rejection, Result, TenantId};
use crate::model::Event;
use crate::services::events::{self, EventDetail, EventFilter, NewEvent, Published};
use crate::services::idempotency::IdempotencyOutcome;
use crate::store::{Scope, Tx};
use crate::web::bearer::{Bearer, TenantAsk};
use crate::web::json::{Json, LARGE_BODY_LIMIT, NoParameters, Query};
use crate::web::json_object::JsonObject;
use crate::web::key_auth::{EventsRead, EventsWrite, TokenOrKey};
use crate::web::problem::Answer;
use crate::web::state::State;

/// Maximum number of events in a batch.
const MOST_AT_ONCE: usize = 1_000;

/// Event as the API shows it. The payload is the exact published text.
#[derive(Debug, Serialize)]
pub struct EventBody {
    /// Id of the event.
    id: EventId,
    /// Id of the tenant.
    tenant_id: TenantId,
    /// Type of the event, such as `order.created`.
    #[serde(rename = "type")]
    kind: String,
    /// Payload, exactly as it was published.
    data: Box<RawValue>,
    /// When the event was published (UTC).
    created_at: DateTime<Utc>,
    /// Deliveries of the event, only for a single event.
    #[serde(skip_serializing_if = "Option::is_none")]
    deliveries: Option<Vec<DeliveryBody>>,
    /// True if the event has more deliveries than `deliveries` holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    deliveries_are_capped: Option<bool>,
}

impl EventBody {
    pub fn new(row: Event) -> Result<Self> {
        Ok(Self {
            id: row.id,
            tenant_id: row.tenant_id,
            kind: row.kind,
            data: RawValue::from_string(row.payload).map_err(Error::bug)?,
            created_at: row.created_at,
            deliveries: None,
            deliveries_are_capped: None,
        })
    }

    fn with_deliveries(detail: EventDetail) -> Result<Self> {
        let deliveries_are_capped = Some(detail.deliveries.is_capped);
        let deliveries = detail.deliveries.rows.into_iter().map(DeliveryBody::from).collect();
        Ok(Self { deliveries: Some(deliveries), deliveries_are_capped, ..Self::new(detail.event)? })
    }
}

/// Filters and page of a list of events.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IndexQuery {
    /// Number of rows per page.
    limit: Option<i64>,
    /// Cursor of the page's start, from `next_cursor`.
    cursor: Option<String>,
    /// Number of rows to skip, instead of a cursor.
    offset: Option<i64>,
    /// Type of the events.
    #[serde(rename = "type", alias = "event")]
    kind: Option<String>,
    /// Start of the time span, inclusive.
    since: Option<Time>,
    /// End of the time span.
    until: Option<Time>,
}

pub async fn index(state: Data<State>, who: TokenOrKey<EventsRead>, Query(query): Query<IndexQuery>) -> Answer {
    let scope = who.reach(&TenantAsk::default(), Permission::ReadEvents).await?;
    let paging = paging(query.limit, query.cursor.as_deref(), query.offset)?;
    let kind = text("type", query.kind)?;
    let filter =
        EventFilter { kind, api_key: None, since: query.since.map(Time::utc), until: query.until.map(Time::utc) };
    let page = state.api.read(scope, move |tx| events::list(tx, scope, &filter, &paging)).await?;
    let cursor = page.older;
    let data = page.rows.into_iter().map(EventBody::new).collect::<Result<Vec<_>>>()?;
    Ok(HttpResponse::Ok().json(List { data, next_cursor: cursor.map(crate::domain::page::cursor), total: None }))
}

pub async fn show(state: Data<State>, who: TokenOrKey<EventsRead>, id: Path<String>, _: NoParameters) -> Answer {
    let id: EventId = id.parse().map_err(|_| Error::NotFound(Noun::Event))?;
    let actor = match &who {
        TokenOrKey::Token(bearer) => event_actor(bearer, id).await?,
        TokenOrKey::Key(keyed) => keyed.actor.clone(),
    };
    let scope = Scope::Tenant(actor.tenant);
    let detail = state.api.read(scope, move |tx| events::find(tx, &actor, id)).await?;
    Ok(HttpResponse::Ok().json(EventBody::with_deliveries(detail)?))
}

async fn event_actor(bearer: &Bearer, id: EventId) -> Result<Actor> {
    bearer.actor_for(Noun::Event, move |tx| events::tenant_of(tx, id)).await
}

/// Request body to publish an event.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishBody {
    /// Tenant's id; an instance token needs this or `tenant`.
    tenant_id: Option<TenantId>,
    /// Tenant's slug.
    tenant: Option<String>,
    /// Type of the event. Required.
    #[serde(rename = "type")]
    kind: Option<String>,
    /// Type of the event under another name.
    event: Option<String>,
    /// Payload: any JSON value.
    #[serde(default, deserialize_with = "raw")]
    data: Option<Box<RawValue>>,
    /// Payload under another name.
    #[serde(default, deserialize_with = "raw")]
    payload: Option<Box<RawValue>>,
    /// Idempotency key, alternatively to the header.
    idempotency_key: Option<String>,
}

/// Publishes an event. When the response is sent, the event and its deliveries are in the database.
pub async fn create(
    state: Data<State>,
    who: TokenOrKey<EventsWrite>,
    request: HttpRequest,
    Json(body): Json<PublishBody, LARGE_BODY_LIMIT>,
) -> Answer {
    let actor = who.actor(&TenantAsk::new(body.tenant_id, body.tenant)).await?;
    let (kind, data) = kind_and_data([body.kind, body.event], [body.data, body.payload])?;
    let data = data.as_deref().map(RawValue::get);
    let mut ask = NewEvent::parse(kind.as_deref(), data, body.idempotency_key.as_deref())?;
    if let Some(header) = idempotency_key(&request)?
        && ask.idempotency_key.replace(header.clone()).is_some_and(|key| key != header)
    {
        let says = "must equal the Idempotency-Key header if both are given";
        return Err(Error::field("idempotency_key", Rejection::new("conflict", says)).into());
    }
    let published = publish(&state, actor, ask).await?;
    let mut answer = HttpResponse::Accepted();
    answer.insert_header((LOCATION, format!("/api/events/{}", published.id)));
    if published.is_replay {
        answer.insert_header(("Idempotent-Replayed", "true"));
    }
    Ok(answer.json(published))
}

/// Returns the type and the payload of an event, each of which has two names.
fn kind_and_data(
    kinds: [Option<String>; 2],
    payloads: [Option<Box<RawValue>>; 2],
) -> Result<(Option<String>, Option<Box<RawValue>>)> {
    let mut errors = FieldErrors::default();
    let kind = errors.take("type", named(kinds)).flatten();
    let data = errors.take("data", named_payload(payloads)).flatten();
    errors.refuse()?;
    Ok((kind, data))
}

/// Publishes an event. Without an idempotency key it joins the current group commit; with one, a transaction of its
/// own checks for an earlier publication.
async fn publish(state: &State, actor: Actor, ask: NewEvent) -> Result<Published> {
    if ask.idempotency_key.is_none() {
        let published = state.outbox.publish(actor, vec![ask]).await?;
        return published.into_iter().next().ok_or_else(|| Error::bug("an event was lost on its way"));
    }
    let scope = Scope::Tenant(actor.tenant);
    let published = state.api.tx_again(scope, move |tx| events::publish(tx, &actor, &ask)).await?;
    Ok(published)
}

async fn publish_all(
    state: &State,
    actor: Actor,
    asks: Vec<NewEvent>,
    once: Option<Keyed>,
) -> Result<IdempotencyOutcome<Vec<Published>, Vec<Published>>> {
    if once.is_none() && asks.iter().all(|ask| ask.idempotency_key.is_none()) {
        return state.outbox.publish(actor, asks).await.map(IdempotencyOutcome::First);
    }
    let scope = Scope::Tenant(actor.tenant);
    let publish = move |tx: &mut Tx<'_>| match &once {
        Some((key, hash)) => events::publish_all_once(tx, &actor, &asks, (key, hash)),
        None => events::publish_all(tx, &actor, &asks).map(IdempotencyOutcome::First),
    };
    let published = state.api.tx_again(scope, publish).await?;
    Ok(published)
}

/// Event in a batch.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct BatchItem {
    /// Type of the event. Required.
    #[serde(rename = "type")]
    kind: Option<String>,
    /// Type of the event under another name.
    #[serde(skip_serializing)]
    event: Option<String>,
    /// Payload: any JSON value.
    #[serde(default, deserialize_with = "raw")]
    data: Option<Box<RawValue>>,
    /// Payload under another name.
    #[serde(default, skip_serializing, deserialize_with = "raw")]
    payload: Option<Box<RawValue>>,
    /// Idempotency key of this event.
    idempotency_key: Option<String>,
}

/// Request body to publish a batch.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct BatchBody {
    /// Tenant's id; an instance token needs this or `tenant`.
    tenant_id: Option<TenantId>,
    /// Tenant's slug.
    tenant: Option<String>,
    /// Events to publish, 1 to 1,000.
    events: Vec<JsonObject<BatchItem>>,
}

/// Publishes up to 1,000 events: all of them or none. A batch repeated with the same `Idempotency-Key` publishes
/// nothing.
pub async fn create_batch(
    state: Data<State>,
    who: TokenOrKey<EventsWrite>,
    request: HttpRequest,
    Json(mut body): Json<BatchBody, LARGE_BODY_LIMIT>,
) -> Answer {
    // The hash for the idempotency key is the same under either name of a field.
    merge_names(&mut body.events)?;
    let once = idempotency(&request, &body)?;
    let actor = who.actor(&TenantAsk::new(body.tenant_id, body.tenant)).await?;
    let mut answer = HttpResponse::Accepted();
    let published = match publish_all(&state, actor, parse_batch(&body.events)?, once).await? {
        IdempotencyOutcome::First(published) => published,
        IdempotencyOutcome::Again(published) => {
            answer.insert_header(("Idempotent-Replayed", "true"));
            published
        }
    };
    Ok(answer.json(json!({"data": published})))
}

/// Moves the values that events of a batch have under other names to the usual names.
fn merge_names(items: &mut [JsonObject<BatchItem>]) -> Result<()> {
    let mut errors = FieldErrors::default();
    for (index, JsonObject(item)) in items.iter_mut().enumerate() {
        match kind_and_data([item.kind.take(), item.event.take()], [item.data.take(), item.payload.take()]) {
            Ok((kind, data)) => (item.kind, item.data) = (kind, data),
            Err(Error::Invalid(inner)) => errors.extend_inside(&format!("events[{index}]"), inner),
            Err(other) => return Err(other),
        }
    }
    errors.refuse()
}

/// Parses the events of a batch. Errors name each invalid item, as in `events[2].type`.
fn parse_batch(items: &[JsonObject<BatchItem>]) -> Result<Vec<NewEvent>> {
    if !(1..=MOST_AT_ONCE).contains(&items.len()) {
        return Err(Error::field("events", Rejection::new("range", "must be 1 to 1000 events")));
    }
    let mut errors = FieldErrors::default();
    let mut asks = Vec::with_capacity(items.len());
    for (index, JsonObject(item)) in items.iter().enumerate() {
        let data = item.data.as_deref().map(RawValue::get);
        match NewEvent::parse(item.kind.as_deref(), data, item.idempotency_key.as_deref()) {
            Ok(ask) => asks.push(ask),
            Err(Error::Invalid(inner)) => errors.extend_inside(&format!("events[{index}]"), inner),
            Err(other) => return Err(other),
        }
    }
    if errors.is_empty() { Ok(asks) } else { Err(errors.into()) }
}
