//! What the delivery worker asks of `open_deliveries`: lease a batch, take back what ran out. What came of a batch is
//! written by `settlements`.
//!
//! Leases run by the database's clock alone. Due times do too, moved by an offset that only tests set.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Double, Text, Timestamptz};

use super::kept::kept;
use crate::domain::Result;
use crate::model::Claimed;

/// Claims are made one after the other, so that two workers together keep to a webhook's cap.
const TURNSTILE: i64 = 7_461_021;

pub fn lock_turnstile(conn: &mut PgConnection) -> Result<()> {
    kept("SELECT pg_advisory_xact_lock($1)").bind::<BigInt, _>(TURNSTILE).execute(conn)?;
    Ok(())
}

/// The same without waiting: false where somebody else is there.
pub fn try_turnstile(conn: &mut PgConnection) -> Result<bool> {
    #[derive(QueryableByName)]
    struct Got {
        #[diesel(sql_type = Bool)]
        is_mine: bool,
    }
    let query = kept("SELECT pg_try_advisory_xact_lock($1) AS is_mine").bind::<BigInt, _>(TURNSTILE);
    Ok(query.get_result::<Got>(conn)?.is_mine)
}

/// How much may be leased.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// By this process.
    pub slots: i64,
    /// Of those, how many may go to webhooks that are failing: dead endpoints hold their slots for long.
    pub for_failing: i64,
    /// By one tenant, in all processes together.
    pub per_tenant: i64,
}

