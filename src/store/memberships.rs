//! Queries on `memberships`.

use chrono::{DateTime, Utc};
use diesel::dsl::Or;
use diesel::prelude::*;

use crate::domain::page::Paging;
use crate::domain::{MembershipId, Result, Role, TenantId, UserId, email};
use crate::model::{Membership, Tenant, User};
use crate::schema::{memberships, tenants, users};
use crate::store::search::{Contains, contain};

/// Inserts a membership and returns its row.
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

/// Finds the membership of a user.
pub fn find(conn: &mut PgConnection, tenant: TenantId, user: UserId) -> Result<Option<Membership>> {
    let found = Membership::query().filter(memberships::tenant_id.eq(tenant)).filter(memberships::user_id.eq(user));
    Ok(found.first(conn).optional()?)
}

/// Lists the tenants of a user with their roles, ordered by name. Deleted tenants are left out.
pub fn list_of_user(conn: &mut PgConnection, user: UserId) -> Result<Vec<(Tenant, Role)>> {
    let found = memberships::table
        .inner_join(tenants::table)
        .filter(memberships::user_id.eq(user))
        .filter(tenants::deleted_at.is_null())
        .order(tenants::name)
        .select((Tenant::as_select(), memberships::role));
    Ok(found.load(conn)?)
}

/// Lists the members of a tenant, in the order in which they joined.
pub fn list(conn: &mut PgConnection, tenant: TenantId) -> Result<Vec<(Membership, User)>> {
    let found = memberships::table
        .inner_join(users::table)
        .filter(memberships::tenant_id.eq(tenant))
        .order(memberships::id)
        .select((Membership::as_select(), User::as_select()));
    Ok(found.load(conn)?)
}

/// True for members whose name or e-mail address contains `search`. Every text contains an empty one.
fn matching(search: Option<&str>) -> Or<Contains, Contains> {
    let search = search.unwrap_or_default();
    contain("users.email, users.name", search).or(contain("users.email", &email::search(search)))
}

/// Returns one page of a tenant's members, newest first; oldest first if `paging.after` is set. `search` filters by
/// name or e-mail address.
pub fn page(
    conn: &mut PgConnection,
    tenant: TenantId,
    search: Option<&str>,
    paging: &Paging<MembershipId>,
) -> Result<Vec<(Membership, User)>> {
    let mut query = memberships::table
        .inner_join(users::table)
        .filter(memberships::tenant_id.eq(tenant))
        .filter(matching(search))
        .select((Membership::as_select(), User::as_select()))
        .limit(paging.size.plus_one())
        .into_boxed();
    if let Some(before) = paging.before {
        query = query.filter(memberships::id.lt(before));
    }
    query = match paging.after {
        Some(after) => query.filter(memberships::id.gt(after)).order(memberships::id.asc()),
        None => query.order(memberships::id.desc()),
    };
    if let Some(offset) = paging.offset {
        query = query.offset(offset);
    }
    Ok(query.load(conn)?)
}

/// Counts the members of a tenant whose name or e-mail address contains `search`.
pub fn count(conn: &mut PgConnection, tenant: TenantId, search: Option<&str>) -> Result<i64> {
    let found = memberships::table.inner_join(users::table).filter(memberships::tenant_id.eq(tenant));
    Ok(found.filter(matching(search)).count().get_result(conn)?)
}

/// Counts the owners of a tenant.
pub fn count_owners(conn: &mut PgConnection, tenant: TenantId) -> Result<i64> {
    let owners = memberships::table.filter(memberships::tenant_id.eq(tenant)).filter(memberships::role.eq(Role::Owner));
    Ok(owners.count().get_result(conn)?)
}

/// Finds the membership of a user, with the user.
pub fn find_with_user(conn: &mut PgConnection, tenant: TenantId, user: UserId) -> Result<Option<(Membership, User)>> {
    let found = memberships::table
        .inner_join(users::table)
        .filter(memberships::tenant_id.eq(tenant))
        .filter(memberships::user_id.eq(user))
        .select((Membership::as_select(), User::as_select()));
    Ok(found.first(conn).optional()?)
}

/// True if a member of the tenant has this e-mail address.
pub fn has_email(conn: &mut PgConnection, tenant: TenantId, email: &str) -> Result<bool> {
    let found = memberships::table.inner_join(users::table).filter(memberships::tenant_id.eq(tenant));
    // The column is named because the role of tenants' work may not read all columns of users.
    let found = found.filter(users::email.eq(email)).select(memberships::id);
    Ok(diesel::select(diesel::dsl::exists(found)).get_result(conn)?)
}

/// Locks all members of a tenant: until this transaction ends, no other changes or removes one.
pub fn lock_all(conn: &mut PgConnection, tenant: TenantId) -> Result<Vec<Membership>> {
    let all = Membership::query().filter(memberships::tenant_id.eq(tenant)).order(memberships::id);
    Ok(all.for_update().load(conn)?)
}

/// Locks one member, if there is one: until this transaction ends, no other changes or removes it.
pub fn lock(conn: &mut PgConnection, tenant: TenantId, user: UserId) -> Result<Option<Membership>> {
    let found = Membership::query().filter(memberships::tenant_id.eq(tenant)).filter(memberships::user_id.eq(user));
    Ok(found.for_update().first(conn).optional()?)
}

/// Sets the role of a member and returns the new row.
pub fn update_role(conn: &mut PgConnection, tenant: TenantId, user: UserId, role: Role) -> Result<Option<Membership>> {
    let member = memberships::table.filter(memberships::tenant_id.eq(tenant)).filter(memberships::user_id.eq(user));
    let changed = diesel::update(member).set(memberships::role.eq(role)).returning(Membership::as_returning());
    Ok(changed.get_result(conn).optional()?)
}

/// Deletes a membership.
pub fn delete(conn: &mut PgConnection, tenant: TenantId, user: UserId) -> Result<()> {
    let member = memberships::table.filter(memberships::tenant_id.eq(tenant)).filter(memberships::user_id.eq(user));
    diesel::delete(member).execute(conn)?;
    Ok(())
}
