//! Queries on `deliveries`, for those who look at them and direct them. What the worker asks is in `claims`.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text, Timestamptz};

use super::Scope;
use crate::domain::delivery::{DeliveryState, StatusClass};
use crate::domain::ids::earliest;
use crate::domain::page::Paging;
use crate::domain::{DeliveryId, EventId, Result, TenantId, WebhookId};
use crate::model::Delivery;
use crate::schema::{deliveries, events};

/// Which deliveries of a list are wanted.
#[derive(Debug, Clone, Default)]
pub struct DeliveryFilter {
    pub webhook: Option<WebhookId>,
    pub event: Option<EventId>,
    pub state: Option<DeliveryState>,
    pub kind: Option<String>,
    /// How the last attempt was answered.
    pub status: Option<StatusClass>,
    pub since: Option<DateTime<Utc>>,
    pub until: Option<DateTime<Utc>>,
    /// How far the clock that dates rows is ahead of the database's, which dates their ids: zero outside tests.
    pub skew: TimeDelta,
}

/// How far apart the clocks of servers and database may stand before a list by time misses rows.
pub const SLACK: TimeDelta = TimeDelta::minutes(10);

pub fn find(conn: &mut PgConnection, tenant: TenantId, id: DeliveryId) -> Result<Option<Delivery>> {
    Ok(Delivery::query().filter(deliveries::tenant_id.eq(tenant)).find(id).first(conn).optional()?)
}

/// Like [`find`], and nobody else changes the row until this transaction ends.
pub fn lock(conn: &mut PgConnection, tenant: TenantId, id: DeliveryId) -> Result<Option<Delivery>> {
    let found = Delivery::query().filter(deliveries::tenant_id.eq(tenant)).find(id);
    Ok(found.for_update().first(conn).optional()?)
}

/// Whose delivery it is: for callers who are of no tenant.
pub fn tenant_of(conn: &mut PgConnection, id: DeliveryId) -> Result<Option<TenantId>> {
    Ok(deliveries::table.find(id).select(deliveries::tenant_id).first(conn).optional()?)
}

/// Newest first; oldest first where `paging.after` is given.
pub fn list(
    conn: &mut PgConnection,
    scope: Scope,
    filter: &DeliveryFilter,
    paging: &Paging<DeliveryId>,
) -> Result<Vec<Delivery>> {
    let mut query = deliveries::table.select(Delivery::as_select()).limit(paging.size.plus_one()).into_boxed();
    if let Scope::Tenant(tenant) = scope {
        query = query.filter(deliveries::tenant_id.eq(tenant));
    }
    if let Some(webhook) = filter.webhook {
        query = query.filter(deliveries::webhook_id.eq(webhook));
    }
    if let Some(event) = filter.event {
        query = query.filter(deliveries::event_id.eq(event));
    }
    if let Some(state) = filter.state {
        query = query.filter(deliveries::state.eq(state));
    }
    if let Some(kind) = &filter.kind {
        query = match scope {
            // Events have an index by type: rare ones are found by it, of frequent ones there are some among the newest.
            Scope::Tenant(tenant) => {
                let of_type = events::table.filter(events::tenant_id.eq(tenant)).filter(events::kind.eq(kind.clone()));
                query.filter(deliveries::event_id.eq_any(of_type.select(events::id)))
            }
            Scope::Instance => query.filter(deliveries::event_type.eq(kind.clone())),
        };
    }
    query = match filter.status.map(|class| (class, class.bounds())) {
        None => query,
        // Failures have an index of their own.
        Some((_, None)) => query.filter(deliveries::last_error.is_not_null()).filter(deliveries::last_status.is_null()),
        Some((class, Some((first, next)))) => {
            let query = query.filter(deliveries::last_status.ge(first)).filter(deliveries::last_status.lt(next));
            if class == StatusClass::Success { query } else { query.filter(deliveries::last_error.is_not_null()) }
        }
    };
    // Ids are in the order of time, so that an index narrows the list; the rows themselves say it exactly.
    if let Some(since) = filter.since {
        let first = DeliveryId(earliest(since - filter.skew - SLACK));
        query = query.filter(deliveries::created_at.ge(since)).filter(deliveries::id.ge(first));
    }
    if let Some(until) = filter.until {
        let next = DeliveryId(earliest(until + SLACK));
        query = query.filter(deliveries::created_at.lt(until)).filter(deliveries::id.lt(next));
    }
    if let Some(before) = paging.before {
        query = query.filter(deliveries::id.lt(before));
    }
    query = match paging.after {
        Some(after) => query.filter(deliveries::id.gt(after)).order(deliveries::id.asc()),
        None => query.order(deliveries::id.desc()),
    };
    if let Some(offset) = paging.offset {
        query = query.offset(offset);
    }
    Ok(query.load(conn)?)
}

