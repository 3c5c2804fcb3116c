//! What the delivery worker asks of `deliveries`: lease a batch, note what came of it, take back what ran out.
//!
//! Leases run by the database's clock alone. Due times do too, moved by an offset that only tests set.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel::sql_types::{
    Array, BigInt, Bool, Double, Integer, Jsonb, Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid,
};
use serde_json::Value;
use uuid::Uuid;

use super::kept::kept;
use crate::domain::delivery::{DeliveryState, ErrorKind, Timings};
use crate::domain::webhook::PayloadFormat;
use crate::domain::{AttemptId, DeliveryId, Result, WebhookId};
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
     (SELECT webhook_id FROM deliveries WHERE state IN ('pending', 'retrying') AND lease_token IS NULL
      ORDER BY webhook_id LIMIT 1)
     UNION ALL
     SELECT (SELECT d.webhook_id FROM deliveries d
             WHERE d.state IN ('pending', 'retrying') AND d.lease_token IS NULL AND d.webhook_id > waiting.webhook_id
             ORDER BY d.webhook_id LIMIT 1)
     FROM waiting WHERE waiting.webhook_id IS NOT NULL
 ), in_flight AS (
     SELECT webhook_id, tenant_id, count(*) AS busy FROM deliveries WHERE lease_token IS NOT NULL
     GROUP BY webhook_id, tenant_id
 ), busy_tenants AS (
     SELECT tenant_id, sum(busy) AS busy FROM in_flight GROUP BY tenant_id
 ), due AS (
     SELECT one.id, w.tenant_id, one.next_attempt_at, w.failing_since IS NOT NULL AS is_failing,
         row_number() OVER (PARTITION BY w.id ORDER BY one.next_attempt_at) AS turn,
         count(*) OVER (PARTITION BY w.id) = room.free AS is_full
     FROM waiting
     JOIN webhooks w ON w.id = waiting.webhook_id AND (w.is_active OR w.probe_id IS NOT NULL) AND w.deleted_at IS NULL
     JOIN tenants t ON t.id = w.tenant_id AND t.is_active
     LEFT JOIN in_flight ON in_flight.webhook_id = w.id
     CROSS JOIN LATERAL (
         SELECT greatest(0, least($1, CASE WHEN w.failing_since IS NULL THEN w.max_in_flight ELSE 1 END
             - coalesce(in_flight.busy, 0), w.rate_per_second - recent.begun)) AS free
         FROM (SELECT CASE WHEN w.rate_per_second IS NOT NULL THEN (
             SELECT count(*) FROM attempts a WHERE a.tenant_id = w.tenant_id AND a.webhook_id = w.id
                 AND a.id > (SELECT uuid_v7(clock_timestamp() - INTERVAL '1001 milliseconds'))) END AS begun) recent
     ) room
     CROSS JOIN LATERAL (
         SELECT d.id, d.next_attempt_at FROM deliveries d
         WHERE d.webhook_id = w.id AND d.state IN ('pending', 'retrying') AND d.lease_token IS NULL
             AND d.next_attempt_at <= clock_timestamp() + make_interval(secs => $2) AND (w.is_active OR d.id = w.probe_id)
         ORDER BY d.next_attempt_at
         LIMIT room.free) one
 ), ranked AS (
     SELECT due.id, due.is_failing, due.is_full, due.next_attempt_at, coalesce(busy, 0) AS busy,
         row_number() OVER (PARTITION BY tenant_id ORDER BY turn, next_attempt_at) AS turn
     FROM due LEFT JOIN busy_tenants USING (tenant_id)
 ), fair AS (
     SELECT id, is_failing, is_full, turn, next_attempt_at,
         row_number() OVER (PARTITION BY is_failing ORDER BY turn, next_attempt_at) AS place
     FROM ranked WHERE turn <= $4 - busy
 ), chosen AS (
     SELECT d.id, uuid_v7(clock_timestamp()) AS attempt_id, fair.is_failing, fair.is_full
     FROM fair JOIN deliveries d ON d.id = fair.id
     WHERE coalesce(d.state IN ('pending', 'retrying') AND d.lease_token IS NULL, FALSE)
         AND (NOT fair.is_failing OR fair.place <= $5)
     ORDER BY fair.turn, fair.next_attempt_at LIMIT $1
     FOR UPDATE OF d SKIP LOCKED
 ), leased AS (
     UPDATE deliveries d SET lease_token = gen_random_uuid(), lease_until = clock_timestamp() + make_interval(secs => $3),
         attempts_made = d.attempts_made + 1, next_attempt_at = NULL
     FROM chosen WHERE d.id = chosen.id
     RETURNING d.*, chosen.attempt_id, chosen.is_failing, chosen.is_full
 ), tried AS (
     INSERT INTO attempts (id, tenant_id, delivery_id, event_id, event_type, webhook_id, number, request_url, created_at)
     SELECT d.attempt_id, d.tenant_id, d.id, d.event_id, d.event_type, d.webhook_id, d.attempts_made, w.url, $6
     FROM leased d JOIN webhooks w ON w.id = d.webhook_id
 )
 SELECT d.id, d.lease_token, d.attempt_id, d.tenant_id, t.slug AS tenant_slug, d.event_id, d.event_type,
     e.payload, e.created_at AS event_at, d.webhook_id, w.url, w.payload_format, w.signature_style, w.timeout_seconds,
     w.headers, d.attempts_made, d.attempts_max, w.retry_gaps, d.is_failing, d.is_full,
     ARRAY(SELECT s.sealed FROM signing_secrets s WHERE s.webhook_id = w.id
           AND (s.expires_at IS NULL OR s.expires_at > $6) ORDER BY s.id DESC) AS secrets
 FROM leased d
 JOIN events e ON e.id = d.event_id
 JOIN webhooks w ON w.id = d.webhook_id
 JOIN tenants t ON t.id = d.tenant_id";

