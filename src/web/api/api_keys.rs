//! `/api/keys`: creating, listing, changing, revoking and restoring keys.

pub mod body;
pub mod bulk;
pub mod listing;
pub mod lookup;
pub mod rotation;

use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::body::{cleared, idempotency, made, made_before, or_default, set};
use crate::domain::api_key::{KeyChange, KeyDraft, KeyPatch, NewKey};
use crate::domain::limit::named::NamedLimit;
use crate::domain::quota::Quota;
use crate::domain::time::Time;
use crate::domain::{Actor, ApiKeyId, Error, Noun, Permission, Result, TenantId};
use crate::model::ApiKey;
use crate::services::api_keys::{self, MintedKey};
use crate::services::idempotency::IdempotencyOutcome;
use crate::store::{Scope, Tx};
use crate::web::bearer::{Bearer, TenantAsk};
use crate::web::json::{self, Json, NoParameters};
use crate::web::json_object::JsonObject;
use crate::web::problem::Answer;
use crate::web::state::State;
pub use body::KeyBody;
use body::QuotaBody;

const LIST: &str = "/api/keys";

/// Request body to create a key. Omitted fields get their defaults.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CreateBody {
    /// Tenant's id; an instance token needs this or `tenant`.
    tenant_id: Option<TenantId>,
    /// Tenant's slug.
    tenant: Option<String>,
    /// Name of the key. Required.
    name: Option<String>,
    /// Note about the key.
    description: Option<String>,
    /// Environment of the key: `live` or `test`.
    environment: Option<String>,
    /// Text before the secret, instead of the tenant's prefix.
    prefix: Option<String>,
    /// Scopes of the key.
    scopes: Option<Vec<String>>,
    /// Number of calls allowed per window.
    rate_limit: Option<i64>,
    /// Length of the rate limit's window in seconds.
    rate_window_seconds: Option<i64>,
    /// Further rate limits besides the first.
    #[serde(default, deserialize_with = "or_default")]
    limits: Vec<JsonObject<NamedLimit>>,
    /// Number of calls that the key may use up.
    quota: Option<JsonObject<QuotaBody>>,
    /// Addresses and networks that may use the key. Empty: all.
    allowed_ips: Option<Vec<String>>,
    /// Owner of the key, in the client's own words.
    owner: Option<String>,
    /// True: the key is refused once its user is gone or inactive.
    requires_owner: Option<bool>,
    /// JSON object of the client's own data.
    metadata: Option<Map<String, Value>>,
    /// Tags to group keys.
    tags: Option<Vec<String>>,
    /// False: the key is created deactivated.
    is_active: Option<bool>,
    /// When the key expires. Absent: never.
    expires_at: Option<Time>,
}

impl From<CreateBody> for KeyDraft {
    fn from(body: CreateBody) -> Self {
        Self {
            name: body.name,
            description: body.description,
            environment: body.environment,
            prefix: body.prefix,
            scopes: body.scopes.unwrap_or_default(),
            rate_limit: body.rate_limit,
            rate_window_seconds: body.rate_window_seconds,
            limits: body.limits.into_iter().map(|JsonObject(limit)| limit).collect(),
            quota: body.quota.map(|JsonObject(quota)| Quota::from(quota)),
            allowed_ips: body.allowed_ips.unwrap_or_default(),
            owner: body.owner,
            requires_owner: body.requires_owner,
            metadata: body.metadata,
            tags: body.tags.unwrap_or_default(),
            is_active: body.is_active,
            expires_at: body.expires_at.map(Time::utc),
        }
    }
}

/// Creates a key. A request repeated with the same `Idempotency-Key` creates no second key and gets the first response
/// again, without the secret.
pub async fn create(state: Data<State>, bearer: Bearer, request: HttpRequest, Json(body): Json<CreateBody>) -> Answer {
    let (now, hasher) = (state.clock.now(), state.hasher.clone());
    let actor = bearer.actor(&TenantAsk::new(body.tenant_id, body.tenant.clone())).await?;
    actor.must(Permission::WriteKeys)?;
    let (once, scope) = (idempotency(&request, &body)?, Scope::Tenant(actor.tenant));
    let ask = NewKey::parse(body.into(), now)?;
    let mint = move |tx: &mut Tx<'_>| match &once {
        Some((key, hash)) => api_keys::mint_once(tx, &actor, &hasher, ask, (key, hash), |key| kept(key, now)),
        None => api_keys::mint(tx, &actor, &hasher, ask).map(IdempotencyOutcome::First),
    };
    match state.api.tx(scope, mint).await? {
        IdempotencyOutcome::First(fresh) => minted(fresh, now),
        IdempotencyOutcome::Again(answer) => Ok(minted_before(&answer)),
    }
}

