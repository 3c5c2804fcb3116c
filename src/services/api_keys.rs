//! API keys: minting, changing, revoking, and finding them again.

use chrono::{DateTime, Utc};
use diesel::pg::PgConnection;

use super::audit::{self, Deed};
use super::idempotency::{self, IdempotencyKey, Once};
use crate::domain::api_key::{KeyChange, KeyPrefix, KeySecret, NewKey};
use crate::domain::digest::Hasher;
use crate::domain::page::{Page, Paging};
use crate::domain::{Actor, ApiKeyId, Error, Noun, Permission, Rejection, Result, TenantId, text};
use crate::model::{ApiKey, NewApiKey};
pub use crate::store::api_keys::KeyFilter;
use crate::store::notify::{self, Change};
use crate::store::{self, Scope};

/// A new key, with the secret that exists nowhere else.
#[derive(Debug)]
pub struct MintedKey {
    pub key: ApiKey,
    pub secret: KeySecret,
}

/// What a request that may have come before has made.
#[derive(Debug)]
pub enum Minted {
    First(MintedKey),
    /// Made by an earlier request with the same idempotency key: its secret was shown then, and is gone.
    Again(ApiKey),
}

/// Like [`mint`], once for all requests with this idempotency key; `request_hash` tells whether they ask the same.
pub fn mint_once(
    conn: &mut PgConnection,
    actor: &Actor,
    hasher: &Hasher,
    ask: NewKey,
    (key, request_hash): (&IdempotencyKey, &[u8]),
    now: DateTime<Utc>,
) -> Result<Minted> {
    actor.must(Permission::WriteKeys)?;
    let mut minted = None;
    // Only the id is kept with the idempotency key: a secret is stored nowhere.
    let once = idempotency::once(conn, actor.tenant, "api_keys", key, request_hash, now, |conn| {
        let made = mint(conn, actor, hasher, ask, now)?;
        let id = made.key.id;
        minted = Some(made);
        Ok(id)
    })?;
    match (once, minted) {
        (Once::First(_), Some(minted)) => Ok(Minted::First(minted)),
        (Once::First(id) | Once::Again(id), _) => {
            let key = store::api_keys::find(conn, actor.tenant, id)?;
            key.map(Minted::Again).ok_or(Error::NotFound(Noun::ApiKey))
        }
    }
}

/// Creates a key. The secret exists only in the returned value.
pub fn mint(
    conn: &mut PgConnection,
    actor: &Actor,
    hasher: &Hasher,
    ask: NewKey,
    now: DateTime<Utc>,
) -> Result<MintedKey> {
    actor.must(Permission::WriteKeys)?;
    let prefix = match &ask.prefix {
        Some(prefix) => prefix.clone(),
        None => prefix_of_tenant(conn, actor.tenant)?,
    };
    let secret = KeySecret::generate(&prefix, ask.environment)?;
    let key = store::api_keys::insert(conn, &row(actor, hasher, ask, &secret, now)?)?;
    let deed = Deed::new("api_key.minted", target(key.id))
        .with("name", key.name.as_str())
        .with("hint", key.hint.as_str())
        .with("environment", key.environment.as_str())
        .with("scopes", key.scopes.clone());
    audit::record(conn, actor, deed, now)?;
    notify::send(conn, &Change::Key(key.public_id.clone()))?;
    Ok(MintedKey { key, secret })
}

fn row(actor: &Actor, hasher: &Hasher, ask: NewKey, secret: &KeySecret, now: DateTime<Utc>) -> Result<NewApiKey> {
    let stored = hasher.digest(secret.expose())?;
    Ok(NewApiKey {
        tenant_id: actor.tenant,
        user_id: actor.user,
        name: ask.name,
        description: ask.description,
        environment: ask.environment,
        public_id: secret.public_id(),
        key_prefix: secret.key_prefix(),
        hint: secret.hint(),
        hash_algorithm: stored.algorithm,
        pepper_id: stored.pepper_id,
        digest: stored.digest,
        scopes: ask.scopes,
        rate_limit: ask.rate_limit,
        rate_window_seconds: ask.rate_window_seconds,
        allowed_ips: ask.allowed_ips,
        owner: ask.owner,
        requires_owner: ask.requires_owner,
        metadata: ask.metadata,
        tags: ask.tags,
        is_active: ask.is_active,
        expires_at: ask.expires_at,
        created_at: now,
        updated_at: now,
    })
}

fn prefix_of_tenant(conn: &mut PgConnection, tenant: TenantId) -> Result<KeyPrefix> {
    let tenant = store::tenants::find(conn, tenant)?.ok_or(Error::NotFound(Noun::Tenant))?;
    KeyPrefix::parse(&tenant.key_prefix).map_err(Error::bug)
}

pub fn find(conn: &mut PgConnection, actor: &Actor, id: ApiKeyId) -> Result<ApiKey> {
    actor.must(Permission::ReadKeys)?;
    store::api_keys::find(conn, actor.tenant, id)?.ok_or(Error::NotFound(Noun::ApiKey))
}