/// Leases due deliveries of active webhooks of active tenants, and writes down the attempt that each is about to have:
/// from each webhook no more than its cap and its rate leave free (a failing one is asked one thing at a time), from
/// each tenant no more than its cap, round-robin over tenants and over the webhooks of each.
///
/// Of a webhook that is off, its probe alone.
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

fn seconds(span: TimeDelta) -> f64 {
    let length = span.abs().to_std().unwrap_or_default().as_secs_f64();
    if span < TimeDelta::zero() { -length } else { length }
}

/// What is written once an attempt has come back: to the attempt, and to its delivery.
#[derive(Debug, Clone)]
pub struct Settled {
    pub delivery: DeliveryId,
    pub lease_token: Uuid,
    pub attempt: AttemptId,
    pub state: DeliveryState,
    /// For a delivery that is tried again: how long from now.
    pub retry_after: Option<TimeDelta>,
    pub request_headers: Value,
    pub response_status: Option<i16>,
    pub response_headers: Value,
    pub response_body: Option<String>,
    pub duration_ms: i64,
    pub success: bool,
    pub error_kind: Option<ErrorKind>,
    pub error: Option<String>,
    pub remote_address: Option<String>,
    pub timings: Timings,
    /// How the body was made, where it could be.
    pub payload_format: Option<PayloadFormat>,
}

#[derive(QueryableByName)]
struct Taken {
    #[diesel(sql_type = SqlUuid)]
    id: DeliveryId,
}

/// Moves those deliveries on whose lease is still held, and tells which: the others belong to somebody else by now.
pub fn settle_deliveries(
    conn: &mut PgConnection,
    batch: &[&Settled],
    offset: TimeDelta,
    now: DateTime<Utc>,
) -> Result<Vec<DeliveryId>> {
    let query = kept(
        "UPDATE deliveries d SET state = s.state, lease_token = NULL, lease_until = NULL, last_status = s.status,
             last_error = s.error,
             next_attempt_at = clock_timestamp() + make_interval(secs => $7) + make_interval(secs => s.retry_after),
             finished_at = CASE WHEN s.retry_after IS NULL THEN $8 END
         FROM unnest($1, $2, $3, $4, $5, $6) AS s (id, lease_token, state, status, error, retry_after)
         WHERE d.id = s.id AND d.lease_token = s.lease_token
         RETURNING d.id",
    );
    let bound = query
        .bind::<Array<SqlUuid>, _>(each(batch, |one| one.delivery.0))
        .bind::<Array<SqlUuid>, _>(each(batch, |one| one.lease_token))
        .bind::<Array<Text>, _>(each(batch, |one| one.state.as_str()))
        .bind::<Array<Nullable<SmallInt>>, _>(each(batch, |one| one.response_status))
        .bind::<Array<Nullable<Text>>, _>(each(batch, |one| one.error.as_deref()))
        .bind::<Array<Nullable<Double>>, _>(each(batch, |one| one.retry_after.map(seconds)))
        .bind::<Double, _>(seconds(offset))
        .bind::<Timestamptz, _>(now);
    let taken: Vec<Taken> = bound.load(conn)?;
    Ok(taken.into_iter().map(|row| row.id).collect())
}

