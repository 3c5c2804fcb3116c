//! Queries on `key_counts`: the number of keys of each tenant, kept by triggers on `api_keys`.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Timestamptz};

use crate::domain::{Result, TenantId};
use crate::schema::key_counts;

/// Number of keys of a tenant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, QueryableByName)]
pub struct KeyCount {
    /// Keys that are not deleted, revoked or expired, disabled ones included. A key that was rotated does not count,
    /// because its successor does.
    #[diesel(sql_type = BigInt)]
    pub held: i64,
    /// Held keys that are not disabled.
    #[diesel(sql_type = BigInt)]
    pub active: i64,
}

/// SQL that counts keys of tenant `$1` which expired between `$from`, when the stored counts were right, and `$2`. If
/// the clock was set back, it counts the keys that are valid again, as a negative number.
macro_rules! expired_since {
    ($from:literal) => {
        concat!(
            "SELECT sign * count(*) AS held, sign * count(*) FILTER (WHERE is_active) AS active
             FROM (SELECT CASE WHEN ",
            $from,
            " <= $2 THEN 1 ELSE -1 END AS sign) direction JOIN api_keys ON tenant_id = $1 AND deleted_at IS NULL
                 AND revoked_at IS NULL AND rotates_out_at IS NULL
                 AND expires_at > least(",
            $from,
            ", $2) AND expires_at <= greatest(",
            $from,
            ", $2) GROUP BY sign"
        )
    };
}

/// Counts a tenant's keys as of `now`.
pub fn find(conn: &mut PgConnection, tenant: TenantId, now: DateTime<Utc>) -> Result<KeyCount> {
    let query = diesel::sql_query(concat!(
        "SELECT c.held - coalesce(expired.held, 0) AS held, c.active - coalesce(expired.active, 0) AS active
         FROM key_counts c LEFT JOIN LATERAL (",
        expired_since!("c.counted_until"),
        ") expired ON TRUE WHERE c.tenant_id = $1"
    ));
    let found = query.bind::<BigInt, _>(tenant).bind::<Timestamptz, _>(now).get_result(conn).optional()?;
    Ok(found.unwrap_or_default())
}

/// Brings the stored counts to `now`, and locks them until the transaction ends. Each expired key is read once here,
/// so [`find`] has few to read.
pub fn fold(conn: &mut PgConnection, tenant: TenantId, now: DateTime<Utc>) -> Result<KeyCount> {
    let row = key_counts::table.find(tenant).for_update();
    let kept = row.select((key_counts::held, key_counts::active, key_counts::counted_until));
    let Some((held, active, counted_until)) = kept.first::<(i64, i64, DateTime<Utc>)>(conn).optional()? else {
        return Ok(KeyCount::default());
    };
    if now == counted_until {
        return Ok(KeyCount { held, active });
    }
    let query = diesel::sql_query(concat!(
        "UPDATE key_counts c SET held = c.held - coalesce(expired.held, 0), active = c.active - coalesce(expired.active, 0),
             counted_until = $2
         FROM (SELECT) one LEFT JOIN (",
        expired_since!("$3"),
        ") expired ON TRUE WHERE c.tenant_id = $1 RETURNING c.held, c.active"
    ));
    let query = query.bind::<BigInt, _>(tenant).bind::<Timestamptz, _>(now).bind::<Timestamptz, _>(counted_until);
    Ok(query.get_result(conn)?)
}

/// Brings the counts of up to `limit` tenants with expired keys to `now`, and returns the number of tenants.
pub fn fold_all(conn: &mut PgConnection, now: DateTime<Utc>, limit: i64) -> Result<usize> {
    #[derive(QueryableByName)]
    struct Stale {
        #[diesel(sql_type = BigInt)]
        tenant_id: TenantId,
    }
    let query = diesel::sql_query(
        "SELECT c.tenant_id FROM key_counts c WHERE c.counted_until < $1 AND EXISTS (
             SELECT FROM api_keys k WHERE k.tenant_id = c.tenant_id AND k.deleted_at IS NULL
                 AND k.expires_at > c.counted_until AND k.expires_at <= $1)
         ORDER BY c.tenant_id LIMIT $2",
    );
    let stale: Vec<Stale> = query.bind::<Timestamptz, _>(now).bind::<BigInt, _>(limit).load(conn)?;
    for one in &stale {
        fold(conn, one.tenant_id, now)?;
    }
    Ok(stale.len())
}
