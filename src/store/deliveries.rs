//! Queries on `deliveries`, for those who look at them and direct them. What the worker asks is in `claims`.

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

impl DeliveryFilter {
    /// Ids are in the order of time: what is wanted lies from this one on, so that an index, and few partitions, narrow
    /// the list. The rows themselves say it exactly.
    fn first_id(&self) -> Option<DeliveryId> {
        let of_event = self.event.map(|event| made_at(event.0));
        let first = of_event.max(self.since.map(|since| since - self.skew))?;
        Some(DeliveryId(earliest(first - SLACK)))
    }

    fn is_of_open(&self) -> bool {
        self.state.is_some_and(|state| !state.is_final())
    }

    fn is_of_trouble(&self) -> bool {
        matches!(self.state, Some(DeliveryState::Failed | DeliveryState::Cancelled))
            || self.status.is_some_and(|class| class != StatusClass::Success)
    }
}

/// How far apart the clocks of servers and database may stand before a list by time misses rows.
pub const SLACK: TimeDelta = TimeDelta::minutes(10);

pub fn find(conn: &mut PgConnection, tenant: TenantId, id: DeliveryId) -> Result<Option<Delivery>> {
    let row = Delivery::query().filter(deliveries::tenant_id.eq(tenant)).filter(deliveries::id.eq(id));
    Ok(row.first(conn).optional()?)
}

/// Like [`find`], and nobody else changes the row until this transaction ends.
pub fn lock(conn: &mut PgConnection, tenant: TenantId, id: DeliveryId) -> Result<Option<Delivery>> {
    // In the order in which the worker locks them.
    let open = open_deliveries::table.find((tenant, id)).select(open_deliveries::delivery_id).for_update();
    let _: Option<DeliveryId> = open.first(conn).optional()?;
    let row = deliveries::table.find(id).filter(deliveries::tenant_id.eq(tenant)).select(deliveries::id).for_update();
    let _: Option<DeliveryId> = row.first(conn).optional()?;
    find(conn, tenant, id)
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
    let mut query = narrowed(Delivery::query().limit(paging.size.plus_one()).into_boxed(), scope, filter);
    if let Some(before) = paging.before {
        query = query.filter(deliveries::id.lt(before));
    }
    query = match paging.after {
        Some(after) => query.filter(deliveries::id.gt(after)).order(deliveries::id.asc()),
        // The same order, from the table that is small.
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
            // Events have an index by type: rare ones are found by it, of frequent ones there are some among the newest.
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
    // Which has an index of its own.
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

/// What says of an open delivery that it is in this state. Its own table is asked, which is small and counts the attempt
/// under way too.
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

/// Makes a delivery due at once, by the database's clock, with this many attempts allowed in all. `None` where an attempt
/// is under way.
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

/// `None` where nothing waits or an attempt is under way.
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

/// Cancels all that still waits for a webhook, in flight or not: a late answer then finds its lease gone, and its attempt
/// is on record already.
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

/// Deletes up to `limit` finished deliveries older than `before`, in partitions of days before that, with their attempts,
/// and tells how many. That is for days which can't be dropped, since one of their deliveries is still open.
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
