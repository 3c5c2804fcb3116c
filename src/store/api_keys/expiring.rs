//! Reminder query: keys whose tenant should be told that they expire soon.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Text, Timestamptz};

use crate::domain::{ApiKeyId, Result, TenantId};

#[derive(QueryableByName)]
struct Marked {
    #[diesel(sql_type = BigInt)]
    tenant_id: TenantId,
    #[diesel(sql_type = BigInt)]
    id: ApiKeyId,
}

/// Finds up to `limit` live keys that expire in this period, marks them as reminded, and returns them. Only tenants
/// with an active webhook for one of the patterns count. If two processes run at once, each key goes to one of them.
pub fn mark_expiring(
    conn: &mut PgConnection,
    patterns: &[String],
    (since, until): (DateTime<Utc>, DateTime<Utc>),
    limit: i64,
) -> Result<Vec<(TenantId, ApiKeyId)>> {
    let query = diesel::sql_query(
        "INSERT INTO told_expiries (api_key_id, tenant_id, expires_at)
         SELECT k.id, k.tenant_id, k.expires_at FROM api_keys k
         WHERE k.expires_at > $1 AND k.expires_at <= $2 AND k.is_active AND k.deleted_at IS NULL
             AND k.revoked_at IS NULL AND k.rotates_out_at IS NULL
             AND NOT EXISTS (SELECT FROM told_expiries t WHERE t.api_key_id = k.id AND t.expires_at = k.expires_at)
             AND EXISTS (SELECT FROM webhooks w WHERE w.tenant_id = k.tenant_id AND w.is_active
                 AND w.deleted_at IS NULL AND w.events && $3)
         ORDER BY k.expires_at LIMIT $4
         -- SKIP LOCKED and the condition on the conflict: of two replicas, one gets each key, and a key whose expiry
         -- was moved is announced again.
         FOR UPDATE OF k SKIP LOCKED
         ON CONFLICT (api_key_id) DO UPDATE SET expires_at = excluded.expires_at
             WHERE told_expiries.expires_at <> excluded.expires_at
         RETURNING tenant_id, api_key_id AS id",
    );
    let marked: Vec<Marked> = query
        .bind::<Timestamptz, _>(since)
        .bind::<Timestamptz, _>(until)
        .bind::<Array<Text>, _>(patterns)
        .bind::<BigInt, _>(limit)
        .load(conn)?;
    Ok(marked.into_iter().map(|row| (row.tenant_id, row.id)).collect())
}
