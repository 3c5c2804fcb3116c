//! Queries on `idempotency_keys`: answers kept for a day.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Text, Timestamptz};
use serde_json::Value;

use crate::domain::{Result, TenantId};
use crate::schema::idempotency_keys;

/// What is kept of an earlier request: the digest of its body, and its answer once it has one.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = idempotency_keys)]
pub struct Kept {
    pub request_hash: Vec<u8>,
    pub answer: Option<Value>,
    pub created_at: DateTime<Utc>,
}

/// Holds the key until this transaction ends; false where a request with the same key is being answered just now.
pub fn try_hold(conn: &mut PgConnection, tenant: TenantId, route: &str, key: &str) -> Result<bool> {
    #[derive(QueryableByName)]
    struct Held {
        #[diesel(sql_type = Bool)]
        is_mine: bool,
    }
    let query = diesel::sql_query("SELECT pg_try_advisory_xact_lock(hashtextextended($1, 7461022)) AS is_mine");
    let name = format!("{tenant}/{route}/{key}");
    Ok(query.bind::<Text, _>(name).get_result::<Held>(conn)?.is_mine)
}

/// Takes the key, if nobody has it.
pub fn insert(
    conn: &mut PgConnection,
    tenant: TenantId,
    route: &str,
    key: &str,
    hash: &[u8],
    now: DateTime<Utc>,
) -> Result<bool> {
    let row = (
        idempotency_keys::tenant_id.eq(tenant),
        idempotency_keys::route.eq(route),
        idempotency_keys::key.eq(key),
        idempotency_keys::request_hash.eq(hash),
        idempotency_keys::created_at.eq(now),
    );
    let taken = diesel::insert_into(idempotency_keys::table).values(row).on_conflict_do_nothing();
    Ok(taken.execute(conn)? == 1)
}

pub fn find(conn: &mut PgConnection, tenant: TenantId, route: &str, key: &str) -> Result<Option<Kept>> {
    let found = idempotency_keys::table.filter(idempotency_keys::tenant_id.eq(tenant));
    let found = found.filter(idempotency_keys::route.eq(route)).filter(idempotency_keys::key.eq(key));
    Ok(found.select(Kept::as_select()).first(conn).optional()?)
}

pub fn update_answer(conn: &mut PgConnection, tenant: TenantId, route: &str, key: &str, answer: &Value) -> Result<()> {
    let row = idempotency_keys::table.filter(idempotency_keys::tenant_id.eq(tenant));
    let row = row.filter(idempotency_keys::route.eq(route)).filter(idempotency_keys::key.eq(key));
    diesel::update(row).set(idempotency_keys::answer.eq(answer)).execute(conn)?;
    Ok(())
}

pub fn delete(conn: &mut PgConnection, tenant: TenantId, route: &str, key: &str) -> Result<()> {
    let row = idempotency_keys::table.filter(idempotency_keys::tenant_id.eq(tenant));
    let row = row.filter(idempotency_keys::route.eq(route)).filter(idempotency_keys::key.eq(key));
    diesel::delete(row).execute(conn)?;
    Ok(())
}

/// Deletes up to `limit` that are older than `before`, and tells how many.
pub fn delete_old(conn: &mut PgConnection, before: DateTime<Utc>, limit: i64) -> Result<usize> {
    let query = diesel::sql_query(
        "DELETE FROM idempotency_keys WHERE id IN
             (SELECT id FROM idempotency_keys WHERE created_at < $1 ORDER BY created_at LIMIT $2)",
    );
    Ok(query.bind::<Timestamptz, _>(before).bind::<BigInt, _>(limit).execute(conn)?)
}
