//! `/api/webhooks`: creating, changing, pausing and testing webhooks.

pub mod secrets;
pub mod statistics;

use std::collections::BTreeMap;

use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::body::{cleared, idempotency, made, made_before, named, or_default, set};
use super::list::{List, paging, text};
use crate::domain::webhook::{MASK, PayloadFormat, SignatureStyle, WebhookState};
use crate::domain::{Actor, DeliveryId, Error, FieldErrors, Noun, Permission, Result, TenantId, UserId, WebhookId};
use crate::model::Webhook;
use crate::services::idempotency::IdempotencyOutcome;
use crate::services::webhooks::{self, Subscribed, WebhookFields, WebhookFilter};
use crate::store::{Scope, Tx};
use crate::web::bearer::{Bearer, TenantAsk};
use crate::web::json::{Json, NoParameters, Query};
use crate::web::problem::Answer;
use crate::web::state::State;

const LIST: &str = "/api/webhooks";

/// Webhook as the API shows it. Only responses that create or reveal the secret contain it.
#[derive(Debug, Serialize)]
pub struct WebhookBody {
    /// Id of the webhook.
    id: WebhookId,
    /// Id of the tenant.
    tenant_id: TenantId,
    /// Id of the user who created the webhook.
    user_id: Option<UserId>,
    /// Name of the webhook.
    name: String,
    /// URL that events are sent to.
    url: String,
    /// Patterns of event types.
    events: Vec<String>,
    /// False: paused by a user, or disabled after failures.
    is_active: bool,
    /// State of the webhook.
    state: WebhookState,
    /// Form of the request body: `standard`, `event`, `raw` or `cloudevents`.
    payload_format: PayloadFormat,
    /// Form of the signature over the body: `prefixed` or `hex`.
    signature_style: SignatureStyle,
    /// Deadline of an attempt in seconds.
    timeout_seconds: i64,
    /// Maximum number of concurrent requests.
    max_in_flight: i64,
    /// Maximum number of requests per second. `null`: unlimited.
    rate_per_second: Option<i64>,
    /// Seconds before each retry. `null`: the default schedule.
    retry_schedule: Option<Vec<i64>>,
    /// Additional headers of requests. Names only; each value is masked.
    headers: BTreeMap<String, &'static str>,
    /// Public keys `whpk_…` that currently sign, newest first.
    public_keys: Vec<String>,
    /// Why the webhook was disabled.
    disabled_reason: Option<String>,
    /// Start of the current series of failures (UTC).
    failing_since: Option<DateTime<Utc>>,
    /// When the webhook is disabled if no attempt succeeds before (UTC).
    switches_off_at: Option<DateTime<Utc>>,
    /// Id of the test delivery whose success activates the webhook again.
    probe_delivery_id: Option<DeliveryId>,
    /// When an attempt last succeeded (UTC).
    last_success_at: Option<DateTime<Utc>>,
    /// Signing secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
    /// When the webhook was created (UTC).
    created_at: DateTime<Utc>,
    /// When the webhook was last changed (UTC).
    updated_at: DateTime<Utc>,
}

