//! Queries on `delivery_minutes` and `delivery_hours`: outcomes of deliveries and attempts, counted by triggers.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Nullable, Timestamptz};

use crate::domain::usage::floor_to;
use crate::domain::{Result, TenantId, WebhookId};

/// Webhook id of rows that hold the totals of a whole tenant.
const ALL_WEBHOOKS: WebhookId = WebhookId(0);

/// Deliveries that finished in one period.
#[derive(Debug, Clone, Copy, Default, QueryableByName)]
pub struct Finished {
    /// Start of the period (UTC).
    #[diesel(sql_type = Timestamptz)]
    pub at: DateTime<Utc>,
    /// Deliveries that a webhook accepted.
    #[diesel(sql_type = BigInt)]
    pub delivered: i64,
    /// Deliveries that failed for good.
    #[diesel(sql_type = BigInt)]
    pub failed: i64,
    /// Deliveries that were cancelled.
    #[diesel(sql_type = BigInt)]
    pub cancelled: i64,
}

/// Returns finished deliveries by periods of `step_seconds`, for one webhook or for all. `since` starts a period.
pub fn finished(
    conn: &mut PgConnection,
    tenant: TenantId,
    webhook: Option<WebhookId>,
    since: DateTime<Utc>,
    step_seconds: i64,
) -> Result<Vec<Finished>> {
    let (table, at) =
        if step_seconds % 3600 == 0 { ("delivery_hours", "hour") } else { ("delivery_minutes", "minute") };
    let rows = diesel::sql_query(format!(
        "SELECT date_bin(make_interval(secs => $4), {at}, TIMESTAMPTZ '2000-01-01 00:00:00+00') AS at,
                sum(delivered)::bigint AS delivered, sum(failed)::bigint AS failed, sum(cancelled)::bigint AS cancelled
         FROM {table} WHERE tenant_id = $1 AND webhook_id = $2 AND {at} >= $3 GROUP BY 1 ORDER BY 1"
    ))
    .bind::<BigInt, _>(tenant)
    .bind::<BigInt, _>(webhook.unwrap_or(ALL_WEBHOOKS))
    .bind::<Timestamptz, _>(since)
    .bind::<BigInt, _>(step_seconds);
    Ok(rows.load(conn)?)
}

/// Attempts of a webhook in one hour.
#[derive(Debug, Clone, Copy, QueryableByName)]
pub struct WebhookHour {
    /// Id of the webhook.
    #[diesel(sql_type = BigInt)]
    pub id: WebhookId,
    /// Age of the hour in whole hours; zero for the current one.
    #[diesel(sql_type = BigInt)]
    pub hours_ago: i64,
    /// Attempts that ended in the hour.
    #[diesel(sql_type = BigInt)]
    pub attempts: i64,
    /// Successful ones of these attempts.
    #[diesel(sql_type = BigInt)]
    pub successes: i64,
}

/// Returns the attempts of these webhooks by hour, for the last `hours` including the current one.
pub fn hours(
    conn: &mut PgConnection,
    tenant: TenantId,
    webhooks: &[WebhookId],
    hours: i64,
    now: DateTime<Utc>,
) -> Result<Vec<WebhookHour>> {
    let this_hour = floor_to(now, 3600);
    let rows = diesel::sql_query(
        "SELECT webhook_id AS id, (extract(epoch FROM $4 - hour) / 3600)::bigint AS hours_ago, attempts, successes
         FROM delivery_hours WHERE tenant_id = $1 AND webhook_id = ANY($2) AND hour > $3 AND hour <= $4",
    )
    .bind::<BigInt, _>(tenant)
    .bind::<Array<BigInt>, _>(webhooks.iter().map(|webhook| webhook.0).collect::<Vec<_>>())
    .bind::<Timestamptz, _>(this_hour - TimeDelta::hours(hours))
    .bind::<Timestamptz, _>(this_hour);
    Ok(rows.load(conn)?)
}

#[derive(QueryableByName)]
struct Waiting {
    #[diesel(sql_type = BigInt)]
    total: i64,
}

/// Counts the open deliveries of a tenant, or of one webhook, up to `most`.
pub fn waiting(conn: &mut PgConnection, tenant: TenantId, webhook: Option<WebhookId>, most: i64) -> Result<i64> {
    let row = diesel::sql_query(
        "SELECT count(*) AS total FROM (SELECT FROM open_deliveries
         WHERE tenant_id = $1 AND ($2 IS NULL OR webhook_id = $2) LIMIT $3) AS waiting",
    )
    .bind::<BigInt, _>(tenant)
    .bind::<Nullable<BigInt>, _>(webhook)
    .bind::<BigInt, _>(most);
    Ok(row.get_result::<Waiting>(conn)?.total)
}

/// Deletes up to `limit` minutes older than `before`, and returns their number.
pub fn delete_old_minutes(conn: &mut PgConnection, before: DateTime<Utc>, limit: i64) -> Result<usize> {
    delete_old(conn, ("delivery_minutes", "minute"), before, limit)
}

/// Deletes up to `limit` hours older than `before`, and returns their number.
pub fn delete_old_hours(conn: &mut PgConnection, before: DateTime<Utc>, limit: i64) -> Result<usize> {
    delete_old(conn, ("delivery_hours", "hour"), before, limit)
}

fn delete_old(conn: &mut PgConnection, (table, at): (&str, &str), before: DateTime<Utc>, limit: i64) -> Result<usize> {
    let query = diesel::sql_query(format!(
        "DELETE FROM {table} WHERE ctid = ANY (ARRAY(SELECT ctid FROM {table} WHERE {at} < $1 ORDER BY {at} LIMIT $2))"
    ));
    Ok(query.bind::<Timestamptz, _>(before).bind::<BigInt, _>(limit).execute(conn)?)
}
