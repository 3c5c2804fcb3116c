//! Queries on `memberships`.

use chrono::{DateTime, Utc};
use diesel::prelude::*;

use crate::domain::{Result, Role, TenantId, UserId};
use crate::model::{Membership, Tenant};
use crate::schema::{memberships, tenants, users};

pub fn insert(
    conn: &mut PgConnection,
    tenant: TenantId,
    user: UserId,
    role: Role,
    now: DateTime<Utc>,
) -> Result<Membership> {
    let row = (
        memberships::tenant_id.eq(tenant),
        memberships::user_id.eq(user),
        memberships::role.eq(role),
        memberships::created_at.eq(now),
    );
    let added = diesel::insert_into(memberships::table).values(row).returning(Membership::as_returning());
    Ok(added.get_result(conn)?)
}

pub fn find(conn: &mut PgConnection, tenant: TenantId, user: UserId) -> Result<Option<Membership>> {
    let found = Membership::query().filter(memberships::tenant_id.eq(tenant)).filter(memberships::user_id.eq(user));
    Ok(found.first(conn).optional()?)
}

/// Where a user works, by the tenants' names.
pub fn list_of_user(conn: &mut PgConnection, user: UserId) -> Result<Vec<(Tenant, Role)>> {
    let found = memberships::table
        .inner_join(tenants::table)
        .filter(memberships::user_id.eq(user))
        .order(tenants::name)
        .select((Tenant::as_select(), memberships::role));
    Ok(found.load(conn)?)
}

/// Who works in a tenant, in the order in which they came.
pub fn list(conn: &mut PgConnection, tenant: TenantId) -> Result<Vec<(Membership, String, String)>> {
    let found = memberships::table
        .inner_join(users::table)
        .filter(memberships::tenant_id.eq(tenant))
        .order(memberships::id)
        .select((Membership::as_select(), users::email, users::name));
    Ok(found.load(conn)?)
}