/// Returns the response for a new key, with its secret.
fn minted(fresh: MintedKey, now: DateTime<Utc>) -> Answer {
    let id = fresh.key.id.0;
    Ok(made(LIST, id, &KeyBody::revealed(fresh.key, Some(fresh.secret.reveal_once()), now)))
}

/// Returns the response to store for a repeated request, without the secret.
fn kept(key: &ApiKey, now: DateTime<Utc>) -> Result<Value> {
    serde_json::to_value(KeyBody::of(key, now)).map_err(Error::bug)
}

fn minted_before(answer: &Value) -> HttpResponse {
    made_before(LIST, answer)
}

pub async fn show(state: Data<State>, bearer: Bearer, id: Path<String>, _: NoParameters) -> Answer {
    let id = parse_id(&id)?;
    let actor = actor(&bearer, id).await?;
    let scope = Scope::Tenant(actor.tenant);
    let key = state.api.read(scope, move |tx| api_keys::find(tx, &actor, id)).await?;
    Ok(HttpResponse::Ok().json(KeyBody::new(key, state.clock.now())))
}

/// Request body to change a key. Omitted fields stay as they are; fields that may be empty are cleared by `null`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UpdateBody {
    /// Name of the key.
    #[serde(deserialize_with = "set")]
    name: Option<String>,
    /// Note about the key.
    #[serde(deserialize_with = "cleared")]
    description: Option<Option<String>>,
    /// Scopes of the key.
    #[serde(deserialize_with = "cleared")]
    scopes: Option<Vec<String>>,
    /// Number of calls allowed per window.
    #[serde(deserialize_with = "set")]
    rate_limit: Option<i64>,
    /// Length of the rate limit's window in seconds.
    #[serde(deserialize_with = "set")]
    rate_window_seconds: Option<i64>,
    /// Further rate limits besides the first.
    #[serde(deserialize_with = "cleared")]
    limits: Option<Vec<JsonObject<NamedLimit>>>,
    /// Number of calls that the key may use up.
    #[serde(deserialize_with = "cleared")]
    quota: Option<Option<JsonObject<QuotaBody>>>,
    /// Addresses and networks that may use the key. Empty: all.
    #[serde(deserialize_with = "cleared")]
    allowed_ips: Option<Vec<String>>,
    /// Owner of the key, in the client's own words.
    #[serde(deserialize_with = "cleared")]
    owner: Option<Option<String>>,
    /// True: the key is refused once its user is gone or inactive.
    #[serde(deserialize_with = "set")]
    requires_owner: Option<bool>,
    /// JSON object of the client's own data.
    #[serde(deserialize_with = "cleared")]
    metadata: Option<Map<String, Value>>,
    /// Tags to group keys.
    #[serde(deserialize_with = "cleared")]
    tags: Option<Vec<String>>,
    /// False deactivates the key.
    #[serde(deserialize_with = "set")]
    is_active: Option<bool>,
    /// When the key expires.
    #[serde(deserialize_with = "cleared")]
    expires_at: Option<Option<Time>>,
    /// True: the key never expires. Clients of another service send this field.
    clear_expires: bool,
}

impl From<UpdateBody> for KeyPatch {
    fn from(body: UpdateBody) -> Self {
        let expires_at = if body.clear_expires { Some(None) } else { body.expires_at };
        Self {
            name: body.name,
            description: body.description,
            scopes: body.scopes,
            rate_limit: body.rate_limit,
            rate_window_seconds: body.rate_window_seconds,
            limits: body.limits.map(|limits| limits.into_iter().map(|JsonObject(limit)| limit).collect()),
            quota: body.quota.map(|quota| quota.map(|JsonObject(quota)| Quota::from(quota))),
            allowed_ips: body.allowed_ips,
            owner: body.owner,
            requires_owner: body.requires_owner,
            metadata: body.metadata,
            tags: body.tags,
            is_active: body.is_active,
            expires_at: expires_at.map(|at| at.map(Time::utc)),
        }
    }
}