/// Slots, offset in seconds, lease in seconds, per tenant, for failing, now.
const LEASE: &str = "WITH RECURSIVE waiting (webhook_id) AS (
     (SELECT webhook_id FROM open_deliveries WHERE lease_token IS NULL ORDER BY webhook_id LIMIT 1)
     UNION ALL
     SELECT (SELECT d.webhook_id FROM open_deliveries d
             WHERE d.lease_token IS NULL AND d.webhook_id > waiting.webhook_id ORDER BY d.webhook_id LIMIT 1)
     FROM waiting WHERE waiting.webhook_id IS NOT NULL
 ), a_second_ago AS (
     SELECT uuid_floor(clock_timestamp() - INTERVAL '1001 milliseconds') AS id
 ), in_flight AS (
     SELECT webhook_id, tenant_id, count(*) AS busy,
         count(*) FILTER (WHERE attempt_id > (SELECT id FROM a_second_ago)) AS begun
     FROM open_deliveries WHERE lease_token IS NOT NULL
     GROUP BY webhook_id, tenant_id
 ), busy_tenants AS (
     SELECT tenant_id, sum(busy) AS busy FROM in_flight GROUP BY tenant_id
 ), busy_hosts AS (
     SELECT u.tenant_id, u.host, w.failing_since IS NOT NULL AS has_failed
     FROM unreachable_hosts u
     JOIN webhooks w ON w.tenant_id = u.tenant_id AND w.host = u.host
     JOIN in_flight ON in_flight.webhook_id = w.id
     GROUP BY 1, 2, 3
 ), due AS (
     SELECT one.delivery_id, w.tenant_id, one.next_attempt_at, w.failing_since IS NOT NULL OR u.host IS NOT NULL AS is_failing,
         row_number() OVER (PARTITION BY w.id ORDER BY one.next_attempt_at) AS turn,
         count(*) OVER (PARTITION BY w.id) = room.free AS is_full,
         u.host IS NULL OR busy_hosts.host IS NULL AND 1 = row_number() OVER (
             PARTITION BY w.tenant_id, u.host, w.failing_since IS NULL ORDER BY one.next_attempt_at) AS may_go
     FROM waiting
     JOIN webhooks w ON w.id = waiting.webhook_id AND (w.is_active OR w.probe_id IS NOT NULL) AND w.deleted_at IS NULL
     JOIN tenants t ON t.id = w.tenant_id AND t.is_active
         AND NOT EXISTS (SELECT FROM busy_tenants b WHERE b.tenant_id = t.id AND $4 <= b.busy)
     LEFT JOIN in_flight ON in_flight.webhook_id = w.id
     LEFT JOIN unreachable_hosts u ON u.tenant_id = w.tenant_id AND u.host = w.host
     LEFT JOIN busy_hosts ON busy_hosts.tenant_id = u.tenant_id AND busy_hosts.host = u.host
         AND busy_hosts.has_failed = (w.failing_since IS NOT NULL)
     CROSS JOIN LATERAL (
         SELECT greatest(0, least($1, CASE WHEN w.failing_since IS NULL AND u.host IS NULL THEN w.max_in_flight ELSE 1 END
             - coalesce(in_flight.busy, 0), w.rate_per_second - coalesce(in_flight.begun, 0) - recent.ended)) AS free
         FROM (SELECT CASE WHEN w.rate_per_second IS NOT NULL THEN (
             SELECT count(*) FROM attempts a WHERE a.tenant_id = w.tenant_id AND a.webhook_id = w.id
                 AND a.id > (SELECT id FROM a_second_ago)) END AS ended) recent
     ) room
     CROSS JOIN LATERAL (
         SELECT d.delivery_id, d.next_attempt_at FROM open_deliveries d
         WHERE d.webhook_id = w.id AND d.lease_token IS NULL
             AND d.next_attempt_at <= clock_timestamp() + make_interval(secs => $2)
             AND (w.is_active OR d.delivery_id = w.probe_id)
         ORDER BY d.next_attempt_at
         LIMIT room.free) one
 ), ranked AS (
     SELECT due.*, coalesce(busy, 0) AS busy,
         row_number() OVER (PARTITION BY tenant_id ORDER BY due.turn, next_attempt_at) AS turn_of_tenant
     FROM due LEFT JOIN busy_tenants USING (tenant_id) WHERE may_go
 ), fair AS (
     SELECT ranked.*, row_number() OVER (PARTITION BY is_failing ORDER BY turn_of_tenant, next_attempt_at) AS place
     FROM ranked WHERE turn_of_tenant <= $4 - busy
 ), chosen AS (
     SELECT d.tenant_id, d.delivery_id, uuid_v7(clock_timestamp()) AS attempt_id, fair.is_failing, fair.is_full
     FROM fair JOIN open_deliveries d ON d.tenant_id = fair.tenant_id AND d.delivery_id = fair.delivery_id
     WHERE coalesce(d.lease_token IS NULL, FALSE) AND (NOT fair.is_failing OR fair.place <= $5)
     ORDER BY fair.turn_of_tenant, fair.next_attempt_at LIMIT $1
     FOR UPDATE OF d SKIP LOCKED
 ), leased AS (
     UPDATE open_deliveries d SET lease_token = gen_random_uuid(), attempt_id = chosen.attempt_id, attempted_at = $6,
         lease_until = clock_timestamp() + make_interval(secs => $3), attempts_made = d.attempts_made + 1,
         next_attempt_at = NULL
     FROM chosen WHERE d.tenant_id = chosen.tenant_id AND d.delivery_id = chosen.delivery_id
     RETURNING d.*, chosen.is_failing, chosen.is_full
 )
 SELECT d.delivery_id AS id, d.lease_token, d.attempt_id, d.attempted_at, d.tenant_id, t.slug AS tenant_slug, d.event_id,
     d.event_type, e.payload, e.created_at AS event_at, d.webhook_id, w.url, w.payload_format, w.signature_style,
     w.timeout_seconds, w.headers, d.attempts_made, d.attempts_max, w.retry_gaps, d.is_failing, d.is_full,
     ARRAY(SELECT s.sealed FROM signing_secrets s WHERE s.webhook_id = w.id
           AND (s.expires_at IS NULL OR s.expires_at > $6) ORDER BY s.id DESC) AS secrets
 FROM leased d
 JOIN events e ON e.id = d.event_id
 JOIN webhooks w ON w.id = d.webhook_id
 JOIN tenants t ON t.id = d.tenant_id";

/// Leases due deliveries of active webhooks of active tenants, and notes with each lease the attempt that is about to
/// be: from each webhook no more than its cap and its rate leave free (a failing one is asked one thing at a time), from
/// each tenant no more than its cap, round-robin over tenants and over the webhooks of each.
///
/// Of a webhook that is off, its probe alone. To a host that does not answer one request of the tenant goes at a time, and
/// one more of webhooks that have not failed themselves: what is well there must not wait for what is not.
///
/// Nothing joins two lists of deliveries: ids of attempts are made where deliveries are chosen, and what is known of
/// them goes along, for the plan, which is made once and without statistics, would compare each with each. (That is also
/// why `chosen` says its condition so that no partial index offers itself.)
///
/// `waiting` steps through the partial index from one webhook to the next, so that a backlog of one costs the
/// others nothing. `is_full` says that its webhook may have more that is due.
pub fn lease(
    conn: &mut PgConnection,
    room: Room,
    lease: Duration,
    offset: TimeDelta,
    now: DateTime<Utc>,
) -> Result<Vec<Claimed>> {
    let query = kept(LEASE);
    let bound = query
        .bind::<BigInt, _>(room.slots)
        .bind::<Double, _>(seconds(offset))
        .bind::<Double, _>(lease.as_secs_f64())
        .bind::<BigInt, _>(room.per_tenant)
        .bind::<BigInt, _>(room.for_failing)
        .bind::<Timestamptz, _>(now);
    Ok(bound.load(conn)?)
}

