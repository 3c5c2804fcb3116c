//! Queries on `tenants`.

use chrono::{DateTime, Utc};
use diesel::prelude::*;

use crate::domain::{Result, TenantId};
use crate::model::Tenant;
use crate::schema::tenants;

pub fn insert(conn: &mut PgConnection, name: &str, slug: &str, plan: &str, now: DateTime<Utc>) -> Result<Tenant> {
    let row = (
        tenants::name.eq(name),
        tenants::slug.eq(slug),
        tenants::plan.eq(plan),
        tenants::created_at.eq(now),
        tenants::updated_at.eq(now),
    );
    Ok(diesel::insert_into(tenants::table).values(row).returning(Tenant::as_returning()).get_result(conn)?)
}

pub fn find(conn: &mut PgConnection, tenant: TenantId) -> Result<Option<Tenant>> {
    Ok(Tenant::query().filter(tenants::id.eq(tenant)).first(conn).optional()?)
}

pub fn find_by_slug(conn: &mut PgConnection, slug: &str) -> Result<Option<Tenant>> {
    Ok(Tenant::query().filter(tenants::slug.eq(slug)).first(conn).optional()?)
}

/// Oldest first: a person's list of where to go.
pub fn list(conn: &mut PgConnection, limit: i64, offset: i64) -> Result<Vec<Tenant>> {
    Ok(Tenant::query().order(tenants::id).limit(limit).offset(offset).load(conn)?)
}

pub fn count(conn: &mut PgConnection) -> Result<i64> {
    Ok(tenants::table.count().get_result(conn)?)
}

pub fn update(
    conn: &mut PgConnection,
    tenant: TenantId,
    name: &str,
    plan: &str,
    is_active: bool,
    now: DateTime<Utc>,
) -> Result<Option<Tenant>> {
    let set =
        (tenants::name.eq(name), tenants::plan.eq(plan), tenants::is_active.eq(is_active), tenants::updated_at.eq(now));
    let changed = diesel::update(tenants::table.filter(tenants::id.eq(tenant))).set(set);
    Ok(changed.returning(Tenant::as_returning()).get_result(conn).optional()?)
}
