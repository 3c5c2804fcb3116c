//! Rotation: replaces a key with a successor of equal settings and a new secret. The old key works on during an
//! overlap.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{MintedKey, granted_scopes, news, prefix_of_tenant, target};
use crate::domain::api_key::{KeySecret, Overlap, prefix_of};
use crate::domain::digest::Hasher;
use crate::domain::{Actor, ApiKeyId, Error, Noun, Permission, Result};
use crate::model::{ApiKey, NewApiKey};
use crate::services::audit::{self, AuditedAct};
use crate::services::idempotency::{self, IdempotencyKey, IdempotencyOutcome};
use crate::store::notify::Change;
use crate::store::{self, Scope, Tx};

/// Successor with its secret, and the key that it replaces.
#[derive(Debug)]
pub struct Rotated {
    pub minted: MintedKey,
    pub replaced: ApiKey,
}

/// Rotates a key like [`rotate`], once per idempotency key. Works like [`super::mint_once`].
pub fn rotate_once(
    tx: &mut Tx<'_>,
    actor: &Actor,
    hasher: &Hasher,
    (id, overlap): (ApiKeyId, Overlap),
    request: (&IdempotencyKey, &[u8]),
    shown: impl Fn(&ApiKey) -> Result<Value>,
) -> Result<IdempotencyOutcome<Rotated>> {
    actor.must(Permission::WriteKeys)?;
    let work = |tx: &mut Tx<'_>| rotate(tx, actor, hasher, id, overlap);
    let shown = |_: &mut Tx<'_>, rotated: &Rotated| shown(&rotated.minted.key);
    idempotency::create_once(tx, actor.tenant, ("api_keys/rotation", request), work, shown)
}

/// Makes the key's successor. The second of two concurrent calls fails, since the successor exists.
pub fn rotate(tx: &mut Tx<'_>, actor: &Actor, hasher: &Hasher, id: ApiKeyId, overlap: Overlap) -> Result<Rotated> {
    let now = tx.now;
    let old = to_rotate(tx, actor, id)?;
    let prefix = match prefix_of(&old.key_prefix) {
        Some(prefix) => prefix,
        None => prefix_of_tenant(tx, actor.tenant)?,
    };
    let secret = KeySecret::generate(&prefix, old.environment)?;
    // Replace the old key before the insert: a unique index allows one newest key per lineage.
    if !store::api_keys::replace(tx, actor.tenant, id, overlap.end(now), now)? {
        return Err(Error::conflict("this key was already rotated: rotate its successor"));
    }
    let key = store::api_keys::insert(tx, &successor(&old, hasher, &secret, now)?)?;
    let replaced = store::api_keys::find(tx, actor.tenant, id)?.ok_or(Error::NotFound(Noun::ApiKey))?;
    audit::record_all(tx, actor, deeds(&replaced, &key, overlap))?;
    tx.announce_all([&replaced, &key].map(|key| Change::Key(key.public_id.clone())));
    news::tell(tx, news::ROTATED, std::slice::from_ref(&replaced))?;
    Ok(Rotated { minted: MintedKey { key, secret }, replaced })
}

/// Locks and returns the key if this actor can rotate it.
fn to_rotate(tx: &mut Tx<'_>, actor: &Actor, id: ApiKeyId) -> Result<ApiKey> {
    let now = tx.now;
    actor.must(Permission::WriteKeys)?;
    let key = store::api_keys::lock_kept(tx, actor.tenant, id, now)?.ok_or(Error::NotFound(Noun::ApiKey))?;
    actor.must_own(Permission::WriteKeys, key.user_id)?;
    granted_scopes::must_hold(actor, &[], &key.scopes)?;
    if key.deleted_at.is_some() {
        return Err(Error::conflict("this key is deleted: restore it, then rotate it"));
    }
    if key.revoked_at.is_some() {
        return Err(Error::conflict("this key is permanently revoked: create a new key"));
    }
    if key.rotation.rotates_out_at.is_some() {
        // After a wait for the lock, the row is current but its joined relatives are not, so both are read again.
        let now_known = store::api_keys::find_kept(tx, Scope::Tenant(actor.tenant), id, now)?.unwrap_or(key);
        return Err(Error::conflict(match now_known.rotation.rotated_to {
            Some(successor) => {
                format!("this key was already rotated: rotate its successor, key {successor}")
            }
            None => "this key was already rotated, and its successor was deleted: create a new key".to_owned(),
        }));
    }
    if key.expires_at.is_some_and(|at| at <= now) {
        return Err(Error::conflict("this key has expired: set a later expiry, or none, then rotate it"));
    }
    Ok(key)
}

/// Copies all settings of the old key with a new secret.
fn successor(old: &ApiKey, hasher: &Hasher, secret: &KeySecret, now: DateTime<Utc>) -> Result<NewApiKey> {
    let stored = hasher.digest(secret.expose())?;
    Ok(NewApiKey {
        tenant_id: old.tenant_id,
        user_id: old.user_id,
        name: old.name.clone(),
        description: old.description.clone(),
        environment: old.environment,
        public_id: secret.public_id(),
        key_prefix: secret.key_prefix(),
        hint: secret.hint(),
        hash_algorithm: stored.algorithm,
        pepper_id: stored.pepper_id,
        digest: stored.digest,
        scopes: old.scopes.clone(),
        rate_limit: old.rate_limit,
        rate_window_seconds: old.rate_window_seconds,
        allowed_ips: old.allowed_ips.clone(),
        owner: old.owner.clone(),
        requires_owner: old.requires_owner,
        metadata: old.metadata.clone(),
        tags: old.tags.clone(),
        is_active: old.is_active,
        expires_at: old.expires_at,
        created_at: now,
        updated_at: now,
        lineage_id: Some(old.lineage_id),
    })
}

/// Returns the audit entries of both keys.
fn deeds(old: &ApiKey, new: &ApiKey, overlap: Overlap) -> Vec<AuditedAct> {
    let rotated = AuditedAct::new("api_key.rotated", target(old.id))
        .with("name", old.name.as_str())
        .with("rotated_to", new.id.0)
        .with("overlap_seconds", overlap.seconds())
        .with("rotates_out_at", old.rotation.rotates_out_at.map(|at| at.to_rfc3339()));
    let minted = AuditedAct::new("api_key.minted", target(new.id))
        .with("name", new.name.as_str())
        .with("hint", new.hint.as_str())
        .with("environment", new.environment.as_str())
        .with("scopes", new.scopes.clone())
        .with("rotated_from", old.id.0);
    vec![rotated, minted]
}
