//! `/api/keys`: minting, finding, changing and revoking keys.

use actix_web::http::header::{CACHE_CONTROL, LOCATION};
use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use chrono::{DateTime, Utc};
use diesel::pg::PgConnection;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::body::present;
use super::list::{List, paging};
use crate::domain::api_key::{Environment, KeyChange, KeyDraft, KeyPatch, KeyState, NewKey};
use crate::domain::{Actor, ApiKeyId, Error, Noun, Permission, Rejection, Result, TenantId, UserId};
use crate::model::ApiKey;
use crate::services::api_keys::{self, KeyFilter, Minted};
use crate::services::idempotency::IdempotencyKey;
use crate::store::Scope;
use crate::store::notify::Change;
use crate::web::bearer::{Bearer, TenantAsk};
use crate::web::json::{self, Json, Query};
use crate::web::problem::Answer;
use crate::web::state::State;

/// A key as the API shows it; the secret stands in the answer to its creation alone.
#[derive(Debug, Serialize)]
pub struct KeyBody {
    id: ApiKeyId,
    tenant_id: TenantId,
    user_id: Option<UserId>,
    name: String,
    description: Option<String>,
    environment: Environment,
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key: Option<String>,
    key_prefix: String,
    hint: String,
    scopes: Vec<String>,
    rate_limit: i64,
    rate_window_seconds: i64,
    quota: Option<i64>,
    allowed_ips: Vec<String>,
    owner: Option<String>,
    requires_owner: bool,
    metadata: Value,
    tags: Vec<String>,
    state: KeyState,
    is_active: bool,
    expires_at: Option<DateTime<Utc>>,
    last_used_at: Option<DateTime<Utc>>,
    revoked_at: Option<DateTime<Utc>>,
    revoked_reason: Option<String>,
    rotated_from: Option<ApiKeyId>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl KeyBody {
    pub fn new(key: ApiKey, now: DateTime<Utc>) -> Self {
        Self {
            state: key.state(now),
            id: key.id,
            tenant_id: key.tenant_id,
            user_id: key.user_id,
            name: key.name,
            description: key.description,
            environment: key.environment,
            key: key.public_id,
            secret: None,
            api_key: None,
            key_prefix: key.key_prefix,
            hint: key.hint,
            scopes: key.scopes,
            rate_limit: key.rate_limit,
            rate_window_seconds: key.rate_window_seconds,
            quota: None,
            allowed_ips: key.allowed_ips,
            owner: key.owner,
            requires_owner: key.requires_owner,
            metadata: key.metadata,
            tags: key.tags,
            is_active: key.is_active,
            expires_at: key.expires_at,
            last_used_at: key.last_used_at,
            revoked_at: key.revoked_at,
            revoked_reason: key.revoked_reason,
            rotated_from: None,
            created_at: key.created_at,
            updated_at: key.updated_at,
        }
    }
}

/// Which keys are asked for, in a query or, for a search, in a body.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListAsk {
    limit: Option<i64>,
    cursor: Option<String>,
    offset: Option<i64>,
    tenant_id: Option<TenantId>,
    tenant: Option<String>,
    #[serde(alias = "search", alias = "query", alias = "name")]
    q: Option<String>,
    state: Option<KeyState>,
    environment: Option<Environment>,
    user_id: Option<UserId>,
}

impl ListAsk {
    fn filter(&self) -> Result<KeyFilter> {
        if self.q.as_ref().is_some_and(|text| 200 < text.chars().count()) {
            return Err(Error::field("q", Rejection::new("too_long", "must be at most 200 characters")));
        }
        // Postgres knows no text with a NUL in it, so nothing can match.
        let text = self.q.as_deref().map(|text| text.trim().replace('\0', "\u{fffd}"));
        Ok(KeyFilter {
            text: text.filter(|text| !text.is_empty()),
            state: self.state,
            environment: self.environment,
            user: self.user_id,
        })
    }

    async fn scope(&self, bearer: &Bearer) -> Result<Scope> {
        bearer.reach(&TenantAsk::new(self.tenant_id, self.tenant.clone()), Permission::ReadKeys).await
    }
}

pub async fn index(state: Data<State>, bearer: Bearer, Query(ask): Query<ListAsk>) -> Answer {
    listed(&state, &bearer, ask).await
}

pub async fn search(state: Data<State>, bearer: Bearer, Json(ask): Json<ListAsk>) -> Answer {
    listed(&state, &bearer, ask).await
}

