//! Queries on `access_tokens`.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Timestamptz};

use crate::domain::page::Paging;
use crate::domain::{AccessTokenId, Result, Role, TenantId, UserId};
use crate::model::{AccessToken, NewAccessToken, User};
use crate::schema::{access_tokens, memberships, tenants, users};
use crate::store::cached_sql::cached_sql;

/// Filter of a token list.
#[derive(Debug, Clone, Copy, Default)]
pub struct TokenFilter {
    /// Tenant that the tokens belong to; `None` for tokens of the instance.
    pub tenant: Option<TenantId>,
    /// User that the tokens belong to; `None` for any user.
    pub user: Option<UserId>,
}

/// An access token with the rows that its rights depend on.
#[derive(Debug, Clone)]
pub struct TokenRow {
    /// The token itself.
    pub token: AccessToken,
    /// User that the token belongs to.
    pub user: User,
    /// The user's role in the token's tenant; `None` without a membership.
    pub role: Option<Role>,
    /// Slug of the token's tenant; `None` for a token of the instance.
    pub tenant_slug: Option<String>,
}

/// Inserts a token and returns its row.
pub fn insert(conn: &mut PgConnection, token: &NewAccessToken) -> Result<AccessToken> {
    Ok(diesel::insert_into(access_tokens::table)
        .values(token)
        .returning(AccessToken::as_returning())
        .get_result(conn)?)
}

/// Finds a token of this tenant, or of the instance if `tenant` is `None`.
pub fn find(conn: &mut PgConnection, tenant: Option<TenantId>, id: AccessTokenId) -> Result<Option<AccessToken>> {
    let found = AccessToken::query().filter(access_tokens::tenant_id.is_not_distinct_from(tenant)).find(id);
    Ok(found.first(conn).optional()?)
}

/// Finds a token of any tenant and locks it: until this transaction ends, no other can revoke it.
pub fn lock(conn: &mut PgConnection, id: AccessTokenId) -> Result<Option<AccessToken>> {
    Ok(AccessToken::query().find(id).for_update().first(conn).optional()?)
}

/// Finds a token by its public id, in any tenant that is not deleted. Used by the gate.
pub fn find_for_gate(conn: &mut PgConnection, public_id: &str) -> Result<Option<TokenRow>> {
    let of_the_tenant = memberships::tenant_id.nullable().eq(access_tokens::tenant_id);
    let of_the_user = memberships::user_id.eq(access_tokens::user_id);
    let found = access_tokens::table
        .inner_join(users::table)
        .left_join(memberships::table.on(of_the_tenant.and(of_the_user)))
        .left_join(tenants::table.on(tenants::id.nullable().eq(access_tokens::tenant_id)))
        .filter(access_tokens::public_id.eq(public_id))
        .filter(tenants::deleted_at.is_null())
        .select((AccessToken::as_select(), User::as_select(), memberships::role.nullable(), tenants::slug.nullable()));
    let row: Option<(AccessToken, User, Option<Role>, Option<String>)> = found.first(conn).optional()?;
    Ok(row.map(|(token, user, role, tenant_slug)| TokenRow { token, user, role, tenant_slug }))
}

/// Lists tokens, newest first; oldest first if `paging.after` is set.
pub fn list(conn: &mut PgConnection, filter: TokenFilter, paging: &Paging<AccessTokenId>) -> Result<Vec<AccessToken>> {
    let mut query = AccessToken::query()
        .filter(access_tokens::tenant_id.is_not_distinct_from(filter.tenant))
        .limit(paging.size.plus_one())
        .into_boxed();
    if let Some(user) = filter.user {
        query = query.filter(access_tokens::user_id.eq(user));
    }
    if let Some(before) = paging.before {
        query = query.filter(access_tokens::id.lt(before));
    }
    query = match paging.after {
        Some(after) => query.filter(access_tokens::id.gt(after)).order(access_tokens::id.asc()),
        None => query.order(access_tokens::id.desc()),
    };
    if let Some(offset) = paging.offset {
        query = query.offset(offset);
    }
    Ok(query.load(conn)?)
}

/// Counts the tokens that match a filter.
pub fn count(conn: &mut PgConnection, filter: TokenFilter) -> Result<i64> {
    let mut query =
        access_tokens::table.filter(access_tokens::tenant_id.is_not_distinct_from(filter.tenant)).count().into_boxed();
    if let Some(user) = filter.user {
        query = query.filter(access_tokens::user_id.eq(user));
    }
    Ok(query.get_result(conn)?)
}

