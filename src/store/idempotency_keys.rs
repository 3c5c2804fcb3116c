//! Queries on `idempotency_keys`: responses kept for a day.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Text, Timestamptz};
use serde_json::Value;

use crate::domain::{Result, TenantId};
use crate::schema::idempotency_keys;

/// An earlier request with the same key.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = idempotency_keys)]
pub struct StoredRequest {
    /// Digest of the request's body.
    pub request_hash: Vec<u8>,
    /// Response to the request, once it has one.
    pub answer: Option<Value>,
    /// Time of the request (UTC).
    pub created_at: DateTime<Utc>,
}

/// Locks the key until this transaction ends. Returns false if a request with the same key is in progress.
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

/// Inserts the key. Returns false if it exists.
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

/// Finds the earlier request with this key.
pub fn find(conn: &mut PgConnection, tenant: TenantId, route: &str, key: &str) -> Result<Option<StoredRequest>> {
    let found = idempotency_keys::table.filter(idempotency_keys::tenant_id.eq(tenant));
    let found = found.filter(idempotency_keys::route.eq(route)).filter(idempotency_keys::key.eq(key));
    Ok(found.select(StoredRequest::as_select()).first(conn).optional()?)
}

/// Stores the response of a request.
pub fn update_answer(conn: &mut PgConnection, tenant: TenantId, route: &str, key: &str, answer: &Value) -> Result<()> {
    let row = idempotency_keys::table.filter(idempotency_keys::tenant_id.eq(tenant));
    let row = row.filter(idempotency_keys::route.eq(route)).filter(idempotency_keys::key.eq(key));
    diesel::update(row).set(idempotency_keys::answer.eq(answer)).execute(conn)?;
    Ok(())
}

/// Deletes the key, so that the request can be sent again.
pub fn delete(conn: &mut PgConnection, tenant: TenantId, route: &str, key: &str) -> Result<()> {
    let row = idempotency_keys::table.filter(idempotency_keys::tenant_id.eq(tenant));
    let row = row.filter(idempotency_keys::route.eq(route)).filter(idempotency_keys::key.eq(key));
    diesel::delete(row).execute(conn)?;
    Ok(())
}

/// Deletes up to `limit` keys older than `before`, and returns their number.
pub fn delete_old(conn: &mut PgConnection, before: DateTime<Utc>, limit: i64) -> Result<usize> {
    let query = diesel::sql_query(
        "DELETE FROM idempotency_keys WHERE id IN
             (SELECT id FROM idempotency_keys WHERE created_at < $1 ORDER BY created_at LIMIT $2)",
    );
    Ok(query.bind::<Timestamptz, _>(before).bind::<BigInt, _>(limit).execute(conn)?)
}