async fn listed(state: &State, bearer: &Bearer, ask: ListAsk) -> Answer {
    let (scope, now, filter) = (ask.scope(bearer).await?, state.clock.now(), ask.filter()?);
    let paging = paging(ask.limit, ask.cursor.as_deref(), ask.offset)?;
    let page = state.api.read(scope, move |conn| api_keys::list(conn, scope, &filter, &paging, now)).await?;
    Ok(HttpResponse::Ok().json(List::new(page.map(|key| KeyBody::new(key, now)))))
}

pub async fn count(state: Data<State>, bearer: Bearer, Query(ask): Query<ListAsk>) -> Answer {
    let (scope, now, filter) = (ask.scope(&bearer).await?, state.clock.now(), ask.filter()?);
    let count = state.api.read(scope, move |conn| api_keys::count(conn, scope, &filter, now)).await?;
    Ok(HttpResponse::Ok().json(json!({"count": count})))
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CreateBody {
    tenant_id: Option<TenantId>,
    tenant: Option<String>,
    name: Option<String>,
    description: Option<String>,
    environment: Option<String>,
    prefix: Option<String>,
    scopes: Option<Vec<String>>,
    rate_limit: Option<i64>,
    rate_window_seconds: Option<i64>,
    allowed_ips: Option<Vec<String>>,
    owner: Option<String>,
    requires_owner: Option<bool>,
    metadata: Option<Map<String, Value>>,
    tags: Option<Vec<String>>,
    is_active: Option<bool>,
    expires_at: Option<DateTime<Utc>>,
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
            allowed_ips: body.allowed_ips.unwrap_or_default(),
            owner: body.owner,
            requires_owner: body.requires_owner,
            metadata: body.metadata,
            tags: body.tags.unwrap_or_default(),
            is_active: body.is_active,
            expires_at: body.expires_at,
        }
    }
}

/// With an `Idempotency-Key`, a repeated request makes no second key: it is shown the first one, without its secret.
pub async fn create(state: Data<State>, bearer: Bearer, request: HttpRequest, Json(body): Json<CreateBody>) -> Answer {
    let (now, hasher) = (state.clock.now(), state.hasher.clone());
    let actor = bearer.actor(&TenantAsk::new(body.tenant_id, body.tenant.clone())).await?;
    actor.must(Permission::WriteKeys)?;
    let (once, scope) = (idempotency(&request, &body)?, Scope::Tenant(actor.tenant));
    let ask = NewKey::parse(body.into(), now)?;
    let mint = move |conn: &mut _| match &once {
        Some((key, hash)) => api_keys::mint_once(conn, &actor, &hasher, ask, (key, hash), now),
        None => api_keys::mint(conn, &actor, &hasher, ask, now).map(Minted::First),
    };
    let (key, secret) = match state.api.tx(scope, mint).await? {
        Minted::First(minted) => (minted.key, Some(minted.secret.reveal_once())),
        Minted::Again(key) => (key, None),
    };
    state.forget(&Change::Key(key.public_id.clone()));
    let mut answer = HttpResponse::Created();
    answer.insert_header((LOCATION, format!("/api/keys/{}", key.id))).insert_header((CACHE_CONTROL, "no-store"));
    if secret.is_none() {
        answer.insert_header(("Idempotent-Replayed", "true"));
    }
    Ok(answer.json(KeyBody { secret: secret.clone(), api_key: secret, ..KeyBody::new(key, now) }))
}

/// The request's idempotency key, and a hash of what it asks.
fn idempotency(request: &HttpRequest, body: &CreateBody) -> Result<Option<(IdempotencyKey, Vec<u8>)>> {
    let Some(value) = request.headers().get("idempotency-key") else { return Ok(None) };
    let key = IdempotencyKey::parse(value.to_str().unwrap_or_default());
    let key = key.map_err(|rejection| Error::field("Idempotency-Key", rejection))?;
    let asked = serde_json::to_vec(body).map_err(Error::bug)?;
    Ok(Some((key, Sha256::digest(asked).to_vec())))
}

