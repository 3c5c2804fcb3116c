//! Queries on `tenants`. They leave deleted tenants out unless their comment says otherwise.

pub mod erase;

use chrono::{DateTime, Utc};
use diesel::dsl::{count_star, exists};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Nullable, Text, Timestamptz};

use crate::domain::page::Paging;
use crate::domain::tenant::TenantState;
use crate::domain::{Result, TenantId};
use crate::model::Tenant;
use crate::schema::tenants;
use crate::store::search::contain;

/// Filter of the tenant list. Deleted tenants are left out unless `state` asks for them.
#[derive(Debug, Clone, Default)]
pub struct TenantFilter {
    /// Only this tenant; `None` for any.
    pub only: Option<TenantId>,
    /// Part of a name or slug, ignoring case and accents.
    pub text: Option<String>,
    /// State of the tenant.
    pub state: Option<TenantState>,
}

/// Inserts a tenant and returns its row.
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

/// Finds a tenant.
pub fn find(conn: &mut PgConnection, tenant: TenantId) -> Result<Option<Tenant>> {
    let found = Tenant::query().filter(tenants::id.eq(tenant)).filter(tenants::deleted_at.is_null());
    Ok(found.first(conn).optional()?)
}

/// Finds a tenant, deleted or not.
pub fn find_any(conn: &mut PgConnection, tenant: TenantId) -> Result<Option<Tenant>> {
    Ok(Tenant::query().filter(tenants::id.eq(tenant)).first(conn).optional()?)
}

/// Finds a tenant by its slug.
pub fn find_by_slug(conn: &mut PgConnection, slug: &str) -> Result<Option<Tenant>> {
    let found = Tenant::query().filter(tenants::slug.eq(slug)).filter(tenants::deleted_at.is_null());
    Ok(found.first(conn).optional()?)
}

/// Finds a tenant by its slug, deleted or not.
pub fn find_any_by_slug(conn: &mut PgConnection, slug: &str) -> Result<Option<Tenant>> {
    Ok(Tenant::query().filter(tenants::slug.eq(slug)).first(conn).optional()?)
}

/// Finds a tenant, deleted or not, and locks it until this transaction ends. Other rows can still refer to it.
pub fn lock(conn: &mut PgConnection, tenant: TenantId) -> Result<Option<Tenant>> {
    let found = Tenant::query().filter(tenants::id.eq(tenant)).for_no_key_update();
    Ok(found.first(conn).optional()?)
}

/// Selects the tenants that match a filter.
fn filtered<'a>(filter: &TenantFilter) -> tenants::BoxedQuery<'a, Pg> {
    let mut query = tenants::table.into_boxed();
    if let Some(only) = filter.only {
        query = query.filter(tenants::id.eq(only));
    }
    query = match filter.state {
        None => query.filter(tenants::deleted_at.is_null()),
        Some(TenantState::Active) => query.filter(tenants::is_active),
        Some(TenantState::Suspended) => {
            query.filter(tenants::deleted_at.is_null()).filter(tenants::suspended_at.is_not_null())
        }
        Some(TenantState::Deleted) => query.filter(tenants::deleted_at.is_not_null()),
    };
    if let Some(text) = &filter.text {
        query = query.filter(contain("tenants.name, tenants.slug", text));
    }
    query
}

/// Lists tenants, oldest first: the choice that an operator gets.
pub fn list(conn: &mut PgConnection, limit: i64) -> Result<Vec<Tenant>> {
    let found = filtered(&TenantFilter::default()).select(Tenant::as_select()).order(tenants::id).limit(limit);
    Ok(found.load(conn)?)
}

/// Counts the tenants that match a filter.
pub fn count(conn: &mut PgConnection, filter: &TenantFilter) -> Result<i64> {
    Ok(filtered(filter).select(count_star()).get_result(conn)?)
}

/// True if a tenant was ever created; deleted tenants count.
pub fn any(conn: &mut PgConnection) -> Result<bool> {
    Ok(diesel::select(exists(tenants::table.select(tenants::id))).get_result(conn)?)
}

/// Returns one page of tenants, newest first; oldest first if `paging.after` is set.
pub fn page(conn: &mut PgConnection, filter: &TenantFilter, paging: &Paging<TenantId>) -> Result<Vec<Tenant>> {
    let mut query = filtered(filter);
    if let Some(before) = paging.before {
        query = query.filter(tenants::id.lt(before));
    }
    query = match paging.after {
        Some(after) => query.filter(tenants::id.gt(after)).order(tenants::id.asc()),
        None => query.order(tenants::id.desc()),
    };
    if let Some(offset) = paging.offset {
        query = query.offset(offset);
    }
    Ok(query.select(Tenant::as_select()).limit(paging.size.plus_one()).load(conn)?)
}

