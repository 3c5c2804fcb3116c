//! Figures for pages: sums over a few rows of a tenant, at most a screenful of them.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Text, Timestamptz};

use crate::domain::usage::floor_to;
use crate::domain::{ApiKeyId, Result, TenantId, WebhookId};

/// Number of occurrences in one hour.
#[derive(Debug, Clone, Copy, QueryableByName)]
pub struct HourRow {
    /// Id of the key.
    #[diesel(sql_type = BigInt)]
    pub id: i64,
    /// Age of the hour in whole hours; zero for the current one.
    #[diesel(sql_type = BigInt)]
    pub hours_ago: i64,
    /// Verifications in the hour.
    #[diesel(sql_type = BigInt)]
    pub total: i64,
}

/// Counts the verifications of these keys by hour, in the current hour and the 23 before it.
pub fn hours_of_keys(
    conn: &mut PgConnection,
    tenant: TenantId,
    keys: &[ApiKeyId],
    now: DateTime<Utc>,
) -> Result<Vec<HourRow>> {
    let this_hour = floor_to(now, 3600);
    let rows = diesel::sql_query(
        "SELECT api_key_id AS id, (extract(epoch FROM $4 - hour) / 3600)::bigint AS hours_ago, sum(total)::bigint AS total
         FROM usage_hours
         WHERE tenant_id = $1 AND api_key_id = ANY($2) AND hour > $3 AND hour <= $4
         GROUP BY 1, 2",
    )
    .bind::<BigInt, _>(tenant)
    .bind::<Array<BigInt>, _>(keys.iter().map(|key| key.0).collect::<Vec<_>>())
    .bind::<Timestamptz, _>(this_hour - TimeDelta::hours(24))
    .bind::<Timestamptz, _>(this_hour);
    Ok(rows.load(conn)?)
}

/// Counts of what a tenant has set up.
#[derive(Debug, Clone, Copy, QueryableByName)]
pub struct TenantSetup {
    /// 1 if the tenant ever had a key, else 0.
    #[diesel(sql_type = BigInt)]
    pub keys_ever: i64,
    /// Webhooks that are not deleted.
    #[diesel(sql_type = BigInt)]
    pub webhooks: i64,
    /// Webhooks that fail, or that the server disabled.
    #[diesel(sql_type = BigInt)]
    pub troubled_webhooks: i64,
    /// 1 if the tenant ever published an event, else 0: events are never counted.
    #[diesel(sql_type = BigInt)]
    pub events_ever: i64,
}

/// Returns what a tenant has set up so far.
pub fn standing(conn: &mut PgConnection, tenant: TenantId) -> Result<TenantSetup> {
    let row = diesel::sql_query(
        "SELECT
           (SELECT count(*) FROM (SELECT FROM api_keys WHERE tenant_id = $1 LIMIT 1) AS any_key) AS keys_ever,
           (SELECT count(*) FROM webhooks WHERE tenant_id = $1 AND deleted_at IS NULL) AS webhooks,
           (SELECT count(*) FROM webhooks WHERE tenant_id = $1 AND deleted_at IS NULL
              AND ((is_active AND failing_since IS NOT NULL) OR (NOT is_active AND disabled_reason IS NOT NULL)))
             AS troubled_webhooks,
           (SELECT count(*) FROM (SELECT FROM events WHERE tenant_id = $1 LIMIT 1) AS any_event) AS events_ever",
    )
    .bind::<BigInt, _>(tenant);
    Ok(row.get_result(conn)?)
}

/// A key with the time that a list shows beside it.
#[derive(Debug, Clone, QueryableByName)]
pub struct KeyAtTime {
    /// Id of the key.
    #[diesel(sql_type = BigInt)]
    pub id: i64,
    /// Name of the key.
    #[diesel(sql_type = Text)]
    pub name: String,
    /// Expiry of the key, or its last use or creation (UTC).
    #[diesel(sql_type = Timestamptz)]
    pub at: DateTime<Utc>,
}

/// Lists keys that expire within a week, the next one first.
pub fn expiring_keys(
    conn: &mut PgConnection,
    tenant: TenantId,
    now: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<KeyAtTime>> {
    let rows = diesel::sql_query(
        "SELECT id, name, expires_at AS at FROM api_keys
         WHERE tenant_id = $1 AND deleted_at IS NULL AND revoked_at IS NULL AND is_active
           AND expires_at > $2 AND expires_at < $2 + INTERVAL '7 days'
         ORDER BY expires_at LIMIT $3",
    )
    .bind::<BigInt, _>(tenant)
    .bind::<Timestamptz, _>(now)
    .bind::<BigInt, _>(limit);
    Ok(rows.load(conn)?)
}

/// Lists active keys that were not used for 30 days. They are ordered by the week in which they were last used or
/// created, the earliest first: an index has that order.
pub fn idle_keys(conn: &mut PgConnection, tenant: TenantId, now: DateTime<Utc>, limit: i64) -> Result<Vec<KeyAtTime>> {
    let rows = diesel::sql_query(
        "SELECT k.id, k.name, greatest(u.created_at, u.used_at) AS at
         FROM key_uses u JOIN api_keys k ON k.id = u.api_key_id
         WHERE u.tenant_id = $1 AND NOT u.is_deleted AND u.created_at < $3 AND u.used_at < $3
           AND u.idle_week <= date_trunc('week', $3 AT TIME ZONE 'UTC')::date
           AND k.revoked_at IS NULL AND k.is_active AND (k.expires_at IS NULL OR k.expires_at > $2)
         ORDER BY u.idle_week, u.api_key_id LIMIT $4",
    )
    .bind::<BigInt, _>(tenant)
    .bind::<Timestamptz, _>(now)
    .bind::<Timestamptz, _>(now - TimeDelta::days(30))
    .bind::<BigInt, _>(limit);
    Ok(rows.load(conn)?)
}

/// A webhook that needs attention.
#[derive(Debug, Clone, QueryableByName)]
pub struct Troubled {
    /// Id of the webhook.
    #[diesel(sql_type = BigInt)]
    pub id: WebhookId,
    /// Name of the webhook.
    #[diesel(sql_type = Text)]
    pub name: String,
    /// False if the server disabled it.
    #[diesel(sql_type = diesel::sql_types::Bool)]
    pub is_active: bool,
    /// Time of the first failure since the last success (UTC).
    #[diesel(sql_type = diesel::sql_types::Nullable<Timestamptz>)]
    pub failing_since: Option<DateTime<Utc>>,
    /// Reason why the server disabled it.
    #[diesel(sql_type = diesel::sql_types::Nullable<Text>)]
    pub disabled_reason: Option<String>,
}

/// Lists failing webhooks, the longest failing first, then webhooks that were disabled because they failed.
pub fn troubled_webhooks(conn: &mut PgConnection, tenant: TenantId, limit: i64) -> Result<Vec<Troubled>> {
    let rows = diesel::sql_query(
        "SELECT id, name, is_active, failing_since, disabled_reason FROM webhooks
         WHERE tenant_id = $1 AND deleted_at IS NULL
           AND ((is_active AND failing_since IS NOT NULL) OR (NOT is_active AND disabled_reason IS NOT NULL))
         ORDER BY is_active DESC, failing_since, updated_at DESC LIMIT $2",
    )
    .bind::<BigInt, _>(tenant)
    .bind::<BigInt, _>(limit);
    Ok(rows.load(conn)?)
}
