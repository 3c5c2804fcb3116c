//! What the delivery worker asks of `deliveries`: lease a batch, note what came of it, take back what ran out.
//!
//! Leases run by the database's clock alone. Due times do too, moved by an offset that only tests set.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Double, Jsonb, Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid};
use serde_json::Value;
use uuid::Uuid;

use crate::domain::delivery::{DeliveryState, ErrorKind};
use crate::domain::{AttemptId, DeliveryId, Result, WebhookId};
use crate::model::Claimed;

/// Claims are made one after the other, so that two workers together keep to a webhook's cap.
const TURNSTILE: i64 = 7_461_021;

pub fn lock_turnstile(conn: &mut PgConnection) -> Result<()> {
    diesel::sql_query("SELECT pg_advisory_xact_lock($1)").bind::<BigInt, _>(TURNSTILE).execute(conn)?;
    Ok(())
}

/// Leases up to `slots` due deliveries of active webhooks of active tenants: from each webhook no more than its
/// cap leaves free, round-robin over tenants and over the webhooks of each.
///
/// `waiting` steps through the partial index from one webhook to the next, so that a backlog of one costs the
/// others nothing. `is_full` says that its webhook may have more that is due.
pub fn lease(conn: &mut PgConnection, slots: i64, lease: Duration, offset: TimeDelta) -> Result<Vec<Claimed>> {
    let query = diesel::sql_query(
        "WITH RECURSIVE waiting (webhook_id) AS (
             (SELECT webhook_id FROM deliveries WHERE state IN ('pending', 'retrying') AND lease_token IS NULL
              ORDER BY webhook_id LIMIT 1)
             UNION ALL
             SELECT (SELECT d.webhook_id FROM deliveries d
                     WHERE d.state IN ('pending', 'retrying') AND d.lease_token IS NULL AND d.webhook_id > waiting.webhook_id
                     ORDER BY d.webhook_id LIMIT 1)
             FROM waiting WHERE waiting.webhook_id IS NOT NULL
         ), in_flight AS (
             SELECT webhook_id, count(*) AS busy FROM deliveries WHERE lease_token IS NOT NULL GROUP BY webhook_id
         ), due AS (
             SELECT one.id, w.tenant_id, one.next_attempt_at,
                 row_number() OVER (PARTITION BY w.id ORDER BY one.next_attempt_at) AS turn,
                 count(*) OVER (PARTITION BY w.id) = least($1, w.max_in_flight - coalesce(in_flight.busy, 0)) AS is_full
             FROM waiting
             JOIN webhooks w ON w.id = waiting.webhook_id AND w.is_active AND w.deleted_at IS NULL
             JOIN tenants t ON t.id = w.tenant_id AND t.is_active
             LEFT JOIN in_flight ON in_flight.webhook_id = w.id
             CROSS JOIN LATERAL (
                 SELECT d.id, d.next_attempt_at FROM deliveries d
                 WHERE d.webhook_id = w.id AND d.state IN ('pending', 'retrying') AND d.lease_token IS NULL
                     AND d.next_attempt_at <= clock_timestamp() + make_interval(secs => $2)
                 ORDER BY d.next_attempt_at
                 LIMIT least($1, greatest(w.max_in_flight - coalesce(in_flight.busy, 0), 0))) one
         ), ranked AS (
             SELECT id, row_number() OVER (PARTITION BY tenant_id ORDER BY turn, next_attempt_at) AS turn, next_attempt_at FROM due
         ), chosen AS (
             SELECT d.id FROM ranked JOIN deliveries d ON d.id = ranked.id
             WHERE d.state IN ('pending', 'retrying') AND d.lease_token IS NULL
             ORDER BY ranked.turn, ranked.next_attempt_at LIMIT $1
             FOR UPDATE OF d SKIP LOCKED
         ), leased AS (
             UPDATE deliveries d SET lease_token = gen_random_uuid(), lease_until = clock_timestamp() + make_interval(secs => $3),
                 attempts_made = d.attempts_made + 1, next_attempt_at = NULL
             FROM chosen WHERE d.id = chosen.id
             RETURNING d.*
         )
         SELECT d.id, d.lease_token, d.tenant_id, t.slug AS tenant_slug, d.event_id, d.event_type, e.payload,
             e.created_at AS event_at, d.webhook_id, w.url, w.payload_format, w.signature_style, w.timeout_seconds,
             w.headers, d.attempts_made, d.attempts_max, due.is_full
         FROM leased d
         JOIN due ON due.id = d.id
         JOIN events e ON e.id = d.event_id
         JOIN webhooks w ON w.id = d.webhook_id
         JOIN tenants t ON t.id = d.tenant_id",
    );
    let bound =
        query.bind::<BigInt, _>(slots).bind::<Double, _>(seconds(offset)).bind::<Double, _>(lease.as_secs_f64());
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
    let query = diesel::sql_query(
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
    let query = diesel::sql_query(
        "UPDATE attempts a SET request_headers = s.request_headers, response_status = s.status,
             response_headers = s.response_headers, response_body = s.body, duration_ms = s.duration_ms, success = s.success,
             error_kind = s.error_kind, error = s.error, remote_address = s.remote_address, finished_at = $11
         FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) AS
             s (id, request_headers, status, response_headers, body, duration_ms, success, error_kind, error, remote_address)
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
        .bind::<Timestamptz, _>(now);
    bound.execute(conn)?;
    Ok(())
}

fn each<'a, T>(batch: &[&'a Settled], of: impl Fn(&'a Settled) -> T) -> Vec<T> {
    batch.iter().map(|one| of(one)).collect()
}

/// Takes back up to `limit` deliveries whose lease has run out: they are due at once, or failed if no attempt is
/// left. The attempt that was under way is marked. Returns how many.
pub fn take_back(conn: &mut PgConnection, limit: i64, now: DateTime<Utc>) -> Result<usize> {
    let query = diesel::sql_query(
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
