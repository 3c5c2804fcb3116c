//! Bulk acts on API keys: for admins, in one transaction, with an audit entry per key.

use std::collections::HashMap;

use diesel::pg::PgConnection;
use serde_json::{Value, json};

use super::end::{deed_of_deletion, deed_of_revocation, parse_reason};
use super::{news, target};
use crate::domain::api_key::{Selection, TagChange};
use crate::domain::{Actor, ApiKeyId, Permission, Result};
use crate::model::ApiKey;
use crate::services::audit::{self, AuditedAct};
use crate::store::notify::Change;
use crate::store::{self, Tx};

/// Result of a bulk act.
#[derive(Debug)]
pub struct Bulk {
    /// Keys in their state after the act.
    pub affected: Vec<ApiKey>,
    /// Ids that do not exist in this tenant, or that needed no change.
    pub skipped: Vec<ApiKeyId>,
}

/// Returns the chosen keys that exist, for the confirmation page.
pub fn chosen(conn: &mut PgConnection, actor: &Actor, chosen: &Selection) -> Result<Vec<ApiKey>> {
    actor.must(Permission::WriteManyKeys)?;
    store::api_keys::find_many(conn, actor.tenant, chosen.ids())
}

/// Revokes all of the chosen keys for good. Revoked keys are skipped.
pub fn revoke_many(tx: &mut Tx<'_>, actor: &Actor, chosen: &Selection, reason: Option<&str>) -> Result<Bulk> {
    let now = tx.now;
    let reason = parse_reason(reason)?;
    let ids = locked(tx, actor, chosen)?.into_iter().map(|key| key.id).collect::<Vec<_>>();
    let affected = store::api_keys::revoke(tx, actor.tenant, &ids, reason.as_deref(), now)?;
    news::tell(tx, news::REVOKED, &affected)?;
    done(tx, actor, chosen, affected, deed_of_revocation)
}

/// Deletes all of the chosen keys. Each can be restored by itself.
pub fn delete_many(tx: &mut Tx<'_>, actor: &Actor, chosen: &Selection) -> Result<Bulk> {
    let now = tx.now;
    let ids = locked(tx, actor, chosen)?.into_iter().map(|key| key.id).collect::<Vec<_>>();
    let affected = store::api_keys::delete(tx, actor.tenant, &ids, now)?;
    done(tx, actor, chosen, affected, deed_of_deletion)
}

/// Adds and removes tags. Skips keys that need no change, or that would have more than 20 tags.
pub fn tag_many(tx: &mut Tx<'_>, actor: &Actor, chosen: &Selection, change: &TagChange) -> Result<Bulk> {
    let now = tx.now;
    let keys = locked(tx, actor, chosen)?;
    let before: HashMap<_, _> = keys.iter().map(|key| (key.id, key.tags.clone())).collect();
    let tagged = keys.into_iter().filter_map(|key| change.apply(&key.tags).map(|tags| ApiKey { tags, ..key }));
    let affected: Vec<ApiKey> = tagged.collect();
    let tags: Vec<_> = affected.iter().map(|key| (key.id, Value::from(key.tags.clone()))).collect();
    store::api_keys::update_tags(tx, actor.tenant, &tags, now)?;
    let deed = |key: &ApiKey| {
        AuditedAct::new("api_key.updated", target(key.id))
            .with("name", key.name.as_str())
            .with("changed", vec!["tags"])
            .changing(json!({"tags": before.get(&key.id)}), json!({"tags": key.tags}))
    };
    done(tx, actor, chosen, affected, deed)
}

fn locked(conn: &mut PgConnection, actor: &Actor, chosen: &Selection) -> Result<Vec<ApiKey>> {
    actor.must(Permission::WriteManyKeys)?;
    store::api_keys::lock_many(conn, actor.tenant, chosen.ids())
}

fn done(
    tx: &mut Tx<'_>,
    actor: &Actor,
    chosen: &Selection,
    mut affected: Vec<ApiKey>,
    deed: impl Fn(&ApiKey) -> AuditedAct,
) -> Result<Bulk> {
    affected.sort_unstable_by_key(|key| key.id);
    let is_affected = |id: &ApiKeyId| affected.binary_search_by_key(id, |key| key.id).is_ok();
    let skipped = chosen.ids().iter().copied().filter(|id| !is_affected(id)).collect();
    audit::record_all(tx, actor, affected.iter().map(deed).collect())?;
    tx.announce_all(affected.iter().map(|key| Change::Key(key.public_id.clone())));
    Ok(Bulk { affected, skipped })
}