/// Numbers of a tenant, and its last activity.
#[derive(Debug, Clone, Copy, QueryableByName)]
pub struct TenantFigures {
    /// Id of the tenant.
    #[diesel(sql_type = BigInt)]
    pub id: TenantId,
    /// Keys that count against the plan: not deleted, revoked, expired or replaced.
    #[diesel(sql_type = BigInt)]
    pub keys: i64,
    /// Webhooks that are not deleted.
    #[diesel(sql_type = BigInt)]
    pub webhooks: i64,
    /// Members.
    #[diesel(sql_type = BigInt)]
    pub members: i64,
    /// Last use of a key, last event or last change (UTC), whichever is latest.
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub last_activity_at: Option<DateTime<Utc>>,
}

/// Returns the numbers of these tenants. Keys count as they do for plans.
pub fn figures(conn: &mut PgConnection, tenants: &[TenantId], now: DateTime<Utc>) -> Result<Vec<TenantFigures>> {
    let query = diesel::sql_query(
        "SELECT t.id, coalesce(k.keys, 0) AS keys,
             (SELECT count(*) FROM webhooks w WHERE w.tenant_id = t.id AND w.deleted_at IS NULL) AS webhooks,
             (SELECT count(*) FROM memberships m WHERE m.tenant_id = t.id) AS members,
             greatest(
                 (SELECT nullif(u.used_at, 'epoch') FROM key_uses u WHERE u.tenant_id = t.id AND NOT u.is_deleted
                  ORDER BY u.used_at DESC LIMIT 1),
                 (SELECT e.created_at FROM events e WHERE e.tenant_id = t.id ORDER BY e.id DESC LIMIT 1),
                 (SELECT a.created_at FROM audit_entries a WHERE a.tenant_id = t.id ORDER BY a.id DESC LIMIT 1))
                 AS last_activity_at
         FROM unnest($1) AS t (id)
         LEFT JOIN LATERAL (
             SELECT count(*) FILTER (WHERE rotates_out_at IS NULL AND (expires_at IS NULL OR expires_at > $2)) AS keys
             FROM api_keys WHERE tenant_id = t.id AND deleted_at IS NULL AND revoked_at IS NULL) k ON TRUE",
    );
    let bound = query.bind::<Array<BigInt>, _>(tenants.iter().map(|id| id.0).collect::<Vec<_>>());
    Ok(bound.bind::<Timestamptz, _>(now).load(conn)?)
}

/// Changes to a tenant. Fields that are `None` stay as they are.
#[derive(Debug, Clone, Default, AsChangeset)]
#[diesel(table_name = tenants)]
pub struct TenantSet<'a> {
    /// Name of the tenant.
    pub name: Option<&'a str>,
    /// Name of its plan.
    pub plan: Option<&'a str>,
    /// Prefix of secrets of new keys.
    pub key_prefix: Option<&'a str>,
    /// Time zone by its IANA name; `Some(None)` for each reader's own.
    pub time_zone: Option<Option<&'a str>>,
}

/// Changes a tenant and returns the new row.
pub fn update(
    conn: &mut PgConnection,
    tenant: TenantId,
    set: &TenantSet<'_>,
    now: DateTime<Utc>,
) -> Result<Option<Tenant>> {
    let changed = diesel::update(tenants::table.filter(tenants::id.eq(tenant)).filter(tenants::deleted_at.is_null()));
    let changed = changed.set((set, tenants::updated_at.eq(now)));
    Ok(changed.returning(Tenant::as_returning()).get_result(conn).optional()?)
}

/// Sets the state of a tenant, whatever it was.
pub fn update_state(
    conn: &mut PgConnection,
    tenant: TenantId,
    suspended: Option<(DateTime<Utc>, Option<&str>)>,
    deleted_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<Option<Tenant>> {
    let (suspended_at, reason) = suspended.unzip();
    let set = (
        tenants::is_active.eq(suspended_at.is_none() && deleted_at.is_none()),
        tenants::suspended_at.eq(suspended_at),
        tenants::suspended_reason.eq(reason.flatten()),
        tenants::deleted_at.eq(deleted_at),
        tenants::updated_at.eq(now),
    );
    let changed = diesel::update(tenants::table.filter(tenants::id.eq(tenant))).set(set);
    Ok(changed.returning(Tenant::as_returning()).get_result(conn).optional()?)
}

/// True if the database knows this time zone.
pub fn knows_zone(conn: &mut PgConnection, zone: &str) -> Result<bool> {
    #[derive(QueryableByName)]
    struct Known {
        #[diesel(sql_type = Bool)]
        is_known: bool,
    }
    let query = diesel::sql_query("SELECT EXISTS (SELECT FROM pg_timezone_names WHERE name = $1) AS is_known");
    Ok(query.bind::<Text, _>(zone).get_result::<Known>(conn)?.is_known)
}
