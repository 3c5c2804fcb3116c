//! Queries on `unreachable_hosts`: hosts of webhooks that don't respond.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Timestamptz};

use super::cached_sql::cached_sql;
use crate::domain::{Result, WebhookId};

/// Returns the numbers of these ids.
fn numbers(ids: &[WebhookId]) -> Vec<i64> {
    ids.iter().map(|id| id.0).collect()
}

/// Records that the hosts of these webhooks have responded.
pub fn delete_of(conn: &mut PgConnection, answered: &[WebhookId]) -> Result<()> {
    let query = cached_sql(
        "DELETE FROM unreachable_hosts u USING webhooks w
         WHERE w.id = ANY ($1) AND u.tenant_id = w.tenant_id AND u.host = w.host",
    );
    query.bind::<Array<BigInt>, _>(numbers(answered)).execute(conn)?;
    Ok(())
}

/// Records that the hosts of these webhooks have not responded. A host that is recorded keeps its time.
pub fn insert_of(conn: &mut PgConnection, silent: &[WebhookId], now: DateTime<Utc>) -> Result<()> {
    let query = cached_sql(
        "INSERT INTO unreachable_hosts (tenant_id, host, since)
         -- Ordered: replicas that write the same hosts at once take them in one order, and never deadlock.
         SELECT DISTINCT tenant_id, host, $2::timestamptz FROM webhooks WHERE id = ANY ($1) ORDER BY 1, 2
         ON CONFLICT DO NOTHING",
    );
    query.bind::<Array<BigInt>, _>(numbers(silent)).bind::<Timestamptz, _>(now).execute(conn)?;
    Ok(())
}
