//! Queries on `attempts`, the webhook log.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::dsl::sql;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Text};

use super::Scope;
use super::deliveries::SLACK;
use crate::domain::delivery::StatusClass;
use crate::domain::ids::{earliest, made_at};
use crate::domain::page::Paging;
use crate::domain::{AttemptId, DeliveryId, EventId, Result, TenantId, WebhookId};
use crate::model::{Attempt, Event};
use crate::schema::{attempts, deliveries, events};

/// Filter of the attempt list.
#[derive(Debug, Clone, Default)]
pub struct AttemptFilter {
    /// Webhook that the attempts went to.
    pub webhook: Option<WebhookId>,
    /// Delivery that the attempts belong to.
    pub delivery: Option<DeliveryId>,
    /// Event that was delivered.
    pub event: Option<EventId>,
    /// Event type, exactly.
    pub kind: Option<String>,
    /// True: successful attempts only. False: failed ones only.
    pub success: Option<bool>,
    /// Class of the response's status.
    pub status: Option<StatusClass>,
    /// Earliest time of creation (UTC), inclusive.
    pub since: Option<DateTime<Utc>>,
    /// Latest time of creation (UTC), exclusive.
    pub until: Option<DateTime<Utc>>,
    /// Lead of the clock that dates rows over the database's clock, which dates their ids. Zero outside tests.
    pub skew: TimeDelta,
}

/// An attempt with the payload of its event.
pub type Logged = (Attempt, String);

/// Finds an attempt of this tenant, with its event.
pub fn find(conn: &mut PgConnection, tenant: TenantId, id: AttemptId) -> Result<Option<(Attempt, Event)>> {
    let found =
        attempts::table.inner_join(events::table).filter(attempts::tenant_id.eq(tenant)).filter(attempts::id.eq(id));
    Ok(found.select((Attempt::as_select(), Event::as_select())).first(conn).optional()?)
}

/// Returns the tenant of an attempt. Used by operators, who belong to no tenant.
pub fn tenant_of(conn: &mut PgConnection, id: AttemptId) -> Result<Option<TenantId>> {
    Ok(attempts::table.find(id).select(attempts::tenant_id).first(conn).optional()?)
}

/// Lists all attempts of a delivery, in their order.
pub fn list_of(conn: &mut PgConnection, tenant: TenantId, delivery: DeliveryId) -> Result<Vec<Attempt>> {
    let query = Attempt::query().filter(attempts::tenant_id.eq(tenant)).filter(attempts::delivery_id.eq(delivery));
    // An attempt is never older than its delivery: the bound lets the planner skip older partitions.
    let query = query.filter(attempts::id.ge(AttemptId(earliest(made_at(delivery.0)))));
    Ok(query.order(attempts::number).load(conn)?)
}

/// Lists attempts of a scope, newest first; oldest first if `paging.after` is set.
pub fn list(
    conn: &mut PgConnection,
    scope: Scope,
    filter: &AttemptFilter,
    paging: &Paging<AttemptId>,
) -> Result<Vec<Logged>> {
    let query = attempts::table.inner_join(events::table).select((Attempt::as_select(), events::payload));
    let mut query = narrowed(query.limit(paging.size.plus_one()).into_boxed(), scope, filter);
    if let Some(before) = paging.before {
        query = query.filter(attempts::id.lt(before));
    }
    query = match paging.after {
        Some(after) => query.filter(attempts::id.gt(after)).order(attempts::id.asc()),
        None => query.order(attempts::id.desc()),
    };
    if let Some(offset) = paging.offset {
        query = query.offset(offset);
    }
    Ok(query.load(conn)?)
}

type Joined<'a> = diesel::dsl::IntoBoxed<
    'a,
    diesel::dsl::Select<
        diesel::dsl::InnerJoin<attempts::table, events::table>,
        (diesel::dsl::AsSelect<Attempt, Pg>, events::payload),
    >,
    Pg,
>;

/// Adds the conditions of a filter to a query.
fn narrowed<'a>(query: Joined<'a>, scope: Scope, filter: &AttemptFilter) -> Joined<'a> {
    let mut query = query;
    if let Scope::Tenant(tenant) = scope {
        query = query.filter(attempts::tenant_id.eq(tenant));
    }
    if let Some(webhook) = filter.webhook {
        query = query.filter(attempts::webhook_id.eq(webhook));
    }
    if let Some(delivery) = filter.delivery {
        let first = AttemptId(earliest(made_at(delivery.0)));
        query = query.filter(attempts::delivery_id.eq(delivery)).filter(attempts::id.ge(first));
    }
    if let Some(event) = filter.event {
        // Attempts have no index by event, but deliveries do.
        let first = earliest(made_at(event.0) - SLACK);
        let of_event = deliveries::table.filter(deliveries::event_id.eq(event)).select(deliveries::id);
        let of_event = of_event.filter(deliveries::id.ge(DeliveryId(first)));
        query = query.filter(attempts::delivery_id.eq_any(of_event)).filter(attempts::id.ge(AttemptId(first)));
    }
    if let Some(kind) = &filter.kind {
        query = match scope {
            // Events have an index by type. It finds the rare types; the frequent types appear among the newest rows
            // anyway.
            Scope::Tenant(tenant) => {
                let of_type = sql::<Bool>(
                    "attempts.delivery_id IN (SELECT d.id FROM events t JOIN deliveries d ON d.tenant_id = t.tenant_id
                         AND d.event_id = t.id WHERE t.tenant_id = ",
                );
                let of_type = of_type.bind::<BigInt, _>(tenant).sql(" AND t.type = ");
                query.filter(of_type.bind::<Text, _>(kind.clone()).sql(")"))
            }
            Scope::Instance => query.filter(attempts::event_type.eq(kind.clone())),
        };
    }
    if let Some(success) = filter.success {
        query = query.filter(attempts::success.eq(success));
        if !success {
            // Failed attempts always set `error`, which is indexed.
            query = query.filter(attempts::error.is_not_null());
        }
    }
    query = match filter.status.map(|class| (class, class.bounds())) {
        None => query,
        // Failed attempts have an index of their own.
        Some((_, None)) => query.filter(attempts::error.is_not_null()).filter(attempts::response_status.is_null()),
        Some((class, Some((first, next)))) => {
            let query = query.filter(attempts::response_status.ge(first)).filter(attempts::response_status.lt(next));
            if class == StatusClass::Success { query } else { query.filter(attempts::error.is_not_null()) }
        }
    };
    // Ids are ordered by time, so a bound on them lets an index narrow the list. The time column is exact.
    if let Some(since) = filter.since {
        let first = AttemptId(earliest(since - filter.skew - SLACK));
        query = query.filter(attempts::created_at.ge(since)).filter(attempts::id.ge(first));
    }
    if let Some(until) = filter.until {
        let next = AttemptId(earliest(until + SLACK));
        query = query.filter(attempts::created_at.lt(until)).filter(attempts::id.lt(next));
    }
    query
}
