//! API keys: creation, changes, lists and export. Submodules hold rotation, revocation, deletion and bulk acts.

mod bulk;
mod end;
mod granted_scopes;
mod lineage;
mod news;
mod rotation;

use chrono::{DateTime, Utc};
use diesel::pg::PgConnection;
use serde_json::Value;

use super::audit::{self, AuditedAct};
use super::idempotency::{self, IdempotencyKey, IdempotencyOutcome};
use super::plans::{self, LimitedResource};
use crate::domain::api_key::{KeyChange, KeyMark, KeyPrefix, KeySecret, KeySort, NewKey, SortValue};
use crate::domain::digest::Hasher;
use crate::domain::page::{Page, Paging};
use crate::domain::quota::QuotaState;
use crate::domain::{Actor, ApiKeyId, Error, Noun, Permission, Result, TenantId};
use crate::model::{ApiKey, NewApiKey};
pub use crate::store::api_keys::KeyFilter;
use crate::store::notify::Change;
use crate::store::{self, Scope, Tx};
pub use bulk::{Bulk, chosen, delete_many, revoke_many, tag_many};
pub use end::{delete, restore, revoke};
pub use lineage::{LineageNeighbors, MOST_ALIKE, matching, neighbors};
pub use news::tell_of_expiring;
pub use rotation::{Rotated, rotate, rotate_once};

/// New API key with its secret, which is stored nowhere.
#[derive(Debug)]
pub struct MintedKey {
    pub key: ApiKey,
    pub secret: KeySecret,
}

/// Creates a key like [`mint`], once per idempotency key. The hash tells whether a repeated request is the same.
/// `shown` builds the stored response from the key's row, which holds no secret.
pub fn mint_once(
    tx: &mut Tx<'_>,
    actor: &Actor,
    hasher: &Hasher,
    ask: NewKey,
    request: (&IdempotencyKey, &[u8]),
    shown: impl Fn(&ApiKey) -> Result<Value>,
) -> Result<IdempotencyOutcome<MintedKey>> {
    actor.must(Permission::WriteKeys)?;
    let work = |tx: &mut Tx<'_>| mint(tx, actor, hasher, ask);
    idempotency::create_once(tx, actor.tenant, ("api_keys", request), work, |_, minted| shown(&minted.key))
}

/// Creates a key. The secret exists only in the returned value.
pub fn mint(tx: &mut Tx<'_>, actor: &Actor, hasher: &Hasher, ask: NewKey) -> Result<MintedKey> {
    let now = tx.now;
    actor.must(Permission::WriteKeys)?;
    granted_scopes::must_hold(actor, &[], &ask.scopes)?;
    plans::must_have_room(tx, actor.tenant, LimitedResource::Key)?;
    let plan = plans::of_tenant(tx, actor.tenant)?;
    let rate_limit = ask.rate_limit.unwrap_or(plan.default_rate_limit);
    if ask.rate_limit.is_some() {
        plans::must_allow_rate(&plan, rate_limit, ask.rate_window_seconds)?;
    }
    let prefix = match &ask.prefix {
        Some(prefix) => prefix.clone(),
        None => prefix_of_tenant(tx, actor.tenant)?,
    };
    let secret = KeySecret::generate(&prefix, ask.environment)?;
    let shared = (ask.limits.clone(), ask.quota);
    let mut key = store::api_keys::insert(tx, &row(actor, hasher, ask, rate_limit, &secret, now)?)?;
    if !shared.0.is_empty() || shared.1.is_some() {
        store::key_limits::put(tx, key.tenant_id, key.lineage_id, (&shared.0, shared.1), now)?;
        key = store::api_keys::find(tx, key.tenant_id, key.id)?.ok_or(Error::NotFound(Noun::ApiKey))?;
    }
    let deed = AuditedAct::new("api_key.minted", target(key.id))
        .with("name", key.name.as_str())
        .with("hint", key.hint.as_str())
        .with("environment", key.environment.as_str())
        .with("scopes", key.scopes.clone());
    audit::record(tx, actor, deed)?;
    tx.announce(Change::Key(key.public_id.clone()));
    news::tell(tx, news::CREATED, std::slice::from_ref(&key))?;
    Ok(MintedKey { key, secret })
}

