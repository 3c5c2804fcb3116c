//! Settings of a tenant that its own admins change: name, key prefix and time zone.

use chrono::{DateTime, Utc};

use super::super::audit::{self, AuditedAct};
use super::{TenantRef, facts, find, target};
use crate::domain::api_key::KeyPrefix;
use crate::domain::{Actor, Error, FieldErrors, Noun, Permission, Result, tenant, text};
use crate::model::Tenant;
use crate::store::notify::Change;
use crate::store::tenants::TenantSet;
use crate::store::{self, Tx};

/// Change of settings. `None` leaves a setting as it is, `Some(None)` clears it.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    pub name: Option<String>,
    /// Text that secrets of new API keys begin with.
    pub key_prefix: Option<String>,
    /// Zone in which pages show times, as in `Europe/Vienna`.
    pub time_zone: Option<Option<String>>,
    /// Time of the settings' last change known to the caller. If they have changed since, the update is refused.
    /// `None` skips the check.
    pub seen: Option<DateTime<Utc>>,
}

/// Changes the settings of the actor's tenant.
///
/// # Errors
/// `Conflict` if the settings changed since `seen`.
pub fn configure(tx: &mut Tx<'_>, actor: &Actor, ask: Settings) -> Result<Tenant> {
    let now = tx.now;
    actor.must(Permission::WriteTenant)?;
    let mut errors = FieldErrors::default();
    let name = ask.name.map(|name| errors.take("name", text::name(&name)).unwrap_or_default());
    let prefix = ask.key_prefix.map(|prefix| errors.take("key_prefix", KeyPrefix::parse(prefix.trim())));
    let zone = ask.time_zone.map(|zone| zone.filter(|zone| !zone.trim().is_empty()));
    let zone = zone.map(|zone| zone.and_then(|zone| errors.take("time_zone", tenant::time_zone(&zone))));
    if let Some(Some(zone)) = &zone
        && !store::tenants::knows_zone(tx, zone)?
    {
        errors.add("time_zone", tenant::no_zone());
    }
    if !errors.is_empty() {
        return Err(errors.into());
    }
    let before = store::tenants::lock(tx, actor.tenant)?.ok_or(Error::NotFound(Noun::Tenant))?;
    if ask.seen.is_some_and(|seen| seen != before.updated_at) {
        return Err(Error::conflict(
            "these settings were changed in the meantime: load them again, then repeat your change",
        ));
    }
    let prefix = prefix.flatten();
    let set = TenantSet {
        name: name.as_deref(),
        key_prefix: prefix.as_ref().map(KeyPrefix::as_str),
        time_zone: zone.as_ref().map(Option::as_deref),
        ..TenantSet::default()
    };
    let is_same = set.name.is_none_or(|name| name == before.name)
        && set.key_prefix.is_none_or(|prefix| prefix == before.key_prefix)
        && set.time_zone.is_none_or(|zone| zone == before.time_zone.as_deref());
    if is_same {
        return find(tx, &TenantRef::Id(actor.tenant));
    }
    let after = store::tenants::update(tx, actor.tenant, &set, now)?.ok_or(Error::NotFound(Noun::Tenant))?;
    let deed = AuditedAct::new("tenant.updated", target(actor.tenant)).with("name", after.slug.as_str());
    audit::record(tx, actor, deed.changing(facts(&before), facts(&after)))?;
    tx.announce(Change::Tenant(actor.tenant));
    Ok(after)
}
