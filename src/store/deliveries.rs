//! Queries on `deliveries` for lists and for actions of users. Those of the delivery worker are in `claims`.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::dsl::{self, sql};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Timestamptz, Uuid as SqlUuid};

use super::Scope;
use crate::domain::delivery::{DeliveryState, StatusClass};
use crate::domain::ids::{earliest, made_at};
use crate::domain::page::Paging;
use crate::domain::{DeliveryId, EventId, Result, TenantId, WebhookId};
use crate::model::Delivery;
use crate::schema::{deliveries, events, open_deliveries};

/// Filter of the delivery list.
#[derive(Debug, Clone, Default)]
pub struct DeliveryFilter {
    /// Webhook that the deliveries go to.
    pub webhook: Option<WebhookId>,
    /// Event that is delivered.
    pub event: Option<EventId>,
    /// State of the delivery.
    pub state: Option<DeliveryState>,
    /// Event type, exactly.
    pub kind: Option<String>,
    /// Class of the last response's status.
    pub status: Option<StatusClass>,
    /// Earliest time of creation (UTC), inclusive.
    pub since: Option<DateTime<Utc>>,
    /// Latest time of creation (UTC), exclusive.
    pub until: Option<DateTime<Utc>>,
    /// Lead of the clock that dates rows over the database's clock, which dates their ids. Zero outside tests.
    pub skew: TimeDelta,
}

impl DeliveryFilter {
    /// Returns the lowest id that can match. Ids are ordered by time, so this bound lets an index and few partitions
    /// narrow the list. The time column is exact.
    fn first_id(&self) -> Option<DeliveryId> {
        let of_event = self.event.map(|event| made_at(event.0));
        let first = of_event.max(self.since.map(|since| since - self.skew))?;
        Some(DeliveryId(earliest(first - SLACK)))
    }

    /// True if the filter asks for deliveries that are not finished.
    fn is_of_open(&self) -> bool {
        self.state.is_some_and(|state| !state.is_final())
    }

    /// True if the filter asks for deliveries that `has_trouble` marks.
    fn is_of_trouble(&self) -> bool {
        matches!(self.state, Some(DeliveryState::Failed | DeliveryState::Cancelled))
            || self.status.is_some_and(|class| class != StatusClass::Success)
    }
}

/// Largest difference between the servers' clocks and the database's before a list by time misses rows.
pub const SLACK: TimeDelta = TimeDelta::minutes(10);

/// Finds a delivery of this tenant.
pub fn find(conn: &mut PgConnection, tenant: TenantId, id: DeliveryId) -> Result<Option<Delivery>> {
    let row = Delivery::query().filter(deliveries::tenant_id.eq(tenant)).filter(deliveries::id.eq(id));
    Ok(row.first(conn).optional()?)
}

/// Finds a delivery like [`find`] and locks its rows until this transaction ends.
pub fn lock(conn: &mut PgConnection, tenant: TenantId, id: DeliveryId) -> Result<Option<Delivery>> {
    // The worker locks the open row first, too: another order could deadlock.
    let open = open_deliveries::table.find((tenant, id)).select(open_deliveries::delivery_id).for_update();
    let _: Option<DeliveryId> = open.first(conn).optional()?;
    let row = deliveries::table.find(id).filter(deliveries::tenant_id.eq(tenant)).select(deliveries::id).for_update();
    let _: Option<DeliveryId> = row.first(conn).optional()?;
    find(conn, tenant, id)
}

/// Returns the tenant of a delivery. Used by operators, who belong to no tenant.
pub fn tenant_of(conn: &mut PgConnection, id: DeliveryId) -> Result<Option<TenantId>> {
    Ok(deliveries::table.find(id).select(deliveries::tenant_id).first(conn).optional()?)
}