/// Revokes a token for good. Returns true if it was live until now.
pub fn revoke(conn: &mut PgConnection, id: AccessTokenId, now: DateTime<Utc>) -> Result<bool> {
    let revoked = diesel::update(access_tokens::table)
        .filter(access_tokens::id.eq(id))
        .filter(access_tokens::revoked_at.is_null())
        .set(access_tokens::revoked_at.eq(now));
    Ok(revoked.execute(conn)? != 0)
}

/// Revokes the tokens that these tokens created. Returns those that were live until now.
pub fn revoke_minted_by(
    conn: &mut PgConnection,
    makers: &[AccessTokenId],
    now: DateTime<Utc>,
) -> Result<Vec<AccessToken>> {
    let revoked = diesel::update(access_tokens::table)
        .filter(access_tokens::minted_by.eq_any(makers))
        .filter(access_tokens::revoked_at.is_null())
        .set(access_tokens::revoked_at.eq(now));
    Ok(revoked.returning(AccessToken::as_returning()).get_results(conn)?)
}

/// Revokes all tokens that a user has for a tenant. Returns how many were live until now.
pub fn revoke_of_member(conn: &mut PgConnection, tenant: TenantId, user: UserId, now: DateTime<Utc>) -> Result<usize> {
    let revoked = diesel::update(access_tokens::table)
        .filter(access_tokens::tenant_id.eq(tenant))
        .filter(access_tokens::user_id.eq(user))
        .filter(access_tokens::revoked_at.is_null())
        .set(access_tokens::revoked_at.eq(now));
    Ok(revoked.execute(conn)?)
}

/// Revokes a user's tokens for the whole instance. Returns how many were live until now.
pub fn revoke_of_instance(conn: &mut PgConnection, user: UserId, now: DateTime<Utc>) -> Result<usize> {
    let revoked = diesel::update(access_tokens::table)
        .filter(access_tokens::tenant_id.is_null())
        .filter(access_tokens::user_id.eq(user))
        .filter(access_tokens::revoked_at.is_null())
        .set(access_tokens::revoked_at.eq(now));
    Ok(revoked.execute(conn)?)
}

/// Revokes all tokens of a user, also one that another token creates meanwhile. Returns how many were live until now.
pub fn revoke_of_user(conn: &mut PgConnection, user: UserId, now: DateTime<Utc>) -> Result<usize> {
    let mut revoked = 0;
    // A token is locked while it creates another. Once it is revoked, the next round sees the token that it created.
    loop {
        let live =
            access_tokens::table.filter(access_tokens::user_id.eq(user)).filter(access_tokens::revoked_at.is_null());
        match diesel::update(live).set(access_tokens::revoked_at.eq(now)).execute(conn)? {
            0 => return Ok(revoked),
            more => revoked += more,
        }
    }
}

/// Revokes the tokens that a user's sign-ins created. Returns how many were live until now.
pub fn revoke_of_logins(conn: &mut PgConnection, user: UserId, now: DateTime<Utc>) -> Result<usize> {
    let revoked = diesel::update(access_tokens::table)
        .filter(access_tokens::user_id.eq(user))
        .filter(access_tokens::is_from_login)
        .filter(access_tokens::revoked_at.is_null())
        .set(access_tokens::revoked_at.eq(now));
    Ok(revoked.execute(conn)?)
}

/// Moves `last_used_at` forward, never back: replicas write their batches in any order.
pub fn update_last_used(conn: &mut PgConnection, uses: &[(AccessTokenId, DateTime<Utc>)]) -> Result<()> {
    cached_sql(
        "UPDATE access_tokens SET last_used_at = used.at FROM unnest($1, $2) AS used (id, at)
         WHERE access_tokens.id = used.id AND (last_used_at IS NULL OR last_used_at < used.at)",
    )
    .bind::<Array<BigInt>, _>(uses.iter().map(|(id, _)| id.0).collect::<Vec<_>>())
    .bind::<Array<Timestamptz>, _>(uses.iter().map(|(_, at)| *at).collect::<Vec<_>>())
    .execute(conn)?;
    Ok(())
}
