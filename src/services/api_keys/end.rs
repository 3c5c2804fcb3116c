//! Revocation, deletion and restoration of API keys.

use super::{changed, news, target, to_change};
use crate::domain::{Actor, ApiKeyId, Error, Noun, Permission, Rejection, Result, text};
use crate::model::ApiKey;
use crate::services::audit::AuditedAct;
use crate::services::plans::{self, LimitedResource};
use crate::store::{self, Tx};

/// Revokes the key for good. A revoked key stays as it is.
pub fn revoke(tx: &mut Tx<'_>, actor: &Actor, id: ApiKeyId, reason: Option<&str>) -> Result<ApiKey> {
    let now = tx.now;
    let reason = parse_reason(reason)?;
    let before = to_change(tx, actor, id)?;
    let revoked = store::api_keys::revoke(tx, actor.tenant, &[id], reason.as_deref(), now)?;
    let Some(after) = revoked.into_iter().next() else { return Ok(before) };
    let deed = deed_of_revocation(&after);
    news::tell(tx, news::REVOKED, std::slice::from_ref(&after))?;
    changed(tx, actor, after, deed)
}

/// Parses a reason: one line of at most 200 characters. An empty text counts as no reason.
pub(super) fn parse_reason(reason: Option<&str>) -> Result<Option<String>> {
    let reason = reason.map(str::trim).filter(|reason| !reason.is_empty());
    let parsed = reason.map(|reason| text::line(reason, 200)).transpose();
    parsed.map_err(|rejection: Rejection| Error::field("reason", rejection))
}

pub(super) fn deed_of_revocation(key: &ApiKey) -> AuditedAct {
    AuditedAct::new("api_key.revoked", target(key.id))
        .with("name", key.name.as_str())
        .with("reason", key.revoked_reason.clone())
}

/// Deletes the key and keeps its usage. Returns the deleted key.
pub fn delete(tx: &mut Tx<'_>, actor: &Actor, id: ApiKeyId) -> Result<ApiKey> {
    let now = tx.now;
    to_change(tx, actor, id)?;
    let deleted = store::api_keys::delete(tx, actor.tenant, &[id], now)?;
    let key = deleted.into_iter().next().ok_or(Error::NotFound(Noun::ApiKey))?;
    let deed = deed_of_deletion(&key);
    changed(tx, actor, key, deed)
}

pub(super) fn deed_of_deletion(key: &ApiKey) -> AuditedAct {
    AuditedAct::new("api_key.deleted", target(key.id)).with("name", key.name.as_str())
}

/// Restores a key that was deleted in the last 30 days, in its former state. A revoked key stays revoked.
pub fn restore(tx: &mut Tx<'_>, actor: &Actor, id: ApiKeyId) -> Result<ApiKey> {
    let now = tx.now;
    actor.must(Permission::WriteKeys)?;
    let kept = store::api_keys::lock_kept(tx, actor.tenant, id, now)?.ok_or(Error::NotFound(Noun::ApiKey))?;
    actor.must_own(Permission::WriteKeys, kept.user_id)?;
    if kept.deleted_at.is_none() {
        return Err(Error::conflict("this key is not deleted: there is nothing to restore"));
    }
    // A revoked or expired key does not count towards the plan.
    if kept.revoked_at.is_none() && kept.ends_at().is_none_or(|at| now < at) {
        plans::must_have_room(tx, actor.tenant, LimitedResource::Key)?;
    }
    let key = store::api_keys::restore(tx, actor.tenant, id, now)?.ok_or(Error::NotFound(Noun::ApiKey))?;
    let deed = AuditedAct::new("api_key.restored", target(id))
        .with("name", key.name.as_str())
        .with("state", key.state(now).as_str());
    changed(tx, actor, key, deed)
}
