//! Queries on `tenants`. A deleted one is found by those that say so, and by no other.

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

/// Which tenants of a list are wanted: those that are not deleted, unless it says otherwise.
#[derive(Debug, Clone, Default)]
pub struct TenantFilter {
    /// None: any tenant.
    pub only: Option<TenantId>,
    /// Part of a name or slug, in either case.
    pub text: Option<String>,
    pub state: Option<TenantState>,
}

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
    let found = Tenant::query().filter(tenants::id.eq(tenant)).filter(tenants::deleted_at.is_null());
    Ok(found.first(conn).optional()?)
}

/// Deleted ones too.
pub fn find_any(conn: &mut PgConnection, tenant: TenantId) -> Result<Option<Tenant>> {
    Ok(Tenant::query().filter(tenants::id.eq(tenant)).first(conn).optional()?)
}

pub fn find_by_slug(conn: &mut PgConnection, slug: &str) -> Result<Option<Tenant>> {
    let found = Tenant::query().filter(tenants::slug.eq(slug)).filter(tenants::deleted_at.is_null());
    Ok(found.first(conn).optional()?)
}

/// Deleted ones too.
pub fn find_any_by_slug(conn: &mut PgConnection, slug: &str) -> Result<Option<Tenant>> {
    Ok(Tenant::query().filter(tenants::slug.eq(slug)).first(conn).optional()?)
}

/// One, deleted or not: until this transaction ends, nobody else changes it. References to it can still be made.
pub fn lock(conn: &mut PgConnection, tenant: TenantId) -> Result<Option<Tenant>> {
    let found = Tenant::query().filter(tenants::id.eq(tenant)).for_no_key_update();
    Ok(found.first(conn).optional()?)
}

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

/// Oldest first: a person's list of where to go.
pub fn list(conn: &mut PgConnection, limit: i64) -> Result<Vec<Tenant>> {
    let found = filtered(&TenantFilter::default()).select(Tenant::as_select()).order(tenants::id).limit(limit);
    Ok(found.load(conn)?)
}

pub fn count(conn: &mut PgConnection, filter: &TenantFilter) -> Result<i64> {
    Ok(filtered(filter).select(count_star()).get_result(conn)?)
}

/// True if a tenant has ever been created; deleted tenants count.
pub fn any(conn: &mut PgConnection) -> Result<bool> {
    Ok(diesel::select(exists(tenants::table.select(tenants::id))).get_result(conn)?)
}

/// Newest first; oldest first where `paging.after` is given.
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

/// What a tenant has, and when something was last done with it: a key used, an event published, something changed.
#[derive(Debug, Clone, Copy, QueryableByName)]
pub struct TenantFigures {
    #[diesel(sql_type = BigInt)]
    pub id: TenantId,
    #[diesel(sql_type = BigInt)]
    pub keys: i64,
    #[diesel(sql_type = BigInt)]
    pub webhooks: i64,
    #[diesel(sql_type = BigInt)]
    pub members: i64,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub last_activity_at: Option<DateTime<Utc>>,
}

/// Keys count as they do for plans: those that could be let in.
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

/// What changes of a tenant; what is `None` stays.
#[derive(Debug, Clone, Default, AsChangeset)]
#[diesel(table_name = tenants)]
pub struct TenantSet<'a> {
    pub name: Option<&'a str>,
    pub plan: Option<&'a str>,
    pub key_prefix: Option<&'a str>,
    pub time_zone: Option<Option<&'a str>>,
}

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

/// Moves a tenant into another state, whatever it is in.
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

/// Whether the database knows this time zone.
pub fn knows_zone(conn: &mut PgConnection, zone: &str) -> Result<bool> {
    #[derive(QueryableByName)]
    struct Known {
        #[diesel(sql_type = Bool)]
        is_known: bool,
    }
    let query = diesel::sql_query("SELECT EXISTS (SELECT FROM pg_timezone_names WHERE name = $1) AS is_known");
    Ok(query.bind::<Text, _>(zone).get_result::<Known>(conn)?.is_known)
}