/// Makes a delivery due at once, by the database's clock, with this many attempts allowed in all.
pub fn update_due(
    conn: &mut PgConnection,
    tenant: TenantId,
    id: DeliveryId,
    attempts_max: i64,
) -> Result<Option<Delivery>> {
    let row =
        deliveries::table.filter(deliveries::tenant_id.eq(tenant)).filter(deliveries::lease_token.is_null()).find(id);
    let state = sql::<Text>("CASE WHEN attempts_made = 0 THEN 'pending' ELSE 'retrying' END");
    let set = (
        deliveries::state.eq(state),
        deliveries::attempts_max.eq(attempts_max),
        deliveries::next_attempt_at.eq(sql::<Nullable<Timestamptz>>("clock_timestamp()")),
        deliveries::finished_at.eq(None::<DateTime<Utc>>),
    );
    Ok(diesel::update(row).set(set).returning(Delivery::as_returning()).get_result(conn).optional()?)
}

pub fn update_cancelled(
    conn: &mut PgConnection,
    tenant: TenantId,
    id: DeliveryId,
    now: DateTime<Utc>,
) -> Result<Option<Delivery>> {
    let waiting = [DeliveryState::Pending, DeliveryState::Retrying];
    let row = deliveries::table.filter(deliveries::tenant_id.eq(tenant)).filter(deliveries::lease_token.is_null());
    let row = row.filter(deliveries::state.eq_any(waiting)).find(id);
    let set = (
        deliveries::state.eq(DeliveryState::Cancelled),
        deliveries::next_attempt_at.eq(None::<DateTime<Utc>>),
        deliveries::finished_at.eq(now),
    );
    Ok(diesel::update(row).set(set).returning(Delivery::as_returning()).get_result(conn).optional()?)
}

/// Cancels all that still waits for a webhook, in flight or not: a late answer then finds its lease gone.
pub fn cancel_all_of(
    conn: &mut PgConnection,
    tenant: TenantId,
    webhook: WebhookId,
    now: DateTime<Utc>,
) -> Result<usize> {
    let waiting = [DeliveryState::Pending, DeliveryState::Retrying];
    let rows = deliveries::table.filter(deliveries::tenant_id.eq(tenant)).filter(deliveries::webhook_id.eq(webhook));
    let set = (
        deliveries::state.eq(DeliveryState::Cancelled),
        deliveries::next_attempt_at.eq(None::<DateTime<Utc>>),
        deliveries::lease_token.eq(None::<uuid::Uuid>),
        deliveries::lease_until.eq(None::<DateTime<Utc>>),
        deliveries::finished_at.eq(now),
    );
    Ok(diesel::update(rows.filter(deliveries::state.eq_any(waiting))).set(set).execute(conn)?)
}

/// Deletes up to `limit` finished deliveries older than `before`, with their attempts, and tells how many.
pub fn delete_old(conn: &mut PgConnection, before: DateTime<Utc>, limit: i64) -> Result<usize> {
    let query = diesel::sql_query(
        "WITH gone AS (
             DELETE FROM deliveries WHERE id IN (
                 SELECT id FROM deliveries
                 WHERE created_at < $1 AND state IN ('delivered', 'failed', 'cancelled') LIMIT $2)
             RETURNING id, tenant_id)
         , attempts_gone AS (
             DELETE FROM attempts USING gone WHERE attempts.tenant_id = gone.tenant_id AND attempts.delivery_id = gone.id)
         SELECT id FROM gone",
    );
    Ok(query.bind::<Timestamptz, _>(before).bind::<BigInt, _>(limit).execute(conn)?)
}
