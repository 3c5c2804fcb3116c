//! Queries on `webhooks`. They leave deleted webhooks out unless their comment says otherwise.

use chrono::{DateTime, Utc};
use diesel::dsl::sql;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Double, Nullable, Text, Timestamptz};
use serde_json::{Map, Value};

use super::Scope;
use crate::domain::page::Paging;
use crate::domain::webhook::WebhookState;
use crate::domain::{DeliveryId, Result, TenantId, UserId, WebhookId};
use crate::model::{Webhook, WebhookSettings};
use crate::schema::{deliveries, webhooks};
use crate::store::search::contain;

/// Filter of the webhook list.
#[derive(Debug, Clone, Default)]
pub struct WebhookFilter {
    /// Part of a name or URL, ignoring case and accents.
    pub text: Option<String>,
    /// State of the webhook.
    pub state: Option<WebhookState>,
}

/// Inserts a webhook and returns its row.
pub fn insert(
    conn: &mut PgConnection,
    tenant: TenantId,
    user: Option<UserId>,
    settings: &WebhookSettings,
    now: DateTime<Utc>,
) -> Result<Webhook> {
    let row = (
        webhooks::tenant_id.eq(tenant),
        webhooks::user_id.eq(user),
        settings,
        webhooks::headers.eq(Value::Object(Map::new())),
        webhooks::created_at.eq(now),
        webhooks::updated_at.eq(now),
    );
    Ok(diesel::insert_into(webhooks::table).values(row).returning(Webhook::as_returning()).get_result(conn)?)
}

/// Finds a webhook of this tenant.
pub fn find(conn: &mut PgConnection, tenant: TenantId, id: WebhookId) -> Result<Option<Webhook>> {
    let found = Webhook::query().filter(webhooks::tenant_id.eq(tenant)).filter(webhooks::deleted_at.is_null()).find(id);
    Ok(found.first(conn).optional()?)
}

/// Finds a webhook like [`find`] and locks its row until this transaction ends.
pub fn lock(conn: &mut PgConnection, tenant: TenantId, id: WebhookId) -> Result<Option<Webhook>> {
    let found = Webhook::query().filter(webhooks::tenant_id.eq(tenant)).filter(webhooks::deleted_at.is_null()).find(id);
    Ok(found.for_update().first(conn).optional()?)
}

/// True if an active webhook subscribes to one of these patterns.
pub fn is_wanted(conn: &mut PgConnection, tenant: TenantId, patterns: &[String]) -> Result<bool> {
    let wanted = webhooks::table
        .filter(webhooks::tenant_id.eq(tenant))
        .filter(webhooks::is_active)
        .filter(webhooks::deleted_at.is_null())
        .filter(webhooks::events.overlaps_with(patterns));
    Ok(diesel::select(diesel::dsl::exists(wanted)).get_result(conn)?)
}

/// Returns the tenant of a webhook. Used by operators, who belong to no tenant.
pub fn tenant_of(conn: &mut PgConnection, id: WebhookId) -> Result<Option<TenantId>> {
    let found = webhooks::table.find(id).filter(webhooks::deleted_at.is_null()).select(webhooks::tenant_id);
    Ok(found.first(conn).optional()?)
}

/// Lists webhooks of a scope, newest first; oldest first if `paging.after` is set.
pub fn list(
    conn: &mut PgConnection,
    scope: Scope,
    filter: &WebhookFilter,
    paging: &Paging<WebhookId>,
) -> Result<Vec<Webhook>> {
    let mut query = filtered(scope, filter).select(Webhook::as_select()).limit(paging.size.plus_one());
    if let Some(before) = paging.before {
        query = query.filter(webhooks::id.lt(before));
    }
    query = match paging.after {
        Some(after) => query.filter(webhooks::id.gt(after)).order(webhooks::id.asc()),
        None => query.order(webhooks::id.desc()),
    };
    if let Some(offset) = paging.offset {
        query = query.offset(offset);
    }
    Ok(query.load(conn)?)
}

/// Counts the webhooks that match a filter.
pub fn count(conn: &mut PgConnection, scope: Scope, filter: &WebhookFilter) -> Result<i64> {
    Ok(filtered(scope, filter).count().get_result(conn)?)
}