impl From<Webhook> for WebhookBody {
    fn from(row: Webhook) -> Self {
        Self {
            state: row.state(),
            switches_off_at: row.switches_off_at(),
            id: row.id,
            tenant_id: row.tenant_id,
            user_id: row.user_id,
            headers: row.header_names().iter().map(|name| ((*name).to_owned(), MASK)).collect(),
            name: row.name,
            url: row.url,
            events: row.events,
            is_active: row.is_active,
            payload_format: row.payload_format,
            signature_style: row.signature_style,
            timeout_seconds: row.timeout_seconds,
            max_in_flight: row.max_in_flight,
            rate_per_second: row.rate_per_second,
            retry_schedule: row.retry_gaps,
            public_keys: Vec::new(),
            disabled_reason: row.disabled_reason,
            failing_since: row.failing_since,
            probe_delivery_id: row.probe_id,
            last_success_at: row.last_success_at,
            secret: None,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

impl WebhookBody {
    /// Returns a webhook with the public keys that sign for it.
    pub fn read(tx: &mut Tx<'_>, row: Webhook) -> Result<Self> {
        let keys = webhooks::secrets::public_keys(tx, Scope::Tenant(row.tenant_id), &[row.id])?;
        Ok(Self { public_keys: keys.into_iter().filter_map(|key| key.public_key).collect(), ..Self::from(row) })
    }

    /// Returns a webhook with its new secret.
    pub fn revealed(tx: &mut Tx<'_>, made: Subscribed) -> Result<Self> {
        Ok(Self { secret: Some(made.secret.reveal().to_owned()), ..Self::read(tx, made.webhook)? })
    }
}

/// Filters and page of the list of webhooks.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IndexQuery {
    /// Number of rows per page.
    limit: Option<i64>,
    /// Cursor of the page's start, from `next_cursor`.
    cursor: Option<String>,
    /// Number of rows to skip, instead of a cursor.
    offset: Option<i64>,
    /// Text to search for.
    #[serde(alias = "search", alias = "query", alias = "name")]
    q: Option<String>,
    /// State of the webhooks.
    state: Option<WebhookState>,
}

pub async fn index(state: Data<State>, bearer: Bearer, Query(query): Query<IndexQuery>) -> Answer {
    let scope = bearer.reach(&TenantAsk::default(), Permission::ReadWebhooks).await?;
    let paging = paging(query.limit, query.cursor.as_deref(), query.offset)?;
    let filter = WebhookFilter { text: text("q", query.q)?, state: query.state };
    let list = move |tx: &mut Tx<'_>| {
        let page = webhooks::list(tx, scope, &filter, &paging)?;
        let ids: Vec<_> = page.rows.iter().map(|row| row.id).collect();
        Ok((page, webhooks::secrets::public_keys(tx, scope, &ids)?))
    };
    let (page, keys) = state.api.read(scope, list).await?;
    let mut keys_of: BTreeMap<WebhookId, Vec<String>> = BTreeMap::new();
    for key in keys {
        keys_of.entry(key.webhook_id).or_default().extend(key.public_key);
    }
    let body = |row: Webhook| WebhookBody {
        public_keys: keys_of.get(&row.id).cloned().unwrap_or_default(),
        ..WebhookBody::from(row)
    };
    Ok(HttpResponse::Ok().json(List::new(page.map(body))))
}

/// Request body to create a webhook. Fields without a comment are those of [`WebhookBody`].
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CreateBody {
    /// Tenant's id; an instance token needs this or `tenant`.
    tenant_id: Option<TenantId>,
    /// Tenant's slug.
    tenant: Option<String>,
    name: Option<String>,
    url: Option<String>,
    events: Option<Vec<String>>,
    /// Signing secret. Absent: generated.
    secret: Option<String>,
    /// True: requests are also signed with an Ed25519 key pair.
    #[serde(default, deserialize_with = "or_default")]
    ed25519: bool,
    /// Private key `whsk_…` for those signatures. Absent: generated.
    signing_key: Option<String>,
    is_active: Option<bool>,
    payload_format: Option<String>,
    signature_style: Option<String>,
    timeout_seconds: Option<i64>,
    max_in_flight: Option<i64>,
    rate_per_second: Option<i64>,
    retry_schedule: Option<Vec<i64>>,
    headers: Option<BTreeMap<String, String>>,
}

impl From<CreateBody> for WebhookFields {
    fn from(body: CreateBody) -> Self {
        let changes = UpdateBody {
            name: body.name,
            url: body.url,
            events: body.events,
            is_active: body.is_active,
            payload_format: body.payload_format,
            signature_style: body.signature_style,
            timeout_seconds: body.timeout_seconds,
            max_in_flight: body.max_in_flight,
            rate_per_second: Some(body.rate_per_second),
            retry_schedule: Some(body.retry_schedule),
            headers: body.headers,
        };
        Self { secret: body.secret, ed25519: body.ed25519, signing_key: body.signing_key, ..Self::from(changes) }
    }
}

/// Creates a webhook. A request repeated with the same `Idempotency-Key` creates no second one and gets the first
/// response again, without the secret.
pub async fn create(state: Data<State>, bearer: Bearer, request: HttpRequest, Json(body): Json<CreateBody>) -> Answer {
    let actor = bearer.actor(&TenantAsk::new(body.tenant_id, body.tenant.clone())).await?;
    let once = idempotency(&request, &body)?;
    let (vault, policy, ask) = (state.vault.clone(), state.policy.clone(), WebhookFields::from(body));
    let scope = Scope::Tenant(actor.tenant);
    let subscribe = move |tx: &mut Tx<'_>| {
        let work = |tx: &mut Tx<'_>| webhooks::subscribe(tx, &vault, &policy, &actor, &ask);
        let done = match &once {
            Some((key, hash)) => webhooks::subscribe_once(tx, &actor, (key, hash), work, |tx, row| {
                serde_json::to_value(WebhookBody::read(tx, row.clone())?).map_err(Error::bug)
            })?,
            None => IdempotencyOutcome::First(work(tx)?),
        };
        Ok(match done {
            IdempotencyOutcome::First(made) => IdempotencyOutcome::First(Box::new(WebhookBody::revealed(tx, made)?)),
            IdempotencyOutcome::Again(answer) => IdempotencyOutcome::Again(answer),
        })
    };
    Ok(match state.api.tx(scope, subscribe).await? {
        IdempotencyOutcome::First(body) => made(LIST, body.id.0, &body),
        IdempotencyOutcome::Again(answer) => made_before(LIST, &answer),
    })
}

