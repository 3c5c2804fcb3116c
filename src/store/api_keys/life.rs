//! Later life of keys: rotation, revocation, deletion and restoration, of one key or many.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Text, Timestamptz};

use crate::domain::api_key::RESTORABLE_FOR;
use crate::domain::{ApiKeyId, LineageId, Result, TenantId};
use crate::model::ApiKey;
use crate::schema::api_keys;
use crate::store::Scope;

/// Finds a key, also one that was deleted and can still be restored.
pub fn find_kept(conn: &mut PgConnection, scope: Scope, id: ApiKeyId, now: DateTime<Utc>) -> Result<Option<ApiKey>> {
    let mut found = api_keys::table.filter(api_keys::id.eq(id)).select(ApiKey::as_select()).into_boxed();
    if let Scope::Tenant(tenant) = scope {
        found = found.filter(api_keys::tenant_id.eq(tenant));
    }
    let kept = api_keys::deleted_at.is_null().nullable().or(api_keys::deleted_at.gt(now - RESTORABLE_FOR));
    Ok(found.filter(kept).first(conn).optional()?)
}

/// Finds a key by its public id, also one that was deleted and can still be restored.
pub fn find_by_public_id(
    conn: &mut PgConnection,
    scope: Scope,
    public_id: &str,
    now: DateTime<Utc>,
) -> Result<Option<ApiKey>> {
    let mut found = api_keys::table.filter(api_keys::public_id.eq(public_id)).select(ApiKey::as_select()).into_boxed();
    if let Scope::Tenant(tenant) = scope {
        found = found.filter(api_keys::tenant_id.eq(tenant));
    }
    let kept = api_keys::deleted_at.is_null().nullable().or(api_keys::deleted_at.gt(now - RESTORABLE_FOR));
    Ok(found.filter(kept).first(conn).optional()?)
}

/// Finds keys with this hint or secret prefix; deleted keys come last.
pub fn find_by_hint(
    conn: &mut PgConnection,
    scope: Scope,
    hint: &str,
    limit: i64,
    now: DateTime<Utc>,
) -> Result<Vec<ApiKey>> {
    let mut found = api_keys::table.select(ApiKey::as_select()).limit(limit).into_boxed();
    if let Scope::Tenant(tenant) = scope {
        found = found.filter(api_keys::tenant_id.eq(tenant));
    }
    let kept = api_keys::deleted_at.is_null().nullable().or(api_keys::deleted_at.gt(now - RESTORABLE_FOR));
    let found = found.filter(api_keys::hint.eq(hint).or(api_keys::key_prefix.eq(hint))).filter(kept);
    Ok(found.order((api_keys::deleted_at.is_not_null(), api_keys::id.desc())).load(conn)?)
}

/// Returns the tenant of a key, deleted or not. Used by operators, who belong to no tenant.
pub fn tenant_of(conn: &mut PgConnection, id: ApiKeyId) -> Result<Option<TenantId>> {
    Ok(api_keys::table.find(id).select(api_keys::tenant_id).first(conn).optional()?)
}

/// Finds a key like [`find_kept`] in its tenant and locks its row.
pub fn lock_kept(
    conn: &mut PgConnection,
    tenant: TenantId,
    id: ApiKeyId,
    now: DateTime<Utc>,
) -> Result<Option<ApiKey>> {
    let kept = api_keys::deleted_at.is_null().nullable().or(api_keys::deleted_at.gt(now - RESTORABLE_FOR));
    let found = ApiKey::query().filter(api_keys::tenant_id.eq(tenant)).filter(kept).filter(api_keys::id.eq(id));
    Ok(found.for_update().first(conn).optional()?)
}

/// Returns those of these keys that exist, newest first.
pub fn find_many(conn: &mut PgConnection, tenant: TenantId, ids: &[ApiKeyId]) -> Result<Vec<ApiKey>> {
    let found = ApiKey::query()
        .filter(api_keys::tenant_id.eq(tenant))
        .filter(api_keys::deleted_at.is_null())
        .filter(api_keys::id.eq_any(ids));
    Ok(found.order(api_keys::id.desc()).load(conn)?)
}

/// Locks and returns those of these keys that exist, ordered by id: two calls at once never deadlock.
pub fn lock_many(conn: &mut PgConnection, tenant: TenantId, ids: &[ApiKeyId]) -> Result<Vec<ApiKey>> {
    let found = ApiKey::query()
        .filter(api_keys::tenant_id.eq(tenant))
        .filter(api_keys::deleted_at.is_null())
        .filter(api_keys::id.eq_any(ids))
        .order(api_keys::id);
    Ok(found.for_update().load(conn)?)
}

/// Locks all keys of a lineage, ordered by id, and returns their public ids.
pub fn lock_lineage_of(conn: &mut PgConnection, tenant: TenantId, id: ApiKeyId) -> Result<Vec<String>> {
    let lineage = api_keys::table.find(id).select(api_keys::lineage_id).first::<LineageId>(conn).optional()?;
    let Some(lineage) = lineage else { return Ok(Vec::new()) };
    let all = api_keys::table.filter(api_keys::tenant_id.eq(tenant)).filter(api_keys::lineage_id.eq(lineage));
    Ok(all.order(api_keys::id).select(api_keys::public_id).for_update().load(conn)?)
}

