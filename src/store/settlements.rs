//! Settlement of finished attempts: writes the attempts, and updates their deliveries.

use std::collections::HashSet;

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel::sql_types::{
    Array, BigInt, Bool, Double, Integer, Jsonb, Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid,
};
use serde_json::Value;
use uuid::Uuid;

use super::cached_sql::cached_sql;
use super::claims::seconds;
use crate::domain::delivery::{DeliveryState, ErrorKind, Timings};
use crate::domain::webhook::PayloadFormat;
use crate::domain::{AttemptId, DeliveryId, EventId, Result, TenantId, WebhookId};
use crate::schema::{attempts, deliveries};

/// Result of a finished attempt: written to the attempt, and to its delivery.
#[derive(Debug, Clone)]
pub struct AttemptResult {
    /// Tenant that the delivery belongs to.
    pub tenant: TenantId,
    /// Delivery that the attempt belongs to.
    pub delivery: DeliveryId,
    /// Event that was delivered.
    pub event: EventId,
    /// Type of the event.
    pub event_type: String,
    /// Webhook that the request went to.
    pub webhook: WebhookId,
    /// Token of the lease: nothing is written if the delivery has another lease by now.
    pub lease_token: Uuid,
    /// Id of the attempt.
    pub attempt: AttemptId,
    /// Start of the attempt (UTC).
    pub attempted_at: DateTime<Utc>,
    /// Number of the attempt, from 1.
    pub number: i64,
    /// URL that the request went to.
    pub request_url: String,
    /// New state of the delivery.
    pub state: DeliveryState,
    /// Wait until the next attempt; `None` if there is none.
    pub retry_after: Option<TimeDelta>,
    /// Headers of the request, with secret values masked.
    pub request_headers: Value,
    /// HTTP status of the response, if there was one.
    pub response_status: Option<i16>,
    /// Headers of the response.
    pub response_headers: Value,
    /// Start of the response's body.
    pub response_body: Option<String>,
    /// Milliseconds that the attempt took.
    pub duration_ms: i64,
    /// True if the webhook accepted the delivery.
    pub success: bool,
    /// Kind of the failure.
    pub error_kind: Option<ErrorKind>,
    /// Description of the failure.
    pub error: Option<String>,
    /// IP address that the request went to.
    pub remote_address: Option<String>,
    /// Durations of the attempt's phases.
    pub timings: Timings,
    /// Format of the body; `None` if no body could be made.
    pub payload_format: Option<PayloadFormat>,
}

/// SQL of [`settle`]. Binds one array per column, the clock's offset in seconds, and now. Deliveries are found by
/// their id alone, which leads into its partition. With a range of ids besides, the plan would read the whole range:
/// it is made without statistics.
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
     -- The lease decides: a late worker whose lease was taken back matches no row, and changes nothing here.
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
 -- `held` holds the rows whose lease matched: the delivery changes if and only if its attempt was written.
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

/// Writes the attempts whose lease is still held, updates their deliveries, and returns these deliveries. The other
/// deliveries have been leased again or closed meanwhile.
pub fn settle(
    conn: &mut PgConnection,
    batch: &[&AttemptResult],
    offset: TimeDelta,
    now: DateTime<Utc>,
) -> Result<Vec<DeliveryId>> {
    let query = cached_sql(SETTLE);
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

/// Adds the responses to attempts whose delivery was cancelled meanwhile, and returns their number. The cancellation
/// has recorded these attempts already. The deliveries stay cancelled, whatever the response was.
pub fn complete_cancelled(conn: &mut PgConnection, late: &[&AttemptResult]) -> Result<usize> {
    let found = deliveries::table.filter(deliveries::id.eq_any(late.iter().map(|one| one.delivery)));
    let found = found.filter(deliveries::state.eq(DeliveryState::Cancelled));
    let cancelled: HashSet<DeliveryId> = found.select(deliveries::id).load(conn)?.into_iter().collect();
    for one in late.iter().filter(|one| cancelled.contains(&one.delivery)) {
        let recorded = attempts::table.find(one.attempt).filter(attempts::tenant_id.eq(one.tenant));
        // Rows with a duration have their response already.
        diesel::update(recorded.filter(attempts::duration_ms.is_null()))
            .set((
                attempts::request_headers.eq(&one.request_headers),
                attempts::response_status.eq(one.response_status),
                attempts::response_headers.eq(&one.response_headers),
                attempts::response_body.eq(&one.response_body),
                attempts::duration_ms.eq(one.duration_ms),
                attempts::success.eq(one.success),
                attempts::error.eq(&late_error(one)),
                attempts::error_kind.eq(one.error_kind),
                attempts::remote_address.eq(&one.remote_address),
                attempts::payload_format.eq(one.payload_format),
            ))
            .execute(conn)?;
        diesel::update(deliveries::table.find(one.delivery).filter(deliveries::tenant_id.eq(one.tenant)))
            .set((deliveries::last_status.eq(one.response_status), deliveries::last_error.eq(late_error(one))))
            .execute(conn)?;
    }
    Ok(late.iter().filter(|one| cancelled.contains(&one.delivery)).count())
}

/// Returns the note for an attempt that ended after its webhook was deleted.
fn late_error(one: &AttemptResult) -> String {
    let result = match (one.response_status, &one.error) {
        (Some(status), _) => format!("answered {status}"),
        (None, Some(error)) => error.clone(),
        (None, None) => "ended".to_owned(),
    };
    format!("{result} after the webhook was deleted")
}

/// Collects one column of the batch.
fn each<'a, T>(batch: &[&'a AttemptResult], of: impl Fn(&'a AttemptResult) -> T) -> Vec<T> {
    batch.iter().map(|one| of(one)).collect()
}
