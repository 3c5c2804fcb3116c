//! Erasure of a tenant: deletes all its rows, table by table.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::BigInt;

use crate::domain::{Result, TenantId};
use crate::model::Tenant;
use crate::schema::tenants;

/// Tables that may be large, in the order in which they are emptied: one batch a transaction.
const LARGE: [&str; 4] = ["open_deliveries", "attempts", "deliveries", "events"];

/// All other tables, with referring tables first. Usage lies in partitions of a day each, and retention has dropped
/// most of them. The audit log goes together with the end of its chain, so that it never looks broken.
const REST: [&str; 20] = [
    "audit_entries",
    "audit_chains",
    "delivery_hours",
    "delivery_minutes",
    "event_months",
    "usage_logs",
    "usage_minutes",
    "usage_hours",
    "usage_latencies",
    "idempotency_keys",
    "signing_secrets",
    "unreachable_hosts",
    "webhooks",
    "key_limits",
    "api_keys",
    "key_counts",
    "access_tokens",
    "invitations",
    "mails",
    "memberships",
];

/// Finds and locks the tenant that was deleted first, if that was before a time.
pub fn find_old(conn: &mut PgConnection, before: DateTime<Utc>) -> Result<Option<Tenant>> {
    // SKIP LOCKED below: another process that erases a tenant keeps it to itself.
    let old = Tenant::query().filter(tenants::deleted_at.lt(before)).order(tenants::deleted_at).for_update();
    Ok(old.skip_locked().first(conn).optional()?)
}

/// Deletes up to `limit` rows of the first large table that still has some, and returns their number.
pub fn delete_some(conn: &mut PgConnection, tenant: TenantId, limit: i64) -> Result<usize> {
    for table in LARGE {
        let query = diesel::sql_query(format!(
            // Row addresses repeat in each partition, so an address alone could match another tenant's row.
            "DELETE FROM {table} WHERE tenant_id = $1
                 AND ctid = ANY (ARRAY(SELECT ctid FROM {table} WHERE tenant_id = $1 LIMIT $2))"
        ));
        let deleted = query.bind::<BigInt, _>(tenant).bind::<BigInt, _>(limit).execute(conn)?;
        if 0 < deleted {
            return Ok(deleted);
        }
    }
    Ok(0)
}

/// Deletes the remaining rows, and the tenant.
pub fn delete_rest(conn: &mut PgConnection, tenant: TenantId) -> Result<()> {
    for table in REST {
        let query = diesel::sql_query(format!("DELETE FROM {table} WHERE tenant_id = $1"));
        query.bind::<BigInt, _>(tenant).execute(conn)?;
    }
    diesel::delete(tenants::table.filter(tenants::id.eq(tenant))).execute(conn)?;
    Ok(())
}