pub async fn show(state: Data<State>, bearer: Bearer, id: Path<String>, _: NoParameters) -> Answer {
    let id = parse_id(&id)?;
    let actor = actor(&bearer, id).await?;
    let scope = Scope::Tenant(actor.tenant);
    let find = move |tx: &mut Tx<'_>| {
        let webhook = webhooks::find(tx, &actor, id)?;
        WebhookBody::read(tx, webhook)
    };
    Ok(HttpResponse::Ok().json(state.api.read(scope, find).await?))
}

/// Request body to change a webhook. Fields are those of [`WebhookBody`]; omitted ones stay as they are.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UpdateBody {
    #[serde(deserialize_with = "set")]
    name: Option<String>,
    #[serde(deserialize_with = "set")]
    url: Option<String>,
    #[serde(deserialize_with = "set")]
    events: Option<Vec<String>>,
    #[serde(deserialize_with = "set")]
    is_active: Option<bool>,
    #[serde(deserialize_with = "set")]
    payload_format: Option<String>,
    #[serde(deserialize_with = "set")]
    signature_style: Option<String>,
    #[serde(deserialize_with = "set")]
    timeout_seconds: Option<i64>,
    #[serde(deserialize_with = "set")]
    max_in_flight: Option<i64>,
    #[serde(deserialize_with = "cleared")]
    rate_per_second: Option<Option<i64>>,
    #[serde(deserialize_with = "cleared")]
    retry_schedule: Option<Option<Vec<i64>>>,
    #[serde(deserialize_with = "cleared")]
    headers: Option<BTreeMap<String, String>>,
}

impl From<UpdateBody> for WebhookFields {
    fn from(body: UpdateBody) -> Self {
        Self {
            name: body.name,
            url: body.url,
            events: body.events,
            is_active: body.is_active,
            payload_format: body.payload_format,
            signature_style: body.signature_style,
            timeout_seconds: body.timeout_seconds,
            max_in_flight: body.max_in_flight,
            rate_per_second: body.rate_per_second,
            retry_schedule: body.retry_schedule,
            headers: body.headers,
            ..Self::default()
        }
    }
}

pub async fn update(state: Data<State>, bearer: Bearer, id: Path<String>, Json(body): Json<UpdateBody>) -> Answer {
    let id = parse_id(&id)?;
    let (vault, policy, ask) = (state.vault.clone(), state.policy.clone(), WebhookFields::from(body));
    let change = move |tx: &mut Tx<'_>, actor: &Actor| {
        let webhook = webhooks::update(tx, &vault, &policy, actor, id, &ask)?;
        WebhookBody::read(tx, webhook)
    };
    Ok(HttpResponse::Ok().json(changed(&state, &bearer, id, change).await?))
}