pub async fn show(state: Data<State>, bearer: Bearer, id: Path<String>) -> Answer {
    let id = parse_id(&id)?;
    let actor = actor(&bearer, id).await?;
    let scope = Scope::Tenant(actor.tenant);
    let key = state.api.read(scope, move |conn| api_keys::find(conn, &actor, id)).await?;
    Ok(HttpResponse::Ok().json(KeyBody::new(key, state.clock.now())))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateBody {
    name: Option<String>,
    #[serde(default, deserialize_with = "present")]
    description: Option<Option<String>>,
    scopes: Option<Vec<String>>,
    rate_limit: Option<i64>,
    rate_window_seconds: Option<i64>,
    allowed_ips: Option<Vec<String>>,
    #[serde(default, deserialize_with = "present")]
    owner: Option<Option<String>>,
    requires_owner: Option<bool>,
    metadata: Option<Map<String, Value>>,
    tags: Option<Vec<String>>,
    is_active: Option<bool>,
    #[serde(default, deserialize_with = "present")]
    expires_at: Option<Option<DateTime<Utc>>>,
}

impl From<UpdateBody> for KeyPatch {
    fn from(body: UpdateBody) -> Self {
        Self {
            name: body.name,
            description: body.description,
            scopes: body.scopes,
            rate_limit: body.rate_limit,
            rate_window_seconds: body.rate_window_seconds,
            allowed_ips: body.allowed_ips,
            owner: body.owner,
            requires_owner: body.requires_owner,
            metadata: body.metadata,
            tags: body.tags,
            is_active: body.is_active,
            expires_at: body.expires_at,
        }
    }
}

pub async fn update(state: Data<State>, bearer: Bearer, id: Path<String>, Json(body): Json<UpdateBody>) -> Answer {
    let (id, now) = (parse_id(&id)?, state.clock.now());
    let change = KeyChange::parse(body.into(), now)?;
    let key = changed(&state, &bearer, id, move |conn, actor| api_keys::update(conn, actor, id, &change, now)).await?;
    Ok(HttpResponse::Ok().json(KeyBody::new(key, now)))
}

pub async fn activate(state: Data<State>, bearer: Bearer, id: Path<String>) -> Answer {
    let (id, now) = (parse_id(&id)?, state.clock.now());
    let key = changed(&state, &bearer, id, move |conn, actor| api_keys::activate(conn, actor, id, now)).await?;
    Ok(HttpResponse::Ok().json(KeyBody::new(key, now)))
}

pub async fn deactivate(state: Data<State>, bearer: Bearer, id: Path<String>) -> Answer {
    let (id, now) = (parse_id(&id)?, state.clock.now());
    let key = changed(&state, &bearer, id, move |conn, actor| api_keys::deactivate(conn, actor, id, now)).await?;
    Ok(HttpResponse::Ok().json(KeyBody::new(key, now)))
}

pub async fn destroy(state: Data<State>, bearer: Bearer, id: Path<String>) -> Answer {
    let (id, now) = (parse_id(&id)?, state.clock.now());
    changed(&state, &bearer, id, move |conn, actor| api_keys::delete(conn, actor, id, now)).await?;
    Ok(HttpResponse::NoContent().finish())
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RevokeBody {
    reason: Option<String>,
}

/// Takes an empty body or a JSON object, whatever its content type says: clients of older services send none at all.
pub async fn revoke(state: Data<State>, bearer: Bearer, id: Path<String>, payload: Payload) -> Answer {
    let (id, now) = (parse_id(&id)?, state.clock.now());
    let body: RevokeBody = json::parse(&json::read(payload.into_inner(), json::BODY_LIMIT).await?)?;
    let revoke =
        move |conn: &mut PgConnection, actor: &Actor| api_keys::revoke(conn, actor, id, body.reason.as_deref(), now);
    changed(&state, &bearer, id, revoke).await?;
    Ok(HttpResponse::Ok().json(json!({"message": "API key revoked"})))
}

/// Changes a key, and makes this process forget what it knew of it before the answer goes out.
async fn changed<F>(state: &State, bearer: &Bearer, id: ApiKeyId, change: F) -> Result<ApiKey>
where
    F: FnOnce(&mut PgConnection, &Actor) -> Result<ApiKey> + Send + 'static,
{
    let actor = actor(bearer, id).await?;
    let key = state.api.tx(Scope::Tenant(actor.tenant), move |conn| change(conn, &actor)).await?;
    state.forget(&Change::Key(key.public_id.clone()));
    Ok(key)
}

pub(super) async fn actor(bearer: &Bearer, id: ApiKeyId) -> Result<Actor> {
    bearer.actor_for(Noun::ApiKey, move |conn| api_keys::tenant_of(conn, id)).await
}

/// Something that is no id names no key.
pub(super) fn parse_id(text: &str) -> Result<ApiKeyId> {
    text.parse().map_err(|_| Error::NotFound(Noun::ApiKey))
}
