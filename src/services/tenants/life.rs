//! Lifecycle of tenants: suspension, deletion, restoration and erasure.

use chrono::{DateTime, Utc};
use diesel::pg::PgConnection;

use super::super::Operator;
use super::super::audit::{self, AuditedAct};
use super::target;
use crate::domain::tenant::{self, TenantState};
use crate::domain::{Actor, Error, Noun, Permission, Result, TenantId};
use crate::model::Tenant;
use crate::store::notify::Change;
use crate::store::{self, Tx};

/// Suspends a tenant: from now on every replica refuses its keys and holds its deliveries. Its members can still read
/// pages, and the reason.
pub fn suspend(tx: &mut Tx<'_>, who: &Operator, tenant: TenantId, reason: Option<&str>) -> Result<Tenant> {
    let now = tx.now;
    let before = locked(tx, tenant)?;
    let reason = tenant::reason(reason.unwrap_or_default()).map_err(|rejection| Error::field("reason", rejection))?;
    let reason = reason.or_else(|| before.suspended_reason.clone());
    if before.suspended_at.is_some() && reason == before.suspended_reason {
        return Ok(before);
    }
    let since = before.suspended_at.unwrap_or(now);
    let after = store::tenants::update_state(tx, tenant, Some((since, reason.as_deref())), None, now)?;
    let deed = AuditedAct::new("tenant.suspended", target(tenant)).with("name", before.slug).with("reason", reason);
    audit::record_for_instance(tx, who, Some(tenant), deed)?;
    told(tx, after)
}

/// Resumes a tenant: its keys work again, and waiting deliveries are sent.
pub fn resume(tx: &mut Tx<'_>, who: &Operator, tenant: TenantId) -> Result<Tenant> {
    let now = tx.now;
    let before = locked(tx, tenant)?;
    if before.suspended_at.is_none() {
        return Ok(before);
    }
    let after = store::tenants::update_state(tx, tenant, None, None, now)?;
    let deed = AuditedAct::new("tenant.resumed", target(tenant)).with("name", before.slug);
    audit::record_for_instance(tx, who, Some(tenant), deed)?;
    tx.announce(Change::Delivery);
    told(tx, after)
}

/// Deletes a tenant: its keys and tokens are unknown, its deliveries wait, and its members lose access. It can be
/// restored for 30 days. Runs in `Scope::Instance`.
pub fn delete(tx: &mut Tx<'_>, who: &Operator, tenant: TenantId) -> Result<Tenant> {
    let now = tx.now;
    let before = locked(tx, tenant)?;
    let suspended = before.suspended_at.map(|at| (at, before.suspended_reason.as_deref()));
    let after = store::tenants::update_state(tx, tenant, suspended, Some(now), now)?;
    let deed = AuditedAct::new("tenant.deleted", target(tenant)).with("name", before.slug);
    audit::record_for_instance(tx, who, Some(tenant), deed)?;
    tx.announce(Change::Access);
    told(tx, after)
}

/// Deletes the actor's own tenant, which only an owner can do.
pub fn delete_own(tx: &mut Tx<'_>, actor: &Actor) -> Result<Tenant> {
    actor.must(Permission::DeleteTenant)?;
    delete(tx, &Operator::of(actor), actor.tenant)
}

/// Restores a deleted tenant to its former state. A suspended tenant stays suspended.
pub fn restore(tx: &mut Tx<'_>, who: &Operator, tenant: TenantId) -> Result<Tenant> {
    let now = tx.now;
    let before = store::tenants::lock(tx, tenant)?.ok_or(Error::NotFound(Noun::Tenant))?;
    if before.state() != TenantState::Deleted {
        return Err(Error::conflict("this tenant is not deleted"));
    }
    if before.erased_at().is_some_and(|at| at <= now) {
        return Err(Error::conflict("this tenant was deleted more than 30 days ago: it is being erased"));
    }
    let suspended = before.suspended_at.map(|at| (at, before.suspended_reason.as_deref()));
    let after = store::tenants::update_state(tx, tenant, suspended, None, now)?;
    let deed = AuditedAct::new("tenant.restored", target(tenant)).with("name", before.slug);
    audit::record_for_instance(tx, who, Some(tenant), deed)?;
    tx.announce(Change::Access);
    tx.announce(Change::Delivery);
    told(tx, after)
}

/// Deletes up to `limit` rows of a tenant that was deleted before a time. Returns `limit` while there is more to do.
/// The instance's audit log keeps the fact. Runs in `Scope::Instance`.
pub fn erase_old(tx: &mut Tx<'_>, before: DateTime<Utc>, limit: i64) -> Result<usize> {
    let Some(old) = store::tenants::erase::find_old(tx, before)? else { return Ok(0) };
    if store::tenants::erase::delete_some(tx, old.id, limit)? == 0 {
        store::tenants::erase::delete_rest(tx, old.id)?;
        let deed = AuditedAct::new("tenant.erased", target(old.id)).with("name", old.slug);
        audit::record_for_instance(tx, &Operator::system(), None, deed)?;
        tx.announce(Change::Tenant(old.id));
    }
    Ok(usize::try_from(limit).unwrap_or(usize::MAX))
}

/// Locks and returns a tenant that is not deleted.
fn locked(conn: &mut PgConnection, tenant: TenantId) -> Result<Tenant> {
    let found = store::tenants::lock(conn, tenant)?.filter(|tenant| tenant.deleted_at.is_none());
    found.ok_or(Error::NotFound(Noun::Tenant))
}

fn told(tx: &mut Tx<'_>, after: Option<Tenant>) -> Result<Tenant> {
    let after = after.ok_or(Error::NotFound(Noun::Tenant))?;
    tx.announce(Change::Tenant(after.id));
    Ok(after)
}