pub async fn update(state: Data<State>, bearer: Bearer, id: Path<String>, Json(body): Json<UpdateBody>) -> Answer {
    let (id, now) = (parse_id(&id)?, state.clock.now());
    let change = KeyChange::parse(body.into(), now)?;
    let key = changed(&state, &bearer, id, move |tx, actor| api_keys::update(tx, actor, id, &change)).await?;
    Ok(HttpResponse::Ok().json(KeyBody::new(key, now)))
}

pub async fn activate(state: Data<State>, bearer: Bearer, id: Path<String>) -> Answer {
    let (id, now) = (parse_id(&id)?, state.clock.now());
    let key = changed(&state, &bearer, id, move |tx, actor| api_keys::activate(tx, actor, id)).await?;
    Ok(HttpResponse::Ok().json(KeyBody::new(key, now)))
}

pub async fn deactivate(state: Data<State>, bearer: Bearer, id: Path<String>) -> Answer {
    let (id, now) = (parse_id(&id)?, state.clock.now());
    let key = changed(&state, &bearer, id, move |tx, actor| api_keys::deactivate(tx, actor, id)).await?;
    Ok(HttpResponse::Ok().json(KeyBody::new(key, now)))
}

pub async fn destroy(state: Data<State>, bearer: Bearer, id: Path<String>) -> Answer {
    let id = parse_id(&id)?;
    changed(&state, &bearer, id, move |tx, actor| api_keys::delete(tx, actor, id)).await?;
    Ok(HttpResponse::NoContent().finish())
}

pub async fn restore(state: Data<State>, bearer: Bearer, id: Path<String>) -> Answer {
    let (id, now) = (parse_id(&id)?, state.clock.now());
    let key = changed(&state, &bearer, id, move |tx, actor| api_keys::restore(tx, actor, id)).await?;
    Ok(HttpResponse::Ok().json(KeyBody::new(key, now)))
}

/// Request body to revoke a key.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RevokeBody {
    /// Why the key is revoked, for the audit log.
    reason: Option<String>,
}

/// Revokes a key. Accepts an empty body or a JSON object with any content type, since clients of older services send
/// none.
pub async fn revoke(state: Data<State>, bearer: Bearer, id: Path<String>, payload: Payload) -> Answer {
    let id = parse_id(&id)?;
    let body: RevokeBody =
        json::parse(&json::read(payload.into_inner(), json::BODY_LIMIT, state.settings.request_deadline).await?)?;
    let revoke = move |tx: &mut Tx<'_>, actor: &Actor| api_keys::revoke(tx, actor, id, body.reason.as_deref());
    changed(&state, &bearer, id, revoke).await?;
    Ok(HttpResponse::Ok().json(json!({"message": "API key revoked"})))
}

/// Changes a key and invalidates this process's caches before the response.
async fn changed<F>(state: &State, bearer: &Bearer, id: ApiKeyId, change: F) -> Result<ApiKey>
where
    F: FnOnce(&mut Tx<'_>, &Actor) -> Result<ApiKey> + Send + 'static,
{
    let actor = actor(bearer, id).await?;
    let key = state.api.tx(Scope::Tenant(actor.tenant), move |tx| change(tx, &actor)).await?;
    Ok(key)
}

/// Returns the actor for a key, deleted keys included. The services check what may be done with a deleted key.
pub(super) async fn actor(bearer: &Bearer, id: ApiKeyId) -> Result<Actor> {
    bearer.actor_for(Noun::ApiKey, move |tx| api_keys::tenant_of(tx, id)).await
}

/// Parses a key's id. Text that is no id gives 404.
pub(super) fn parse_id(text: &str) -> Result<ApiKeyId> {
    text.parse().map_err(|_| Error::NotFound(Noun::ApiKey))
}