/// Lists deliveries of a scope, newest first; oldest first if `paging.after` is set.
pub fn list(
    conn: &mut PgConnection,
    scope: Scope,
    filter: &DeliveryFilter,
    paging: &Paging<DeliveryId>,
) -> Result<Vec<Delivery>> {
    let mut query = narrowed(Delivery::query().limit(paging.size.plus_one()).into_boxed(), scope, filter);
    if let Some(before) = paging.before {
        query = query.filter(deliveries::id.lt(before));
    }
    query = match paging.after {
        Some(after) => query.filter(deliveries::id.gt(after)).order(deliveries::id.asc()),
        // The order by id as well, but from the small table.
        None if filter.is_of_open() => query.order(open_deliveries::delivery_id.desc()),
        None => query.order(deliveries::id.desc()),
    };
    if let Some(offset) = paging.offset {
        query = query.offset(offset);
    }
    Ok(query.load(conn)?)
}

type Listed<'a> =
    dsl::IntoBoxed<'a, dsl::Select<<Delivery as HasQuery<Pg>>::BaseQuery, dsl::AsSelect<Delivery, Pg>>, Pg>;

/// Adds the conditions of a filter to a query.
fn narrowed<'a>(mut query: Listed<'a>, scope: Scope, filter: &DeliveryFilter) -> Listed<'a> {
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
        query = match open_as(state) {
            Some(condition) => query.filter(sql::<Bool>(condition)),
            None => query.filter(deliveries::state.eq(state)),
        };
    }
    if let Some(kind) = &filter.kind {
        query = match scope {
            // Events have an index by type. It finds the rare types; the frequent types appear among the newest rows
            // anyway.
            Scope::Tenant(tenant) => {
                let of_type = events::table.filter(events::tenant_id.eq(tenant)).filter(events::type_.eq(kind.clone()));
                query.filter(deliveries::event_id.eq_any(of_type.select(events::id)))
            }
            Scope::Instance => query.filter(deliveries::event_type.eq(kind.clone())),
        };
    }
    query = match filter.status.map(StatusClass::bounds) {
        None => query,
        Some(None) => query.filter(deliveries::last_error.is_not_null()).filter(deliveries::last_status.is_null()),
        Some(Some((first, next))) => {
            query.filter(deliveries::last_status.ge(first)).filter(deliveries::last_status.lt(next))
        }
    };
    // Deliveries with trouble have an index of their own.
    if filter.is_of_trouble() {
        query = query.filter(deliveries::has_trouble);
    }
    if let Scope::Tenant(tenant) = scope
        && filter.is_of_open()
    {
        query = query.filter(open_deliveries::tenant_id.eq(tenant));
    }
    if let Some(first) = filter.first_id() {
        query = query.filter(deliveries::id.ge(first));
    }
    if let Some(since) = filter.since {
        query = query.filter(deliveries::created_at.ge(since));
    }
    if let Some(until) = filter.until {
        let next = DeliveryId(earliest(until + SLACK));
        query = query.filter(deliveries::created_at.lt(until)).filter(deliveries::id.lt(next));
    }
    query
}

/// Returns the condition for an open delivery in this state; `None` for final states. It reads `open_deliveries`,
/// which is small and also counts the attempt under way.
const fn open_as(state: DeliveryState) -> Option<&'static str> {
    match state {
        DeliveryState::Pending => {
            Some("open_deliveries.attempts_made = (open_deliveries.lease_token IS NOT NULL)::int")
        }
        DeliveryState::Retrying => {
            Some("open_deliveries.attempts_made > (open_deliveries.lease_token IS NOT NULL)::int")
        }
        DeliveryState::Delivered | DeliveryState::Failed | DeliveryState::Cancelled => None,
    }
}

/// Makes a delivery due at once, by the database's clock, and sets the most attempts that it may have. `None` if an
/// attempt is under way.
pub fn update_due(
    conn: &mut PgConnection,
    tenant: TenantId,
    id: DeliveryId,
    attempts_max: i64,
) -> Result<Option<Delivery>> {
    let query = diesel::sql_query(
        "WITH opened AS (
             INSERT INTO open_deliveries AS o (tenant_id, delivery_id, event_id, event_type, webhook_id, attempts_made,
                 attempts_max, next_attempt_at)
             SELECT tenant_id, id, event_id, event_type, webhook_id, attempts_made, $3, clock_timestamp()
             FROM deliveries WHERE tenant_id = $1 AND id = $2
             -- A waiting delivery is open already: it moves up. A leased one is left alone, since its attempt is under
             -- way.
             ON CONFLICT (tenant_id, delivery_id) DO UPDATE SET attempts_max = excluded.attempts_max,
                 next_attempt_at = excluded.next_attempt_at
             WHERE o.lease_token IS NULL
             RETURNING delivery_id
         )
         UPDATE deliveries d SET state = CASE WHEN d.attempts_made = 0 THEN 'pending' ELSE 'retrying' END, attempts_max = $3,
             finished_at = NULL
         FROM opened WHERE d.tenant_id = $1 AND d.id = opened.delivery_id",
    );
    let bound = query.bind::<BigInt, _>(tenant).bind::<SqlUuid, _>(id).bind::<BigInt, _>(attempts_max);
    if bound.execute(conn)? == 0 { Ok(None) } else { find(conn, tenant, id) }
}