/// Query to activate a webhook.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ActivationQuery {
    /// True: activate only after the webhook has answered a test request with 2xx.
    probe: bool,
}

/// Activates a webhook at once (200). With a probe, responds 202, and the webhook is activated once the probe
/// succeeds.
pub async fn activate(
    state: Data<State>,
    bearer: Bearer,
    id: Path<String>,
    Query(asked): Query<ActivationQuery>,
) -> Answer {
    let id = parse_id(&id)?;
    let change = move |tx: &mut Tx<'_>, actor: &Actor| {
        let webhook = match asked.probe {
            true => webhooks::probe::begin(tx, actor, id)?,
            false => webhooks::activate(tx, actor, id)?,
        };
        let is_probed = !webhook.is_active;
        Ok((WebhookBody::read(tx, webhook)?, is_probed))
    };
    let (body, is_probed) = changed(&state, &bearer, id, change).await?;
    Ok(if is_probed { HttpResponse::Accepted() } else { HttpResponse::Ok() }.json(body))
}

pub async fn deactivate(state: Data<State>, bearer: Bearer, id: Path<String>) -> Answer {
    let id = parse_id(&id)?;
    let change = move |tx: &mut Tx<'_>, actor: &Actor| {
        let webhook = webhooks::deactivate(tx, actor, id)?;
        WebhookBody::read(tx, webhook)
    };
    Ok(HttpResponse::Ok().json(changed(&state, &bearer, id, change).await?))
}

pub async fn destroy(state: Data<State>, bearer: Bearer, id: Path<String>) -> Answer {
    let id = parse_id(&id)?;
    changed(&state, &bearer, id, move |tx, actor| webhooks::delete(tx, actor, id)).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Request body to send a test event.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TestBody {
    /// Type of the test event.
    #[serde(rename = "type")]
    kind: Option<String>,
    /// Type of the test event under another name.
    event: Option<String>,
    /// Payload of the test event.
    data: Option<Box<RawValue>>,
    /// Payload under another name.
    payload: Option<Box<RawValue>>,
}

/// Sends a test event to this webhook only.
pub async fn test(state: Data<State>, bearer: Bearer, id: Path<String>, Json(body): Json<TestBody>) -> Answer {
    let id = parse_id(&id)?;
    let mut errors = FieldErrors::default();
    let kind = errors.take("type", named([body.kind, body.event])).flatten();
    let data = errors.take("data", named([body.data, body.payload])).flatten();
    errors.refuse()?;
    let send = move |tx: &mut Tx<'_>, actor: &Actor| {
        webhooks::send_test(tx, actor, id, kind.as_deref(), data.as_deref().map(RawValue::get))
    };
    let published = changed(&state, &bearer, id, send).await?;
    Ok(HttpResponse::Accepted().json(published))
}

/// Changes a webhook and wakes the delivery worker, which may now have deliveries to send.
async fn changed<T, F>(state: &State, bearer: &Bearer, id: WebhookId, change: F) -> Result<T>
where
    T: Send + 'static,
    F: FnOnce(&mut Tx<'_>, &Actor) -> Result<T> + Send + 'static,
{
    let actor = actor(bearer, id).await?;
    let changed = state.api.tx(Scope::Tenant(actor.tenant), move |tx| change(tx, &actor)).await?;
    Ok(changed)
}

pub(super) async fn actor(bearer: &Bearer, id: WebhookId) -> Result<Actor> {
    bearer.actor_for(Noun::Webhook, move |tx| webhooks::tenant_of(tx, id)).await
}

/// Parses a webhook's id. Text that is no id gives 404.
pub(super) fn parse_id(text: &str) -> Result<WebhookId> {
    text.parse().map_err(|_| Error::NotFound(Noun::Webhook))
}
