//! Queries on `api_keys`. They leave deleted keys out unless their comment says otherwise.

mod expiring;
mod filter;
mod life;
mod scopes;
mod search;
mod uses;

use chrono::{DateTime, Utc};
use diesel::prelude::*;

use crate::domain::api_key::KeyChange;
use crate::domain::digest::StoredDigest;
use crate::domain::{ApiKeyId, LineageId, Result, TenantId};
use crate::model::{ApiKey, NewApiKey};
use crate::schema::{api_keys, memberships, tenants, users};
pub use expiring::mark_expiring;
pub use filter::{KeyFilter, count, list, list_after};
pub use life::{
    delete, delete_old, find_by_hint, find_by_public_id, find_kept, find_many, lock_kept, lock_lineage_of, lock_many,
    replace, restore, revoke, share_limit, tenant_of, update_tags,
};
pub use scopes::scopes_given;
pub use uses::{Use, update_last_used};

/// An API key with the other facts that its verification needs.
#[derive(Debug, Clone)]
pub struct GateRow {
    /// The key itself.
    pub key: ApiKey,
    /// Slug of the key's tenant.
    pub tenant_slug: String,
    /// True if the tenant is active.
    pub is_tenant_active: bool,
    /// True if the key's user exists, is active, and is a member of the tenant or an operator.
    pub is_owner_active: bool,
}

/// Inserts a key and returns its row.
pub fn insert(conn: &mut PgConnection, key: &NewApiKey) -> Result<ApiKey> {
    Ok(diesel::insert_into(api_keys::table).values(key).returning(ApiKey::as_returning()).get_result(conn)?)
}

/// Finds a key of this tenant.
pub fn find(conn: &mut PgConnection, tenant: TenantId, id: ApiKeyId) -> Result<Option<ApiKey>> {
    let found = ApiKey::query().filter(api_keys::tenant_id.eq(tenant)).filter(api_keys::deleted_at.is_null()).find(id);
    Ok(found.first(conn).optional()?)
}

/// Finds a key like [`find`] and locks its row until this transaction ends.
pub fn lock(conn: &mut PgConnection, tenant: TenantId, id: ApiKeyId) -> Result<Option<ApiKey>> {
    let found = ApiKey::query().filter(api_keys::tenant_id.eq(tenant)).filter(api_keys::deleted_at.is_null()).find(id);
    Ok(found.for_update().first(conn).optional()?)
}

/// Returns id and public id of those of these keys that belong to the tenant, and to the lineage if one is given.
/// Deleted keys are included, since their usage can be reported late.
pub fn list_ids(
    conn: &mut PgConnection,
    tenant: TenantId,
    lineage: Option<LineageId>,
    ids: &[ApiKeyId],
    publics: &[String],
) -> Result<Vec<(ApiKeyId, String)>> {
    let named = api_keys::id.eq_any(ids).or(api_keys::public_id.eq_any(publics));
    let mut found = api_keys::table.filter(api_keys::tenant_id.eq(tenant)).filter(named).into_boxed();
    if let Some(lineage) = lineage {
        found = found.filter(api_keys::lineage_id.eq(lineage));
    }
    Ok(found.select((api_keys::id, api_keys::public_id)).load(conn)?)
}

/// Finds a key by its public id, in any tenant that is not deleted. Used by the gate.
pub fn find_for_gate(conn: &mut PgConnection, public_id: &str) -> Result<Option<GateRow>> {
    let of_the_tenant = memberships::tenant_id.eq(api_keys::tenant_id);
    let of_the_user = memberships::user_id.nullable().eq(api_keys::user_id);
    let found = api_keys::table
        .inner_join(tenants::table)
        .left_join(users::table)
        .left_join(memberships::table.on(of_the_tenant.and(of_the_user)))
        .filter(api_keys::public_id.eq(public_id))
        .filter(api_keys::deleted_at.is_null())
        .filter(tenants::deleted_at.is_null())
        .select((
            ApiKey::as_select(),
            tenants::slug,
            tenants::is_active,
            (users::is_active, users::is_operator).nullable(),
            memberships::id.nullable(),
        ));
    type Row = (ApiKey, String, bool, Option<(bool, bool)>, Option<i64>);
    let row: Option<Row> = found.first(conn).optional()?;
    Ok(row.map(|(key, tenant_slug, is_tenant_active, user, membership)| GateRow {
        key,
        tenant_slug,
        is_tenant_active,
        is_owner_active: user
            .is_some_and(|(is_active, is_operator)| is_active && (is_operator || membership.is_some())),
    }))
}

#[derive(AsChangeset)]
#[diesel(table_name = api_keys)]
struct Changeset<'a> {
    name: Option<&'a str>,
    description: Option<Option<&'a str>>,
    scopes: Option<&'a [String]>,
    rate_limit: Option<i64>,
    rate_window_seconds: Option<i64>,
    allowed_ips: Option<&'a [String]>,
    owner: Option<Option<&'a str>>,
    requires_owner: Option<bool>,
    metadata: Option<&'a serde_json::Value>,
    tags: Option<&'a [String]>,
    is_active: Option<bool>,
    expires_at: Option<Option<DateTime<Utc>>>,
    updated_at: DateTime<Utc>,
}

/// Changes the fields that `change` sets, and returns the new row.
pub fn update(
    conn: &mut PgConnection,
    tenant: TenantId,
    id: ApiKeyId,
    change: &KeyChange,
    now: DateTime<Utc>,
) -> Result<Option<ApiKey>> {
    let set = Changeset {
        name: change.name.as_deref(),
        description: change.description.as_ref().map(Option::as_deref),
        scopes: change.scopes.as_deref(),
        rate_limit: change.rate_limit,
        rate_window_seconds: change.rate_window_seconds,
        allowed_ips: change.allowed_ips.as_deref(),
        owner: change.owner.as_ref().map(Option::as_deref),
        requires_owner: change.requires_owner,
        metadata: change.metadata.as_ref(),
        tags: change.tags.as_deref(),
        is_active: change.is_active,
        expires_at: change.expires_at,
        updated_at: now,
    };
    let changed = diesel::update(api_keys::table)
        .filter(api_keys::id.eq(id))
        .filter(api_keys::tenant_id.eq(tenant))
        .filter(api_keys::deleted_at.is_null())
        .set((set, api_keys::version.eq(api_keys::version + 1)));
    Ok(changed.returning(ApiKey::as_returning()).get_result(conn).optional()?)
}

/// Replaces a digest with another one of the same secret. Returns false if another process was faster.
pub fn update_digest(conn: &mut PgConnection, id: ApiKeyId, old: &StoredDigest, new: &StoredDigest) -> Result<bool> {
    let changed =
        diesel::update(api_keys::table).filter(api_keys::id.eq(id)).filter(api_keys::digest.eq(&old.digest)).set((
            api_keys::hash_algorithm.eq(new.algorithm),
            api_keys::pepper_id.eq(&new.pepper_id),
            api_keys::digest.eq(&new.digest),
            api_keys::version.eq(api_keys::version + 1),
        ));
    Ok(changed.execute(conn)? != 0)
}