/// Cancels a waiting delivery. `None` if it is not waiting or an attempt is under way.
pub fn update_cancelled(
    conn: &mut PgConnection,
    tenant: TenantId,
    id: DeliveryId,
    now: DateTime<Utc>,
) -> Result<Option<Delivery>> {
    let query = diesel::sql_query(
        "WITH closed AS (
             DELETE FROM open_deliveries WHERE tenant_id = $1 AND delivery_id = $2 AND lease_token IS NULL
             RETURNING delivery_id
         )
         UPDATE deliveries d SET state = 'cancelled', has_trouble = TRUE, finished_at = $3
         FROM closed WHERE d.tenant_id = $1 AND d.id = closed.delivery_id",
    );
    let bound = query.bind::<BigInt, _>(tenant).bind::<SqlUuid, _>(id).bind::<Timestamptz, _>(now);
    if bound.execute(conn)? == 0 { Ok(None) } else { find(conn, tenant, id) }
}

/// Cancels all open deliveries of a webhook, in flight or not. A late response then finds no lease, and its attempt is
/// recorded here already.
pub fn cancel_all_of(
    conn: &mut PgConnection,
    tenant: TenantId,
    webhook: WebhookId,
    now: DateTime<Utc>,
) -> Result<usize> {
    let query = diesel::sql_query(
        "WITH closed AS (
             DELETE FROM open_deliveries WHERE tenant_id = $1 AND webhook_id = $2 RETURNING *
         ), noted AS (
             INSERT INTO attempts (id, tenant_id, delivery_id, event_id, event_type, webhook_id, number, request_url, error,
                 created_at, finished_at)
             SELECT c.attempt_id, c.tenant_id, c.delivery_id, c.event_id, c.event_type, c.webhook_id, c.attempts_made, w.url,
                 'the webhook was deleted while this attempt was under way', c.attempted_at, $3
             FROM closed c JOIN webhooks w ON w.id = c.webhook_id WHERE c.lease_token IS NOT NULL
         )
         UPDATE deliveries d SET state = 'cancelled', has_trouble = TRUE, finished_at = $3, attempts_made = closed.attempts_made
         FROM closed WHERE d.tenant_id = $1 AND d.id = closed.delivery_id",
    );
    let bound = query.bind::<BigInt, _>(tenant).bind::<BigInt, _>(webhook).bind::<Timestamptz, _>(now);
    Ok(bound.execute(conn)?)
}

/// Deletes up to `limit` finished deliveries older than `before`, with their attempts, and returns their number. It is
/// for days whose partition can't be dropped because one of their deliveries is still open.
pub fn delete_old(conn: &mut PgConnection, before: DateTime<Utc>, limit: i64) -> Result<usize> {
    let query = diesel::sql_query(
        "WITH gone AS (
             DELETE FROM deliveries WHERE id IN (
                 SELECT id FROM deliveries
                 WHERE created_at < $1 AND id < uuid_floor(date_trunc('day', $1, 'UTC'))
                     AND state IN ('delivered', 'failed', 'cancelled') LIMIT $2)
             RETURNING id, tenant_id)
         , attempts_gone AS (
             DELETE FROM attempts USING gone WHERE attempts.tenant_id = gone.tenant_id AND attempts.delivery_id = gone.id)
         SELECT id FROM gone",
    );
    Ok(query.bind::<Timestamptz, _>(before).bind::<BigInt, _>(limit).execute(conn)?)
}