/// Marks a key as rotated; it stays valid beside its successor until `until`. Returns false if it was rotated already.
pub fn replace(
    conn: &mut PgConnection,
    tenant: TenantId,
    id: ApiKeyId,
    until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<bool> {
    let changed = diesel::update(api_keys::table)
        .filter(api_keys::id.eq(id))
        .filter(api_keys::tenant_id.eq(tenant))
        .filter(api_keys::deleted_at.is_null())
        .filter(api_keys::rotates_out_at.is_null())
        .set((
            api_keys::rotates_out_at.eq(until),
            api_keys::updated_at.eq(now),
            api_keys::version.eq(api_keys::version + 1),
        ));
    Ok(changed.execute(conn)? == 1)
}

/// Gives all keys of a lineage the rate limit of this key.
pub fn share_limit(conn: &mut PgConnection, key: &ApiKey, now: DateTime<Utc>) -> Result<()> {
    let others = api_keys::rate_limit.ne(key.rate_limit).or(api_keys::rate_window_seconds.ne(key.rate_window_seconds));
    diesel::update(api_keys::table)
        .filter(api_keys::tenant_id.eq(key.tenant_id))
        .filter(api_keys::lineage_id.eq(key.lineage_id))
        .filter(others)
        .set((
            api_keys::rate_limit.eq(key.rate_limit),
            api_keys::rate_window_seconds.eq(key.rate_window_seconds),
            api_keys::updated_at.eq(now),
            api_keys::version.eq(api_keys::version + 1),
        ))
        .execute(conn)?;
    Ok(())
}

/// Revokes these keys for good and returns them. Keys that were revoked before keep their time and reason.
pub fn revoke(
    conn: &mut PgConnection,
    tenant: TenantId,
    ids: &[ApiKeyId],
    reason: Option<&str>,
    now: DateTime<Utc>,
) -> Result<Vec<ApiKey>> {
    let changed = diesel::update(api_keys::table)
        .filter(api_keys::id.eq_any(ids))
        .filter(api_keys::tenant_id.eq(tenant))
        .filter(api_keys::deleted_at.is_null())
        .filter(api_keys::revoked_at.is_null())
        .set((
            api_keys::revoked_at.eq(now),
            api_keys::revoked_reason.eq(reason),
            api_keys::updated_at.eq(now),
            api_keys::version.eq(api_keys::version + 1),
        ));
    Ok(changed.returning(ApiKey::as_returning()).get_results(conn)?)
}

/// Marks these keys as deleted and returns them. Their rows stay as long as they can be restored.
pub fn delete(conn: &mut PgConnection, tenant: TenantId, ids: &[ApiKeyId], now: DateTime<Utc>) -> Result<Vec<ApiKey>> {
    let deleted = diesel::update(api_keys::table)
        .filter(api_keys::id.eq_any(ids))
        .filter(api_keys::tenant_id.eq(tenant))
        .filter(api_keys::deleted_at.is_null())
        .set((api_keys::deleted_at.eq(now), api_keys::updated_at.eq(now), api_keys::version.eq(api_keys::version + 1)));
    Ok(deleted.returning(ApiKey::as_returning()).get_results(conn)?)
}

/// Restores a deleted key as it was.
pub fn restore(conn: &mut PgConnection, tenant: TenantId, id: ApiKeyId, now: DateTime<Utc>) -> Result<Option<ApiKey>> {
    let restored = diesel::update(api_keys::table)
        .filter(api_keys::id.eq(id))
        .filter(api_keys::tenant_id.eq(tenant))
        .filter(api_keys::deleted_at.gt(now - RESTORABLE_FOR))
        .set((
            api_keys::deleted_at.eq(None::<DateTime<Utc>>),
            api_keys::updated_at.eq(now),
            api_keys::version.eq(api_keys::version + 1),
        ));
    Ok(restored.returning(ApiKey::as_returning()).get_result(conn).optional()?)
}

/// Sets the tags of these keys, and returns the number of keys.
pub fn update_tags(
    conn: &mut PgConnection,
    tenant: TenantId,
    tags: &[(ApiKeyId, serde_json::Value)],
    now: DateTime<Utc>,
) -> Result<usize> {
    let query = diesel::sql_query(
        "UPDATE api_keys SET tags = ARRAY(SELECT jsonb_array_elements_text(asked.tags::jsonb)), updated_at = $4,
                version = version + 1
         FROM unnest($2, $3) AS asked (id, tags)
         WHERE tenant_id = $1 AND api_keys.id = asked.id AND deleted_at IS NULL",
    );
    let query = query
        .bind::<BigInt, _>(tenant)
        .bind::<Array<BigInt>, _>(tags.iter().map(|(id, _)| id.0).collect::<Vec<_>>())
        .bind::<Array<Text>, _>(tags.iter().map(|(_, tags)| tags.to_string()).collect::<Vec<_>>())
        .bind::<Timestamptz, _>(now);
    Ok(query.execute(conn)?)
}

/// Deletes up to `limit` rows of keys that were deleted before `before`, and returns their number. Their usage stays.
pub fn delete_old(conn: &mut PgConnection, before: DateTime<Utc>, limit: i64) -> Result<usize> {
    let old = api_keys::table.filter(api_keys::deleted_at.le(before)).limit(limit).select(api_keys::id);
    let old: Vec<ApiKeyId> = old.load(conn)?;
    // The time is compared again: a key may have been restored since it was selected.
    let gone = diesel::delete(api_keys::table).filter(api_keys::id.eq_any(old)).filter(api_keys::deleted_at.le(before));
    Ok(gone.execute(conn)?)
}