pub(super) fn seconds(span: TimeDelta) -> f64 {
    let length = span.abs().to_std().unwrap_or_default().as_secs_f64();
    if span < TimeDelta::zero() { -length } else { length }
}

/// Takes back up to `limit` deliveries whose lease has run out: they are due at once, or failed if no attempt is
/// left. The attempt that was under way is written down as lost. Returns how many.
pub fn take_back(conn: &mut PgConnection, limit: i64, now: DateTime<Utc>) -> Result<usize> {
    let query = kept(
        "WITH late AS (
             SELECT tenant_id, delivery_id, attempt_id, attempted_at FROM open_deliveries
             WHERE lease_token IS NOT NULL AND lease_until < clock_timestamp()
             ORDER BY lease_until LIMIT $1 FOR UPDATE SKIP LOCKED
         ), back AS (
             UPDATE open_deliveries o SET lease_token = NULL, lease_until = NULL, attempt_id = NULL, attempted_at = NULL,
                 next_attempt_at = clock_timestamp()
             FROM late WHERE o.tenant_id = late.tenant_id AND o.delivery_id = late.delivery_id
                 AND o.attempts_made < o.attempts_max
             RETURNING o.*, late.attempt_id AS lost_id, late.attempted_at AS lost_at, 'retrying' AS state
         ), ended AS (
             DELETE FROM open_deliveries o
             USING late WHERE o.tenant_id = late.tenant_id AND o.delivery_id = late.delivery_id
                 AND o.attempts_made >= o.attempts_max
             RETURNING o.*, late.attempt_id AS lost_id, late.attempted_at AS lost_at, 'failed' AS state
         ), lost AS (
             SELECT * FROM back UNION ALL SELECT * FROM ended
         ), noted AS (
             INSERT INTO attempts (id, tenant_id, delivery_id, event_id, event_type, webhook_id, number, request_url, error,
                 created_at, finished_at)
             SELECT lost_id, lost.tenant_id, delivery_id, event_id, event_type, webhook_id, attempts_made, w.url, $2, lost_at, $3
             FROM lost JOIN webhooks w ON w.id = lost.webhook_id
         )
         UPDATE deliveries d SET state = lost.state, attempts_made = lost.attempts_made, last_status = NULL, last_error = $2,
             has_trouble = TRUE, finished_at = CASE WHEN lost.state = 'failed' THEN $3 END
         FROM lost WHERE d.id = lost.delivery_id
         RETURNING d.id",
    );
    let lost = "the process that made this attempt stopped before it could note the answer";
    Ok(query.bind::<BigInt, _>(limit).bind::<Text, _>(lost).bind::<Timestamptz, _>(now).execute(conn)?)
}

/// How much waits, and for how long the oldest due delivery has: for metrics and the system page.
#[derive(Debug, Clone, Copy, Default, QueryableByName)]
pub struct Backlog {
    #[diesel(sql_type = BigInt)]
    pub waiting: i64,
    #[diesel(sql_type = BigInt)]
    pub in_flight: i64,
    #[diesel(sql_type = Double)]
    pub lag_seconds: f64,
}

pub fn backlog(conn: &mut PgConnection) -> Result<Backlog> {
    let query = diesel::sql_query(
        "SELECT (SELECT count(*) FROM open_deliveries WHERE lease_token IS NULL) AS waiting,
             (SELECT count(*) FROM open_deliveries WHERE lease_token IS NOT NULL) AS in_flight,
             coalesce(extract(epoch FROM clock_timestamp() - (SELECT min(next_attempt_at) FROM open_deliveries
                 WHERE lease_token IS NULL AND next_attempt_at <= clock_timestamp())), 0)::float8 AS lag_seconds",
    );
    Ok(query.get_result(conn)?)
}
