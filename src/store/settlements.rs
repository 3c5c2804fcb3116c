//! Writes down what came of attempts: the attempts themselves, and what becomes of their deliveries.

use std::collections::HashSet;

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel::sql_types::{
    Array, BigInt, Bool, Double, Integer, Jsonb, Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid,
};
use serde_json::Value;
use uuid::Uuid;

use super::claims::seconds;
use super::kept::kept;
use crate::domain::delivery::{DeliveryState, ErrorKind, Timings};
use crate::domain::webhook::PayloadFormat;
use crate::domain::{AttemptId, DeliveryId, EventId, Result, TenantId, WebhookId};
use crate::schema::{attempts, deliveries};

/// What is written once an attempt has come back: to the attempt, and to its delivery.
#[derive(Debug, Clone)]
pub struct Settled {
    pub tenant: TenantId,
    pub delivery: DeliveryId,
    pub event: EventId,
    pub event_type: String,
    pub webhook: WebhookId,
    pub lease_token: Uuid,
    pub attempt: AttemptId,
    pub attempted_at: DateTime<Utc>,
    pub number: i64,
    pub request_url: String,
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

/// Columns of the batch, then the clock's offset in seconds, and now. (Each delivery is found by its id alone, which leads
/// into its partition. A range of ids besides would be read as a whole: plans here are made without statistics.)
const SETTLE: &str = "WITH asked AS (
     SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22,
             $23, $24, $25) AS
         s (tenant_id, delivery_id, lease_token, event_id, event_type, webhook_id, attempt_id, attempted_at, number, url, state,
            retry_after, request_headers, status, response_headers, body, duration_ms, success, error_kind, error,
            remote_address, dns_us, connect_us, first_byte_us, format)
 ), retried AS (
     UPDATE open_deliveries o SET lease_token = NULL, lease_until = NULL, attempt_id = NULL, attempted_at = NULL,
         next_attempt_at = clock_timestamp() + make_interval(secs => $26) + make_interval(secs => s.retry_after)
     FROM asked s
     WHERE o.tenant_id = s.tenant_id AND o.delivery_id = s.delivery_id AND o.lease_token = s.lease_token
         AND s.retry_after IS NOT NULL
     RETURNING s.*
 ), ended AS (
     DELETE FROM open_deliveries o USING asked s
     WHERE o.tenant_id = s.tenant_id AND o.delivery_id = s.delivery_id AND o.lease_token = s.lease_token
         AND s.retry_after IS NULL
     RETURNING s.*
 ), held AS (
     SELECT * FROM retried UNION ALL SELECT * FROM ended
 ), noted AS (
     INSERT INTO attempts (id, tenant_id, delivery_id, event_id, event_type, webhook_id, number, request_url, request_headers,
         response_status, response_headers, response_body, duration_ms, success, error_kind, error, remote_address, created_at,
         finished_at, dns_us, connect_us, first_byte_us, payload_format)
     SELECT attempt_id, tenant_id, delivery_id, event_id, event_type, webhook_id, number, url, request_headers, status,
         response_headers, body, duration_ms, success, error_kind, error, remote_address, attempted_at, $27, dns_us,
         connect_us, first_byte_us, format
     FROM held
 )
 UPDATE deliveries d SET state = held.state, attempts_made = held.number, last_status = held.status,
     last_error = held.error, has_trouble = held.error IS NOT NULL OR held.state = 'failed',
     finished_at = CASE WHEN held.retry_after IS NULL THEN $27 END
 FROM held WHERE d.id = held.delivery_id
 RETURNING d.id";

#[derive(QueryableByName)]
struct Held {
    #[diesel(sql_type = SqlUuid)]
    id: DeliveryId,
}

