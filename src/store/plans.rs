//! Queries on `plans`, and on the tenants' numbers that plans limit.

use chrono::{DateTime, Utc};
use diesel::prelude::*;

use crate::domain::{Result, TenantId};
use crate::model::Plan;
use crate::schema::{memberships, plans, tenants, webhooks};

/// Lists all plans, the smallest first.
pub fn list(conn: &mut PgConnection) -> Result<Vec<Plan>> {
    Ok(Plan::query().order((plans::max_keys.asc().nulls_last(), plans::name)).load(conn)?)
}

/// Finds a plan by its name.
pub fn find(conn: &mut PgConnection, name: &str) -> Result<Option<Plan>> {
    Ok(Plan::query().filter(plans::name.eq(name)).first(conn).optional()?)
}

/// Finds a plan and locks it: until this transaction ends, no other changes it.
pub fn lock(conn: &mut PgConnection, name: &str) -> Result<Option<Plan>> {
    Ok(Plan::query().filter(plans::name.eq(name)).for_no_key_update().first(conn).optional()?)
}

/// Finds the plan of a tenant.
pub fn find_of_tenant(conn: &mut PgConnection, tenant: TenantId) -> Result<Option<Plan>> {
    let found = tenants::table.inner_join(plans::table).filter(tenants::id.eq(tenant)).select(Plan::as_select());
    Ok(found.first(conn).optional()?)
}

/// Replaces all limits of a plan.
pub fn update(conn: &mut PgConnection, plan: &Plan, now: DateTime<Utc>) -> Result<()> {
    let set = (
        plans::max_keys.eq(plan.max_keys),
        plans::max_webhooks.eq(plan.max_webhooks),
        plans::max_members.eq(plan.max_members),
        plans::max_events_per_month.eq(plan.max_events_per_month),
        plans::default_rate_limit.eq(plan.default_rate_limit),
        plans::max_rate_limit.eq(plan.max_rate_limit),
        plans::updated_at.eq(now),
    );
    diesel::update(plans::table.filter(plans::name.eq(&plan.name))).set(set).execute(conn)?;
    Ok(())
}

/// Counts the webhooks of a tenant that are not deleted.
pub fn count_webhooks(conn: &mut PgConnection, tenant: TenantId) -> Result<i64> {
    let found = webhooks::table.filter(webhooks::tenant_id.eq(tenant)).filter(webhooks::deleted_at.is_null());
    Ok(found.count().get_result(conn)?)
}

/// Counts the members of a tenant.
pub fn count_members(conn: &mut PgConnection, tenant: TenantId) -> Result<i64> {
    Ok(memberships::table.filter(memberships::tenant_id.eq(tenant)).count().get_result(conn)?)
}
