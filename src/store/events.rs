//! Queries on `events`.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Nullable, Text, Timestamptz, Uuid as SqlUuid};

use super::Scope;
use crate::domain::page::Paging;
use crate::domain::{ApiKeyId, EventId, Result, TenantId, UserId, WebhookId};
use crate::model::Event;
use crate::schema::events;

/// Filter of the event list.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// Event type, exactly.
    pub kind: Option<String>,
    /// API key that published the events.
    pub api_key: Option<ApiKeyId>,
    /// Earliest time of creation (UTC), inclusive.
    pub since: Option<DateTime<Utc>>,
    /// Latest time of creation (UTC), exclusive.
    pub until: Option<DateTime<Utc>>,
}

/// An event to write, with what decides who gets it.
#[derive(Debug)]
pub struct NewEvent<'a> {
    /// Id of the event, made before the write.
    pub id: EventId,
    /// Tenant that the event belongs to.
    pub tenant: TenantId,
    /// Type of the event, such as `order.created`.
    pub kind: &'a str,
    /// Webhook patterns that match `kind`.
    pub patterns: Vec<String>,
    /// Payload as the exact JSON text that was received.
    pub payload: &'a str,
    /// API key that published the event, if one did.
    pub api_key: Option<ApiKeyId>,
    /// User who published the event, if one did.
    pub user: Option<UserId>,
    /// Webhook of a test event: it alone gets the event, whatever its patterns, and also while it is paused.
    pub only_to: Option<WebhookId>,
    /// Maximum number of attempts of a delivery whose webhook has no schedule of its own.
    pub attempts_max: i64,
    /// Time of creation (UTC).
    pub now: DateTime<Utc>,
}

/// Writes an event with a delivery to each active webhook whose patterns match, and returns these webhooks. The
/// deliveries are due at once, by the database's clock.
pub fn insert_with_deliveries(conn: &mut PgConnection, event: &NewEvent<'_>) -> Result<Vec<WebhookId>> {
    #[derive(QueryableByName)]
    struct Made {
        #[diesel(sql_type = BigInt)]
        webhook_id: WebhookId,
    }
    let query = diesel::sql_query(
        "WITH published AS (
             INSERT INTO events (id, tenant_id, type, payload, api_key_id, user_id, webhook_id, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         )
         , made AS (
             INSERT INTO deliveries (id, tenant_id, event_id, event_type, webhook_id, state, attempts_max, created_at)
             SELECT uuid_v7(clock_timestamp()), w.tenant_id, $1, $3, w.id, 'pending',
                 CASE WHEN $7 IS NULL THEN coalesce(cardinality(w.retry_gaps) + 1, $9) ELSE $9 END, $8
             FROM webhooks w
             WHERE w.tenant_id = $2 AND w.deleted_at IS NULL
                 AND CASE WHEN $7 IS NULL THEN w.is_active AND w.events && $10 ELSE w.id = $7 END
             RETURNING *
         )
         INSERT INTO open_deliveries (tenant_id, delivery_id, event_id, event_type, webhook_id, attempts_made, attempts_max,
             next_attempt_at)
         SELECT tenant_id, id, event_id, event_type, webhook_id, 0, attempts_max, clock_timestamp() FROM made
         RETURNING webhook_id",
    );
    let bound = query
        .bind::<SqlUuid, _>(event.id)
        .bind::<BigInt, _>(event.tenant)
        .bind::<Text, _>(event.kind)
        .bind::<Text, _>(event.payload)
        .bind::<Nullable<BigInt>, _>(event.api_key)
        .bind::<Nullable<BigInt>, _>(event.user)
        .bind::<Nullable<BigInt>, _>(event.only_to)
        .bind::<Timestamptz, _>(event.now)
        .bind::<BigInt, _>(event.attempts_max)
        .bind::<Array<Text>, _>(&event.patterns);
    let made: Vec<Made> = bound.load(conn)?;
    Ok(made.into_iter().map(|row| row.webhook_id).collect())
}

/// Finds an event of this tenant.
pub fn find(conn: &mut PgConnection, tenant: TenantId, id: EventId) -> Result<Option<Event>> {
    Ok(Event::query().filter(events::tenant_id.eq(tenant)).find(id).first(conn).optional()?)
}

/// Returns the tenant of an event. Used by operators, who belong to no tenant.
pub fn tenant_of(conn: &mut PgConnection, id: EventId) -> Result<Option<TenantId>> {
    Ok(events::table.find(id).select(events::tenant_id).first(conn).optional()?)
}

/// Lists events of a scope, newest first; oldest first if `paging.after` is set.
pub fn list(
    conn: &mut PgConnection,
    scope: Scope,
    filter: &EventFilter,
    paging: &Paging<EventId>,
) -> Result<Vec<Event>> {
    let mut query = events::table.select(Event::as_select()).limit(paging.size.plus_one()).into_boxed();
    if let Scope::Tenant(tenant) = scope {
        query = query.filter(events::tenant_id.eq(tenant));
    }
    if let Some(kind) = &filter.kind {
        query = query.filter(events::type_.eq(kind.clone()));
    }
    if let Some(key) = filter.api_key {
        query = query.filter(events::api_key_id.eq(key));
    }
    if let Some(since) = filter.since {
        query = query.filter(events::created_at.ge(since));
    }
    if let Some(until) = filter.until {
        query = query.filter(events::created_at.lt(until));
    }
    if let Some(before) = paging.before {
        query = query.filter(events::id.lt(before));
    }
    query = match paging.after {
        Some(after) => query.filter(events::id.gt(after)).order(events::id.asc()),
        None => query.order(events::id.desc()),
    };
    if let Some(offset) = paging.offset {
        query = query.offset(offset);
    }
    Ok(query.load(conn)?)
}

/// Deletes up to `limit` events older than `before` that have no delivery left, and returns their number. Events of
/// the day of `before` are kept: their partition is dropped as a whole later.
pub fn delete_old(conn: &mut PgConnection, before: DateTime<Utc>, limit: i64) -> Result<usize> {
    let query = diesel::sql_query(
        "DELETE FROM events WHERE id IN (
             SELECT e.id FROM events e
             WHERE e.created_at < $1 AND e.id < uuid_floor(date_trunc('day', $1, 'UTC'))
                 AND NOT EXISTS (SELECT FROM deliveries d WHERE d.tenant_id = e.tenant_id AND d.event_id = e.id)
             ORDER BY e.id LIMIT $2)",
    );
    Ok(query.bind::<Timestamptz, _>(before).bind::<BigInt, _>(limit).execute(conn)?)
}