/// Selects the webhooks that match a filter.
fn filtered<'a>(scope: Scope, filter: &WebhookFilter) -> webhooks::BoxedQuery<'a, Pg> {
    let mut query = webhooks::table.filter(webhooks::deleted_at.is_null()).into_boxed();
    if let Scope::Tenant(tenant) = scope {
        query = query.filter(webhooks::tenant_id.eq(tenant));
    }
    if let Some(text) = &filter.text {
        query = query.filter(contain("webhooks.name, webhooks.url", text));
    }
    match filter.state {
        None => query,
        Some(WebhookState::Active) => query.filter(webhooks::is_active).filter(webhooks::failing_since.is_null()),
        Some(WebhookState::Failing) => query.filter(webhooks::is_active).filter(webhooks::failing_since.is_not_null()),
        Some(WebhookState::Disabled) => {
            query.filter(webhooks::is_active.eq(false)).filter(webhooks::disabled_reason.is_not_null())
        }
        Some(WebhookState::Paused) => {
            query.filter(webhooks::is_active.eq(false)).filter(webhooks::disabled_reason.is_null())
        }
    }
}

/// Replaces the settings of a webhook and returns the new row.
pub fn update(
    conn: &mut PgConnection,
    tenant: TenantId,
    id: WebhookId,
    settings: &WebhookSettings,
    now: DateTime<Utc>,
) -> Result<Option<Webhook>> {
    let row = webhooks::table.filter(webhooks::tenant_id.eq(tenant)).filter(webhooks::deleted_at.is_null()).find(id);
    let changed = diesel::update(row).set((settings, webhooks::updated_at.eq(now)));
    Ok(changed.returning(Webhook::as_returning()).get_result(conn).optional()?)
}

/// Replaces a webhook's own headers, given in their stored form: names in clear, values sealed.
pub fn update_headers(conn: &mut PgConnection, tenant: TenantId, id: WebhookId, headers: &Value) -> Result<()> {
    let row = webhooks::table.filter(webhooks::tenant_id.eq(tenant)).find(id);
    diesel::update(row).set(webhooks::headers.eq(headers)).execute(conn)?;
    Ok(())
}

/// Locks the webhooks of all tenants that have a header value in clear, and returns their headers. Deleted webhooks
/// are included.
pub fn lock_with_plain_headers(conn: &mut PgConnection) -> Result<Vec<(TenantId, WebhookId, Value)>> {
    let is_plain = sql::<Bool>("jsonb_path_exists(headers, '$.* ? (@.type() == \"string\")')");
    let rows = webhooks::table.filter(is_plain).order(webhooks::id).for_update();
    Ok(rows.select((webhooks::tenant_id, webhooks::id, webhooks::headers)).load(conn)?)
}

/// Enables or pauses a webhook, and resets its failures.
pub fn update_active(
    conn: &mut PgConnection,
    tenant: TenantId,
    id: WebhookId,
    is_active: bool,
    now: DateTime<Utc>,
) -> Result<Option<Webhook>> {
    let row = webhooks::table.filter(webhooks::tenant_id.eq(tenant)).filter(webhooks::deleted_at.is_null()).find(id);
    let set = (
        webhooks::is_active.eq(is_active),
        webhooks::failing_since.eq(None::<DateTime<Utc>>),
        webhooks::warned_at.eq(None::<DateTime<Utc>>),
        webhooks::disabled_reason.eq(None::<String>),
        webhooks::probe_id.eq(None::<DeliveryId>),
        webhooks::updated_at.eq(now),
    );
    Ok(diesel::update(row).set(set).returning(Webhook::as_returning()).get_result(conn).optional()?)
}

/// Sets the delivery that tests whether a disabled webhook works again.
pub fn update_probe(conn: &mut PgConnection, tenant: TenantId, id: WebhookId, probe: DeliveryId) -> Result<()> {
    let row = webhooks::table.filter(webhooks::tenant_id.eq(tenant)).find(id);
    diesel::update(row).set(webhooks::probe_id.eq(probe)).execute(conn)?;
    Ok(())
}