fn row(
    actor: &Actor,
    hasher: &Hasher,
    ask: NewKey,
    rate_limit: i64,
    secret: &KeySecret,
    now: DateTime<Utc>,
) -> Result<NewApiKey> {
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
        rate_limit,
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
        lineage_id: None,
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

/// Returns the tenant of a key, deleted or not, for callers without a tenant. `None` if there is no such key.
pub fn tenant_of(conn: &mut PgConnection, id: ApiKeyId) -> Result<Option<TenantId>> {
    store::api_keys::tenant_of(conn, id)
}

/// Returns scopes that this tenant's keys have, to suggest for a new key. Leaves out the scopes in `but`.
pub fn scopes_given(conn: &mut PgConnection, actor: &Actor, but: &[&str]) -> Result<Vec<String>> {
    const MOST: i64 = 40;
    actor.must(Permission::WriteKeys)?;
    store::api_keys::scopes_given(conn, actor.tenant, but, MOST)
}

/// Returns one page of keys in this order. The caller has checked that the actor may read the scope.
pub fn list(
    tx: &mut Tx<'_>,
    scope: Scope,
    filter: &KeyFilter,
    sort: KeySort,
    paging: &Paging<KeyMark>,
) -> Result<Page<ApiKey, KeyMark>> {
    let now = tx.now;
    let rows = store::api_keys::list(tx, scope, filter, sort, paging, now)?;
    let mut page = Page::cut(rows, paging, |key| mark(key, sort));
    if paging.offset.is_some() {
        page.total = Some(store::api_keys::count(tx, scope, filter, now)?);
    }
    Ok(page)
}

/// Returns the next rows of an export and the cursor for the rest. The caller has checked that the actor may read the
/// scope.
pub fn export(
    tx: &mut Tx<'_>,
    scope: Scope,
    filter: &KeyFilter,
    sort: KeySort,
    after: Option<&KeyMark>,
) -> Result<(Vec<ApiKey>, Option<KeyMark>)> {
    let now = tx.now;
    const BATCH: i64 = 1_000;
    let rows = store::api_keys::list_after(tx, scope, filter, sort, after, BATCH, now)?;
    let is_full = i64::try_from(rows.len()).is_ok_and(|count| count == BATCH);
    let next = rows.last().filter(|_| is_full).map(|key| mark(key, sort));
    Ok((rows, next))
}

/// Returns a key's cursor in a list of this order.
pub fn mark(key: &ApiKey, sort: KeySort) -> KeyMark {
    let place = match sort {
        KeySort::Newest => SortValue::Newest,
        KeySort::Name => SortValue::Name(key.name.clone()),
        KeySort::LastUsed => SortValue::LastUsed(key.last_used_at),
        KeySort::Expires => SortValue::Expires(key.expires_at),
    };
    KeyMark { place, id: key.id }
}

pub fn count(tx: &mut Tx<'_>, scope: Scope, filter: &KeyFilter) -> Result<i64> {
    let now = tx.now;
    store::api_keys::count(tx, scope, filter, now)
}

/// Returns the quota of a key's lineage and what is left of it. Quota leased by replicas counts as used.
pub fn quota(tx: &mut Tx<'_>, actor: &Actor, key: &ApiKey) -> Result<Option<QuotaState>> {
    let now = tx.now;
    actor.must(Permission::ReadKeys)?;
    let found = store::key_limits::find(tx, actor.tenant, key.lineage_id)?;
    Ok(found.and_then(|left| left.standing(now)))
}

/// Applies the given fields and no others. A revoked key can be renamed, but not reactivated.
pub fn update(tx: &mut Tx<'_>, actor: &Actor, id: ApiKeyId, change: &KeyChange) -> Result<ApiKey> {
    let now = tx.now;
    if change.is_of_limit() {
        // A limit belongs to the whole lineage. Its keys are locked in id order, as in all other transactions, to
        // avoid deadlocks.
        let lineage = store::api_keys::lock_lineage_of(tx, actor.tenant, id)?;
        tx.announce_all(lineage.into_iter().map(Change::Key));
    }
    let before = to_change(tx, actor, id)?;
    if change.is_empty() {
        return Ok(before);
    }
    if before.revoked_at.is_some() && change.is_active == Some(true) {
        return Err(Error::conflict("this key is permanently revoked: create a new key"));
    }
    if let Some(scopes) = &change.scopes {
        granted_scopes::must_hold(actor, &before.scopes, scopes)?;
    }
    must_fit_plan(tx, &before, change)?;
    if change.limits.is_some() || change.quota.is_some() {
        let limits = change.limits.clone().unwrap_or_else(|| before.named_limits());
        let quota = change.quota.unwrap_or_else(|| before.quota());
        store::key_limits::put(tx, actor.tenant, before.lineage_id, (&limits, quota), now)?;
    }
    let after = store::api_keys::update(tx, actor.tenant, id, change, now)?.ok_or(Error::NotFound(Noun::ApiKey))?;
    if change.is_of_limit() {
        // The lineage shares one counter, so all of its keys get this limit.
        store::api_keys::share_limit(tx, &after, now)?;
    }
    let deed = AuditedAct::new("api_key.updated", target(id))
        .with("name", after.name.as_str())
        .with("changed", change.fields())
        .changing(facts(&before), facts(&after));
    changed(tx, actor, after, deed)
}

/// Checks a change against the plan: a higher rate limit, or an expired key that becomes active again.
fn must_fit_plan(tx: &mut Tx<'_>, before: &ApiKey, change: &KeyChange) -> Result<()> {
    let now = tx.now;
    if change.rate_limit.is_some() || change.rate_window_seconds.is_some() {
        let limit = change.rate_limit.unwrap_or(before.rate_limit);
        let window = change.rate_window_seconds.unwrap_or(before.rate_window_seconds);
        // An unchanged limit is kept even if the plan has shrunk: forms send every field.
        if (limit, window) != (before.rate_limit, before.rate_window_seconds) {
            plans::must_allow_rate(&plans::of_tenant(tx, before.tenant_id)?, limit, window)?;
        }
    }
    let is_back =
        change.expires_at.is_some() && before.revoked_at.is_none() && before.expires_at.is_some_and(|at| at <= now);
    if is_back {
        plans::must_have_room(tx, before.tenant_id, LimitedResource::Key)?;
    }
    Ok(())
}

/// Returns `Conflict` if the key changed since `seen`. Locks the key until the transaction ends.
pub fn must_be_as_seen(conn: &mut PgConnection, actor: &Actor, id: ApiKeyId, seen: DateTime<Utc>) -> Result<()> {
    let is_same = to_change(conn, actor, id)?.updated_at == seen;
    if is_same {
        Ok(())
    } else {
        Err(Error::conflict("this key was changed in the meantime: load it again, then repeat your change"))
    }
}

pub fn activate(tx: &mut Tx<'_>, actor: &Actor, id: ApiKeyId) -> Result<ApiKey> {
    set_active(tx, actor, id, true)
}

pub fn deactivate(tx: &mut Tx<'_>, actor: &Actor, id: ApiKeyId) -> Result<ApiKey> {
    set_active(tx, actor, id, false)
}

fn set_active(tx: &mut Tx<'_>, actor: &Actor, id: ApiKeyId, is_active: bool) -> Result<ApiKey> {
    let before = to_change(tx, actor, id)?;
    // A revoked key goes on to `update`, which returns the error.
    if before.is_active == is_active && !(is_active && before.revoked_at.is_some()) {
        return Ok(before);
    }
    update(tx, actor, id, &KeyChange { is_active: Some(is_active), ..KeyChange::default() })
}

/// Locks and returns the key if this actor may change it.
fn to_change(conn: &mut PgConnection, actor: &Actor, id: ApiKeyId) -> Result<ApiKey> {
    actor.must(Permission::WriteKeys)?;
    let key = store::api_keys::lock(conn, actor.tenant, id)?.ok_or(Error::NotFound(Noun::ApiKey))?;
    actor.must_own(Permission::WriteKeys, key.user_id)?;
    Ok(key)
}

fn changed(tx: &mut Tx<'_>, actor: &Actor, key: ApiKey, deed: AuditedAct) -> Result<ApiKey> {
    audit::record(tx, actor, deed)?;
    tx.announce(Change::Key(key.public_id.clone()));
    Ok(key)
}

/// Returns a key's settings for the audit log. Metadata is reduced to its names, since its values may be secret.
fn facts(key: &ApiKey) -> serde_json::Value {
    let metadata: Vec<&String> = key.metadata.as_object().map(|all| all.keys().collect()).unwrap_or_default();
    serde_json::json!({
        "name": key.name, "description": key.description, "environment": key.environment, "scopes": key.scopes,
        "rate_limit": key.rate_limit, "rate_window_seconds": key.rate_window_seconds, "limits": key.named_limits(),
        "quota": key.quota().map(|quota| (quota.quota, quota.refill)), "allowed_ips": key.allowed_ips, "owner": key.owner,
        "requires_owner": key.requires_owner, "metadata": metadata, "tags": key.tags, "is_active": key.is_active,
        "expires_at": key.expires_at,
    })
}

fn target(id: ApiKeyId) -> String {
    format!("api_key:{id}")
}