/// Notes what came of these attempts.
pub fn settle_attempts(conn: &mut PgConnection, batch: &[&Settled], now: DateTime<Utc>) -> Result<()> {
    let query = kept(
        "UPDATE attempts a SET request_headers = s.request_headers, response_status = s.status,
             response_headers = s.response_headers, response_body = s.body, duration_ms = s.duration_ms, success = s.success,
             error_kind = s.error_kind, error = s.error, remote_address = s.remote_address, finished_at = $11,
             dns_us = s.dns_us, connect_us = s.connect_us, first_byte_us = s.first_byte_us, payload_format = s.format
         FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $12, $13, $14, $15) AS
             s (id, request_headers, status, response_headers, body, duration_ms, success, error_kind, error, remote_address,
                dns_us, connect_us, first_byte_us, format)
         WHERE a.id = s.id",
    );
    let bound = query
        .bind::<Array<SqlUuid>, _>(each(batch, |one| one.attempt.0))
        .bind::<Array<Jsonb>, _>(each(batch, |one| one.request_headers.clone()))
        .bind::<Array<Nullable<SmallInt>>, _>(each(batch, |one| one.response_status))
        .bind::<Array<Jsonb>, _>(each(batch, |one| one.response_headers.clone()))
        .bind::<Array<Nullable<Text>>, _>(each(batch, |one| one.response_body.as_deref()))
        .bind::<Array<BigInt>, _>(each(batch, |one| one.duration_ms))
        .bind::<Array<Bool>, _>(each(batch, |one| one.success))
        .bind::<Array<Nullable<Text>>, _>(each(batch, |one| one.error_kind.map(ErrorKind::as_str)))
        .bind::<Array<Nullable<Text>>, _>(each(batch, |one| one.error.as_deref()))
        .bind::<Array<Nullable<Text>>, _>(each(batch, |one| one.remote_address.as_deref()))
        .bind::<Timestamptz, _>(now)
        .bind::<Array<Nullable<Integer>>, _>(each(batch, |one| one.timings.dns_us))
        .bind::<Array<Nullable<Integer>>, _>(each(batch, |one| one.timings.connect_us))
        .bind::<Array<Nullable<Integer>>, _>(each(batch, |one| one.timings.first_byte_us))
        .bind::<Array<Nullable<Text>>, _>(each(batch, |one| one.payload_format.map(PayloadFormat::as_str)));
    bound.execute(conn)?;
    Ok(())
}

fn each<'a, T>(batch: &[&'a Settled], of: impl Fn(&'a Settled) -> T) -> Vec<T> {
    batch.iter().map(|one| of(one)).collect()
}

/// Takes back up to `limit` deliveries whose lease has run out: they are due at once, or failed if no attempt is
/// left. The attempt that was under way is marked. Returns how many.
pub fn take_back(conn: &mut PgConnection, limit: i64, now: DateTime<Utc>) -> Result<usize> {
    let query = kept(
        "WITH late AS (
             SELECT id FROM deliveries WHERE lease_token IS NOT NULL AND lease_until < clock_timestamp()
             ORDER BY lease_until LIMIT $1 FOR UPDATE SKIP LOCKED
         ), back AS (
             UPDATE deliveries d SET lease_token = NULL, lease_until = NULL, last_status = NULL, last_error = $2,
                 state = CASE WHEN d.attempts_made < d.attempts_max THEN 'retrying' ELSE 'failed' END,
                 next_attempt_at = CASE WHEN d.attempts_made < d.attempts_max THEN clock_timestamp() END,
                 finished_at = CASE WHEN d.attempts_made < d.attempts_max THEN NULL ELSE $3 END
             FROM late WHERE d.id = late.id
             RETURNING d.id, d.tenant_id
         ), marked AS (
             UPDATE attempts a SET error = $2, finished_at = $3
             FROM back WHERE a.tenant_id = back.tenant_id AND a.delivery_id = back.id AND a.finished_at IS NULL
         )
         SELECT id FROM back",
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
        "SELECT (SELECT count(*) FROM deliveries WHERE state IN ('pending', 'retrying') AND lease_token IS NULL) AS waiting,
             (SELECT count(*) FROM deliveries WHERE lease_token IS NOT NULL) AS in_flight,
             coalesce(extract(epoch FROM clock_timestamp() - (SELECT min(next_attempt_at) FROM deliveries
                 WHERE state IN ('pending', 'retrying') AND lease_token IS NULL AND next_attempt_at <= clock_timestamp())), 0)::float8
                 AS lag_seconds",
    );
    Ok(query.get_result(conn)?)
}

/// Webhooks of a batch, without repetition.
pub fn distinct(ids: impl Iterator<Item = WebhookId>) -> Vec<WebhookId> {
    let mut ids: Vec<_> = ids.collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}