/// Writes down those attempts whose lease is still held, moves their deliveries on, and tells which: the others belong to
/// somebody else by now.
pub fn settle(
    conn: &mut PgConnection,
    batch: &[&Settled],
    offset: TimeDelta,
    now: DateTime<Utc>,
) -> Result<Vec<DeliveryId>> {
    let query = kept(SETTLE);
    let bound = query
        .bind::<Array<BigInt>, _>(each(batch, |one| one.tenant.0))
        .bind::<Array<SqlUuid>, _>(each(batch, |one| one.delivery.0))
        .bind::<Array<SqlUuid>, _>(each(batch, |one| one.lease_token))
        .bind::<Array<SqlUuid>, _>(each(batch, |one| one.event.0))
        .bind::<Array<Text>, _>(each(batch, |one| one.event_type.as_str()))
        .bind::<Array<BigInt>, _>(each(batch, |one| one.webhook.0))
        .bind::<Array<SqlUuid>, _>(each(batch, |one| one.attempt.0))
        .bind::<Array<Timestamptz>, _>(each(batch, |one| one.attempted_at))
        .bind::<Array<BigInt>, _>(each(batch, |one| one.number))
        .bind::<Array<Text>, _>(each(batch, |one| one.request_url.as_str()))
        .bind::<Array<Text>, _>(each(batch, |one| one.state.as_str()))
        .bind::<Array<Nullable<Double>>, _>(each(batch, |one| one.retry_after.map(seconds)))
        .bind::<Array<Jsonb>, _>(each(batch, |one| &one.request_headers))
        .bind::<Array<Nullable<SmallInt>>, _>(each(batch, |one| one.response_status))
        .bind::<Array<Jsonb>, _>(each(batch, |one| &one.response_headers))
        .bind::<Array<Nullable<Text>>, _>(each(batch, |one| one.response_body.as_deref()))
        .bind::<Array<BigInt>, _>(each(batch, |one| one.duration_ms))
        .bind::<Array<Bool>, _>(each(batch, |one| one.success))
        .bind::<Array<Nullable<Text>>, _>(each(batch, |one| one.error_kind.map(ErrorKind::as_str)))
        .bind::<Array<Nullable<Text>>, _>(each(batch, |one| one.error.as_deref()))
        .bind::<Array<Nullable<Text>>, _>(each(batch, |one| one.remote_address.as_deref()))
        .bind::<Array<Nullable<Integer>>, _>(each(batch, |one| one.timings.dns_us))
        .bind::<Array<Nullable<Integer>>, _>(each(batch, |one| one.timings.connect_us))
        .bind::<Array<Nullable<Integer>>, _>(each(batch, |one| one.timings.first_byte_us))
        .bind::<Array<Nullable<Text>>, _>(each(batch, |one| one.payload_format.map(PayloadFormat::as_str)))
        .bind::<Double, _>(seconds(offset))
        .bind::<Timestamptz, _>(now);
    let held: Vec<Held> = bound.load(conn)?;
    Ok(held.into_iter().map(|row| row.id).collect())
}

/// Adds the answers to attempts whose delivery was cancelled meanwhile, and tells how many there are: those attempts were
/// recorded at the cancellation, and stay failures.
pub fn complete_cancelled(conn: &mut PgConnection, late: &[&Settled]) -> Result<usize> {
    let found = deliveries::table.filter(deliveries::id.eq_any(late.iter().map(|one| one.delivery)));
    let found = found.filter(deliveries::state.eq(DeliveryState::Cancelled));
    let cancelled: HashSet<DeliveryId> = found.select(deliveries::id).load(conn)?.into_iter().collect();
    for one in late.iter().filter(|one| cancelled.contains(&one.delivery)) {
        let recorded = attempts::table.find(one.attempt).filter(attempts::tenant_id.eq(one.tenant));
        diesel::update(recorded.filter(attempts::duration_ms.is_null()))
            .set((
                attempts::request_headers.eq(&one.request_headers),
                attempts::response_status.eq(one.response_status),
                attempts::response_headers.eq(&one.response_headers),
                attempts::response_body.eq(&one.response_body),
                attempts::duration_ms.eq(one.duration_ms),
                attempts::error_kind.eq(one.error_kind),
                attempts::remote_address.eq(&one.remote_address),
                attempts::payload_format.eq(one.payload_format),
            ))
            .execute(conn)?;
    }
    Ok(late.iter().filter(|one| cancelled.contains(&one.delivery)).count())
}

fn each<'a, T>(batch: &[&'a Settled], of: impl Fn(&'a Settled) -> T) -> Vec<T> {
    batch.iter().map(|one| of(one)).collect()
}