/// Enables the disabled webhooks whose probe is among these deliveries, resets their failures, and returns them.
pub fn update_well(conn: &mut PgConnection, probes: &[DeliveryId], now: DateTime<Utc>) -> Result<Vec<Webhook>> {
    let of_probes = deliveries::table.filter(deliveries::id.eq_any(probes)).select(deliveries::webhook_id);
    let rows = webhooks::table.filter(webhooks::id.eq_any(of_probes)).filter(webhooks::probe_id.eq_any(probes));
    let rows = rows.filter(webhooks::is_active.eq(false)).filter(webhooks::deleted_at.is_null());
    let set = (
        webhooks::is_active.eq(true),
        webhooks::failing_since.eq(None::<DateTime<Utc>>),
        webhooks::warned_at.eq(None::<DateTime<Utc>>),
        webhooks::disabled_reason.eq(None::<String>),
        webhooks::probe_id.eq(None::<DeliveryId>),
        webhooks::last_success_at.eq(now),
        webhooks::updated_at.eq(now),
    );
    Ok(diesel::update(rows).set(set).returning(Webhook::as_returning()).get_results(conn)?)
}

/// Deletes a webhook. Its row stays for its deliveries. Returns false if there is none.
pub fn delete(conn: &mut PgConnection, tenant: TenantId, id: WebhookId, now: DateTime<Utc>) -> Result<bool> {
    let row = webhooks::table.filter(webhooks::tenant_id.eq(tenant)).filter(webhooks::deleted_at.is_null()).find(id);
    let set = (webhooks::deleted_at.eq(now), webhooks::is_active.eq(false), webhooks::updated_at.eq(now));
    Ok(diesel::update(row).set(set).execute(conn)? == 1)
}

/// Records that these webhooks have accepted a delivery. A healthy row whose last success is under a minute old is left
/// alone, so a busy webhook's row is written once a minute at most.
pub fn update_succeeding(conn: &mut PgConnection, ids: &[WebhookId], now: DateTime<Utc>) -> Result<()> {
    let is_stale = sql::<Bool>("(failing_since IS NOT NULL OR last_success_at IS NULL OR last_success_at < ")
        .bind::<Timestamptz, _>(now)
        .sql(" - INTERVAL '1 minute')");
    let rows = webhooks::table.filter(webhooks::id.eq_any(ids)).filter(is_stale);
    let never = None::<DateTime<Utc>>;
    let set = (webhooks::failing_since.eq(never), webhooks::warned_at.eq(never), webhooks::last_success_at.eq(now));
    diesel::update(rows).set(set).execute(conn)?;
    Ok(())
}

/// Records that these webhooks have failed. A webhook that fails already keeps its first time.
pub fn update_failing(conn: &mut PgConnection, ids: &[WebhookId], now: DateTime<Utc>) -> Result<()> {
    let rows = webhooks::table.filter(webhooks::id.eq_any(ids)).filter(webhooks::failing_since.is_null());
    diesel::update(rows).set(webhooks::failing_since.eq(now)).execute(conn)?;
    Ok(())
}

