//! How a tenant is suspended and resumed, deleted and restored, and erased in the end.

use chrono::{DateTime, Utc};
use diesel::pg::PgConnection;

use super::super::Operator;
use super::super::audit::{self, Deed};
use super::target;
use crate::domain::tenant::{self, RESTORABLE_FOR, TenantState};
use crate::domain::{Actor, Error, Noun, Permission, Result, TenantId};
use crate::model::Tenant;
use crate::store;
use crate::store::notify::{self, Change};

/// Refuses its keys and holds its deliveries, from now on and in every process. Its people can still look around, and
/// read the reason.
pub fn suspend(
    conn: &mut PgConnection,
    who: &Operator,
    tenant: TenantId,
    reason: Option<&str>,
    now: DateTime<Utc>,
) -> Result<Tenant> {
    let before = locked(conn, tenant)?;
    let reason = tenant::reason(reason.unwrap_or_default()).map_err(|rejection| Error::field("reason", rejection))?;
    let reason = reason.or_else(|| before.suspended_reason.clone());
    if before.suspended_at.is_some() && reason == before.suspended_reason {
        return Ok(before);
    }
    let since = before.suspended_at.unwrap_or(now);
    let after = store::tenants::update_state(conn, tenant, Some((since, reason.as_deref())), None, now)?;
    let deed = Deed::new("tenant.suspended", target(tenant)).with("name", before.slug).with("reason", reason);
    audit::record_for_instance(conn, who, Some(tenant), deed, now)?;
    told(conn, after)
}

/// Lets its keys in again; what waited is delivered.
pub fn resume(conn: &mut PgConnection, who: &Operator, tenant: TenantId, now: DateTime<Utc>) -> Result<Tenant> {
    let before = locked(conn, tenant)?;
    if before.suspended_at.is_none() {
        return Ok(before);
    }
    let after = store::tenants::update_state(conn, tenant, None, None, now)?;
    let deed = Deed::new("tenant.resumed", target(tenant)).with("name", before.slug);
    audit::record_for_instance(conn, who, Some(tenant), deed, now)?;
    notify::send(conn, &Change::Delivery)?;
    told(conn, after)
}

/// Takes a tenant out of sight: its keys and tokens are unknown, its deliveries wait, nobody works in it. For 30 days it
/// can be restored. Runs in `Scope::Instance`.
pub fn delete(conn: &mut PgConnection, who: &Operator, tenant: TenantId, now: DateTime<Utc>) -> Result<Tenant> {
    let before = locked(conn, tenant)?;
    let suspended = before.suspended_at.map(|at| (at, before.suspended_reason.as_deref()));
    let after = store::tenants::update_state(conn, tenant, suspended, Some(now), now)?;
    let deed = Deed::new("tenant.deleted", target(tenant)).with("name", before.slug);
    audit::record_for_instance(conn, who, Some(tenant), deed, now)?;
    notify::send(conn, &Change::Access)?;
    told(conn, after)
}

/// The same, by an owner of it.
pub fn delete_own(conn: &mut PgConnection, actor: &Actor, now: DateTime<Utc>) -> Result<Tenant> {
    actor.must(Permission::DeleteTenant)?;
    delete(conn, &Operator::of(actor), actor.tenant, now)
}

/// As it was: a suspended one stays suspended.
pub fn restore(conn: &mut PgConnection, who: &Operator, tenant: TenantId, now: DateTime<Utc>) -> Result<Tenant> {
    let before = store::tenants::lock(conn, tenant)?.ok_or(Error::NotFound(Noun::Tenant))?;
    if before.state() != TenantState::Deleted {
        return Err(Error::conflict("this tenant is not deleted"));
    }
    if before.erased_at().is_some_and(|at| at <= now) {
        return Err(Error::conflict("this tenant was deleted more than 30 days ago: it is being erased"));
    }
    let suspended = before.suspended_at.map(|at| (at, before.suspended_reason.as_deref()));
    let after = store::tenants::update_state(conn, tenant, suspended, None, now)?;
    let deed = Deed::new("tenant.restored", target(tenant)).with("name", before.slug);
    audit::record_for_instance(conn, who, Some(tenant), deed, now)?;
    notify::send(conn, &Change::Access)?;
    notify::send(conn, &Change::Delivery)?;
    told(conn, after)
}

/// Deletes up to `limit` rows of a tenant that was deleted before a time; tells `limit` as long as there is more to do.
/// The instance's audit log keeps that there was one. Runs in `Scope::Instance`.
pub fn erase_old(conn: &mut PgConnection, before: DateTime<Utc>, limit: i64) -> Result<usize> {
    let Some(old) = store::tenants::erase::find_old(conn, before)? else { return Ok(0) };
    if store::tenants::erase::delete_some(conn, old.id, limit)? == 0 {
        store::tenants::erase::delete_rest(conn, old.id)?;
        let deed = Deed::new("tenant.erased", target(old.id)).with("name", old.slug);
        audit::record_for_instance(conn, &Operator::system(), None, deed, before + RESTORABLE_FOR)?;
        notify::send(conn, &Change::Tenant(old.id))?;
    }
    Ok(usize::try_from(limit).unwrap_or(usize::MAX))
}

/// One that is not deleted, while nobody else changes it.
fn locked(conn: &mut PgConnection, tenant: TenantId) -> Result<Tenant> {
    let found = store::tenants::lock(conn, tenant)?.filter(|tenant| tenant.deleted_at.is_none());
    found.ok_or(Error::NotFound(Noun::Tenant))
}

fn told(conn: &mut PgConnection, after: Option<Tenant>) -> Result<Tenant> {
    let after = after.ok_or(Error::NotFound(Noun::Tenant))?;
    notify::send(conn, &Change::Tenant(after.id))?;
    Ok(after)
}