/// Whose key it is: for callers who are of no tenant. `None` where there is no such key.
pub fn tenant_of(conn: &mut PgConnection, id: ApiKeyId) -> Result<Option<TenantId>> {
    store::api_keys::tenant_of(conn, id)
}

/// One page of keys, newest first. Whoever calls has made sure that the scope may be read.
pub fn list(
    conn: &mut PgConnection,
    scope: Scope,
    filter: &KeyFilter,
    paging: &Paging<ApiKeyId>,
    now: DateTime<Utc>,
) -> Result<Page<ApiKey, ApiKeyId>> {
    let rows = store::api_keys::list(conn, scope, filter, paging, now)?;
    let mut page = Page::cut(rows, paging, |key| key.id);
    if paging.offset.is_some() {
        page.total = Some(store::api_keys::count(conn, scope, filter, now)?);
    }
    Ok(page)
}

pub fn count(conn: &mut PgConnection, scope: Scope, filter: &KeyFilter, now: DateTime<Utc>) -> Result<i64> {
    store::api_keys::count(conn, scope, filter, now)
}

/// Changes what was asked and nothing else. A revoked key can be renamed, but not brought back to life.
pub fn update(
    conn: &mut PgConnection,
    actor: &Actor,
    id: ApiKeyId,
    change: &KeyChange,
    now: DateTime<Utc>,
) -> Result<ApiKey> {
    let before = to_change(conn, actor, id)?;
    if change.is_empty() {
        return Ok(before);
    }
    if before.revoked_at.is_some() && change.is_active == Some(true) {
        return Err(Error::conflict("this key is revoked, which is for good: make a new one"));
    }
    let after = store::api_keys::update(conn, actor.tenant, id, change, now)?.ok_or(Error::NotFound(Noun::ApiKey))?;
    let deed =
        Deed::new("api_key.updated", target(id)).with("name", after.name.as_str()).with("changed", change.fields());
    changed(conn, actor, after, deed, now)
}

pub fn activate(conn: &mut PgConnection, actor: &Actor, id: ApiKeyId, now: DateTime<Utc>) -> Result<ApiKey> {
    set_active(conn, actor, id, true, now)
}

pub fn deactivate(conn: &mut PgConnection, actor: &Actor, id: ApiKeyId, now: DateTime<Utc>) -> Result<ApiKey> {
    set_active(conn, actor, id, false, now)
}

fn set_active(
    conn: &mut PgConnection,
    actor: &Actor,
    id: ApiKeyId,
    is_active: bool,
    now: DateTime<Utc>,
) -> Result<ApiKey> {
    let before = to_change(conn, actor, id)?;
    // A revoked key goes on to `update`, which says that it stays so.
    if before.is_active == is_active && !(is_active && before.revoked_at.is_some()) {
        return Ok(before);
    }
    update(conn, actor, id, &KeyChange { is_active: Some(is_active), ..KeyChange::default() }, now)
}

/// Refuses the key for good. A key that is revoked already stays as it is.
pub fn revoke(
    conn: &mut PgConnection,
    actor: &Actor,
    id: ApiKeyId,
    reason: Option<&str>,
    now: DateTime<Utc>,
) -> Result<ApiKey> {
    let reason = reason.map(str::trim).filter(|reason| !reason.is_empty());
    let parsed = reason.map(|reason| text::line(reason, 200)).transpose();
    let reason = parsed.map_err(|rejection: Rejection| Error::field("reason", rejection))?;
    let before = to_change(conn, actor, id)?;
    let Some(after) = store::api_keys::revoke(conn, actor.tenant, id, reason.as_deref(), now)? else {
        return Ok(before);
    };
    let deed = Deed::new("api_key.revoked", target(id)).with("name", after.name.as_str()).with("reason", reason);
    changed(conn, actor, after, deed, now)
}

/// Takes the key out of sight; its usage stays. Returns what was deleted.
pub fn delete(conn: &mut PgConnection, actor: &Actor, id: ApiKeyId, now: DateTime<Utc>) -> Result<ApiKey> {
    let key = to_change(conn, actor, id)?;
    if !store::api_keys::delete(conn, actor.tenant, id, now)? {
        return Err(Error::NotFound(Noun::ApiKey));
    }
    let deed = Deed::new("api_key.deleted", target(id)).with("name", key.name.as_str());
    changed(conn, actor, key, deed, now)
}

/// The key, locked, if this actor may change it.
fn to_change(conn: &mut PgConnection, actor: &Actor, id: ApiKeyId) -> Result<ApiKey> {
    actor.must(Permission::WriteKeys)?;
    let key = store::api_keys::lock(conn, actor.tenant, id)?.ok_or(Error::NotFound(Noun::ApiKey))?;
    actor.must_own(Permission::WriteKeys, key.user_id)?;
    Ok(key)
}

fn changed(conn: &mut PgConnection, actor: &Actor, key: ApiKey, deed: Deed, now: DateTime<Utc>) -> Result<ApiKey> {
    audit::record(conn, actor, deed, now)?;
    notify::send(conn, &Change::Key(key.public_id.clone()))?;
    Ok(key)
}

fn target(id: ApiKeyId) -> String {
    format!("api_key:{id}")
}