/// Marks those of these webhooks as warned that have failed since before a time, and returns them. Each is warned once
/// in a period of failures.
pub fn update_warned(
    conn: &mut PgConnection,
    ids: &[WebhookId],
    failing_before: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Vec<Webhook>> {
    let rows = webhooks::table.filter(webhooks::id.eq_any(ids)).filter(webhooks::is_active);
    let rows = rows.filter(webhooks::failing_since.le(failing_before)).filter(webhooks::warned_at.is_null());
    let set = webhooks::warned_at.eq(now);
    Ok(diesel::update(rows).set(set).returning(Webhook::as_returning()).get_results(conn)?)
}

/// Disables those of these webhooks that are active, and returns them. With `failing_before`, only those that have
/// failed since before then.
pub fn update_disabled(
    conn: &mut PgConnection,
    ids: &[WebhookId],
    failing_before: Option<DateTime<Utc>>,
    reason: &str,
    now: DateTime<Utc>,
) -> Result<Vec<Webhook>> {
    let rows = webhooks::table.filter(webhooks::id.eq_any(ids)).filter(webhooks::is_active);
    let set = (webhooks::is_active.eq(false), webhooks::disabled_reason.eq(reason), webhooks::updated_at.eq(now));
    let disabled = match failing_before {
        Some(before) => {
            let rows = rows.filter(webhooks::failing_since.le(before));
            diesel::update(rows).set(set).returning(Webhook::as_returning()).get_results(conn)?
        }
        None => diesel::update(rows).set(set).returning(Webhook::as_returning()).get_results(conn)?,
    };
    Ok(disabled)
}

/// Recent performance of a webhook.
#[derive(Debug, Clone, QueryableByName)]
pub struct WebhookStats {
    /// Id of the webhook.
    #[diesel(sql_type = BigInt)]
    pub webhook_id: WebhookId,
    /// Finished attempts that the numbers below cover: the latest thousand, no older than a week.
    #[diesel(sql_type = BigInt)]
    pub attempts: i64,
    /// Successful ones of these attempts.
    #[diesel(sql_type = BigInt)]
    pub successes: i64,
    /// Median duration in milliseconds.
    #[diesel(sql_type = Nullable<Double>)]
    pub p50_ms: Option<f64>,
    /// 95th percentile of the duration in milliseconds.
    #[diesel(sql_type = Nullable<Double>)]
    pub p95_ms: Option<f64>,
    /// Time of the last failure (UTC).
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub last_failure_at: Option<DateTime<Utc>>,
    /// Description of the last failure.
    #[diesel(sql_type = Nullable<Text>)]
    pub last_failure: Option<String>,
    /// Waiting deliveries, counted up to 1,001.
    #[diesel(sql_type = BigInt)]
    pub waiting: i64,
    /// Due time of the next waiting delivery (UTC).
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// Time since which the webhook's host has not responded (UTC).
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub unreachable_since: Option<DateTime<Utc>>,
}

/// Returns one row for each of these webhooks.
pub fn stats(
    conn: &mut PgConnection,
    scope: Scope,
    ids: &[WebhookId],
    now: DateTime<Utc>,
) -> Result<Vec<WebhookStats>> {
    let tenant = match scope {
        Scope::Tenant(tenant) => Some(tenant),
        Scope::Instance => None,
    };
    let query = diesel::sql_query(
        "SELECT w.id AS webhook_id, lately.*, backlog.waiting,
             (SELECT o.next_attempt_at FROM open_deliveries o WHERE o.webhook_id = w.id AND o.lease_token IS NULL
              ORDER BY o.next_attempt_at LIMIT 1) AS next_attempt_at,
             (SELECT u.since FROM unreachable_hosts u WHERE u.tenant_id = w.tenant_id AND u.host = w.host) AS unreachable_since
         FROM webhooks w
         CROSS JOIN LATERAL (
             SELECT count(*) AS attempts, count(*) FILTER (WHERE success) AS successes,
                 percentile_cont(0.5) WITHIN GROUP (ORDER BY duration_ms) AS p50_ms,
                 percentile_cont(0.95) WITHIN GROUP (ORDER BY duration_ms) AS p95_ms,
                 max(created_at) FILTER (WHERE NOT success) AS last_failure_at,
                 (array_agg(error ORDER BY created_at DESC) FILTER (WHERE NOT success))[1] AS last_failure
             FROM (SELECT success, duration_ms, error, created_at FROM attempts a
                   WHERE a.tenant_id = w.tenant_id AND a.webhook_id = w.id AND a.finished_at IS NOT NULL
                   ORDER BY a.id DESC LIMIT 1000) latest
             WHERE latest.created_at > $3 - INTERVAL '7 days') lately
         CROSS JOIN LATERAL (
             SELECT count(*) AS waiting
             FROM (SELECT FROM open_deliveries o WHERE o.webhook_id = w.id AND o.lease_token IS NULL LIMIT 1001) waiting)
             backlog
         WHERE w.id = ANY($1) AND ($2 IS NULL OR w.tenant_id = $2)",
    );
    let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
    let bound = query.bind::<Array<BigInt>, _>(ids).bind::<Nullable<BigInt>, _>(tenant).bind::<Timestamptz, _>(now);
    Ok(bound.load(conn)?)
}
