//! Events about a tenant's API keys, sent to its webhooks. Their payload holds no secret.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::domain::webhook::EventType;
use crate::domain::{ApiKeyId, Error, Result, TenantId};
use crate::model::ApiKey;
use crate::services::events;
use crate::store::{self, Tx};

pub(super) const CREATED: &str = "api_key.created";
pub(super) const REVOKED: &str = "api_key.revoked";
pub(super) const ROTATED: &str = "api_key.rotated";
const EXPIRING: &str = "api_key.expiring";

/// Time before expiry at which `api_key.expiring` is sent.
const AHEAD: TimeDelta = TimeDelta::days(7);

/// Publishes an event of this type for each key. All keys belong to one tenant.
pub(super) fn tell(tx: &mut Tx<'_>, kind: &str, keys: &[ApiKey]) -> Result<()> {
    let Some(first) = keys.first() else { return Ok(()) };
    events::announce_wanted(tx, first.tenant_id, kind, keys.iter().map(facts))
}

fn facts(key: &ApiKey) -> Value {
    json!({"api_key": {
        "id": key.id, "key": key.public_id, "name": key.name, "environment": key.environment, "hint": key.hint,
        "owner": key.owner, "expires_at": key.expires_at, "revoked_at": key.revoked_at,
        "revoked_reason": key.revoked_reason, "rotated_from": key.rotation.rotated_from,
        "rotated_to": key.rotation.rotated_to, "rotates_out_at": key.rotation.rotates_out_at,
    }})
}

/// Publishes `api_key.expiring` for up to `most` keys of any tenant that expire within a week, once per expiry. Skips
/// keys whose tenant has no webhook for it. Returns the number of keys.
pub fn tell_of_expiring(tx: &mut Tx<'_>, most: i64) -> Result<usize> {
    let now = tx.now;
    let kind = EventType::parse(EXPIRING).map_err(|rejection| Error::bug(rejection.detail))?;
    let due = store::api_keys::mark_expiring(tx, &kind.patterns(), (now, now + AHEAD), most)?;
    let mut by_tenant: BTreeMap<TenantId, Vec<ApiKeyId>> = BTreeMap::new();
    for (tenant, key) in &due {
        by_tenant.entry(*tenant).or_default().push(*key);
    }
    for (tenant, ids) in by_tenant {
        let keys = store::api_keys::find_many(tx, tenant, &ids)?;
        tell(tx, EXPIRING, &keys)?;
    }
    Ok(due.len())
}
