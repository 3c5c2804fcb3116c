//! Publishing of many events in one statement, with a lease on each delivery that can be sent at once.

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bytea, Double, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use serde_json::Value;
use uuid::Uuid;

use super::cached_sql::cached_sql;
use super::claims::LeaseLimits;
use crate::domain::webhook::{PayloadFormat, SignatureStyle};
use crate::domain::{ApiKeyId, AttemptId, DeliveryId, EventId, Result, TenantId, UserId, WebhookId};
use crate::model::Claimed;

/// An event to write, with a delivery to each active webhook of its tenant whose patterns match.
#[derive(Debug)]
pub struct EventToPublish<'a> {
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
}

/// A delivery that was written. It has a lease if this process is to send it.
#[derive(Debug, QueryableByName)]
pub struct CreatedDelivery {
    /// Id of the delivery.
    #[diesel(sql_type = SqlUuid)]
    pub id: DeliveryId,
    /// Id of the event.
    #[diesel(sql_type = SqlUuid)]
    pub event_id: EventId,
    /// Token of the lease, if this process is to send the delivery.
    #[diesel(sql_type = Nullable<SqlUuid>)]
    lease_token: Option<Uuid>,
    /// Id of the coming attempt, if leased.
    #[diesel(sql_type = Nullable<SqlUuid>)]
    attempt_id: Option<AttemptId>,
    /// Slug of the tenant, sent in the envelope.
    #[diesel(sql_type = Text)]
    tenant_slug: String,
    /// Webhook that the delivery goes to.
    #[diesel(sql_type = BigInt)]
    pub webhook_id: WebhookId,
    /// URL that the request goes to.
    #[diesel(sql_type = Text)]
    url: String,
    /// Format of the request body.
    #[diesel(sql_type = Text)]
    payload_format: PayloadFormat,
    /// Style of the signature over the body.
    #[diesel(sql_type = Text)]
    signature_style: SignatureStyle,
    /// Seconds that the request may take.
    #[diesel(sql_type = BigInt)]
    timeout_seconds: i64,
    /// The webhook's own headers, sealed.
    #[diesel(sql_type = Jsonb)]
    headers: Value,
    /// Maximum number of attempts of this delivery, the first one included.
    #[diesel(sql_type = BigInt)]
    attempts_max: i64,
    /// Seconds before each retry by the webhook's own schedule; `None` for the default one.
    #[diesel(sql_type = Nullable<Array<BigInt>>)]
    retry_gaps: Option<Vec<i64>>,
    /// Sealed signing secrets that are live, newest first; empty without a lease.
    #[diesel(sql_type = Array<Bytea>)]
    secrets: Vec<Vec<u8>>,
}

impl CreatedDelivery {
    /// True if this process holds the lease and is to send the delivery.
    pub fn is_leased(&self) -> bool {
        self.lease_token.is_some()
    }

    /// Turns the delivery into a claim on its first attempt; `None` if it has no lease.
    pub fn into_claimed(self, event: &EventToPublish<'_>, now: DateTime<Utc>) -> Option<Claimed> {
        Some(Claimed {
            id: self.id,
            lease_token: self.lease_token?,
            attempt_id: self.attempt_id?,
            attempted_at: now,
            tenant_id: event.tenant,
            tenant_slug: self.tenant_slug,
            event_id: self.event_id,
            event_type: event.kind.to_owned(),
            payload: event.payload.to_owned(),
            event_at: now,
            webhook_id: self.webhook_id,
            url: self.url,
            payload_format: self.payload_format,
            signature_style: self.signature_style,
            timeout_seconds: self.timeout_seconds,
            headers: self.headers,
            attempts_made: 1,
            attempts_max: self.attempts_max,
            retry_gaps: self.retry_gaps,
            secrets: self.secrets,
            is_failing: false,
        })
    }
}

/// SQL of [`insert`]. Binds one array per column of the events (`$1` to `$7`), now, most attempts, slots, cap per
/// tenant, lease in seconds, and the tenants' ids.
const INSERT: &str = "WITH asked AS (
     SELECT * FROM unnest($1, $2, $3, $4, $5, $6, $7) WITH ORDINALITY
         AS a (id, tenant_id, type, payload, api_key_id, user_id, patterns, turn)
 ), published AS (
     INSERT INTO events (id, tenant_id, type, payload, api_key_id, user_id, created_at)
     SELECT id, tenant_id, type, payload, api_key_id, user_id, $8 FROM asked
 ), wanted AS (
     SELECT a.turn, a.id AS event_id, a.type, w.id AS webhook_id, a.tenant_id, w.max_in_flight,
         coalesce(cardinality(w.retry_gaps) + 1, $9) AS attempts_max,
         t.is_active AND w.failing_since IS NULL AND w.rate_per_second IS NULL AND silent.host IS NULL AS is_easy
     FROM asked a
     -- LIMIT and OFFSET 0 below keep each lookup an index scan per row: the plan is made once, without statistics.
     JOIN tenants t ON t.id = a.tenant_id
     CROSS JOIN LATERAL (
         SELECT id, host, max_in_flight, retry_gaps, failing_since, rate_per_second FROM webhooks
         WHERE tenant_id = a.tenant_id AND is_active AND deleted_at IS NULL AND events && a.patterns::text[] OFFSET 0) w
     LEFT JOIN LATERAL (
         SELECT u.host FROM unreachable_hosts u WHERE u.tenant_id = a.tenant_id AND u.host = w.host LIMIT 1) silent ON TRUE
 ), in_flight AS (
     SELECT webhook_id, tenant_id, count(*) AS busy FROM open_deliveries
     -- Repeats the expression of `open_deliveries_in_flight`, so that no other index fits, whatever the statistics
     -- say. Without slots nothing is leased, and the count is skipped.
     WHERE lease_token IS NOT NULL AND CASE WHEN lease_token IS NOT NULL THEN tenant_id END = ANY ($13) AND 0 < $10
     GROUP BY webhook_id, tenant_id
 ), known AS (
     -- Two lists in one, not a join: without statistics the plan would compare each row with each.
     SELECT turn, event_id, type, webhook_id, tenant_id, max_in_flight, attempts_max, is_easy, 0::bigint AS busy FROM wanted
     UNION ALL
     SELECT NULL, NULL, NULL, webhook_id, tenant_id, NULL, NULL, FALSE, busy FROM in_flight
 -- Rows in flight come last in `turn`: they add to `busy` and take no place before a new delivery.
 ), counted AS (
     SELECT turn, event_id, type, webhook_id, tenant_id, attempts_max, is_easy,
         max_in_flight - max(busy) OVER (PARTITION BY webhook_id) AS free,
         sum(busy) OVER (PARTITION BY tenant_id) AS busy_of_tenant,
         row_number() OVER (PARTITION BY webhook_id ORDER BY turn NULLS LAST) AS place
     FROM known
 ), placed AS (
     -- A webhook with due deliveries leases nothing here: older deliveries go first. One lookup per webhook, at its
     -- first place, answers for all of its rows.
     SELECT counted.*, is_easy AND place <= free AND bool_or(CASE WHEN is_easy AND place = 1 AND 0 < $10 THEN NOT EXISTS (
         SELECT FROM open_deliveries d WHERE d.webhook_id = counted.webhook_id AND d.lease_token IS NULL
             AND d.next_attempt_at <= clock_timestamp()) END) OVER (PARTITION BY webhook_id) AS is_candidate
     FROM counted
 ), ranked AS (
     SELECT placed.*,
         row_number() OVER (PARTITION BY tenant_id, is_candidate ORDER BY turn, webhook_id) AS place_of_tenant,
         row_number() OVER (PARTITION BY is_candidate ORDER BY turn, webhook_id) AS place_of_all
     FROM placed WHERE turn IS NOT NULL
 ), made AS (
     SELECT ranked.*, is_fast, uuid_v7(clock_timestamp()) AS id,
         CASE WHEN is_fast THEN gen_random_uuid() END AS lease_token,
         CASE WHEN is_fast THEN uuid_v7(clock_timestamp()) END AS attempt_id
     FROM ranked
     CROSS JOIN LATERAL (SELECT coalesce(is_candidate, FALSE) AND place_of_tenant <= $11 - busy_of_tenant
         AND place_of_all <= $10 AS is_fast) fast
 ), written AS (
     INSERT INTO deliveries (id, tenant_id, event_id, event_type, webhook_id, state, attempts_max, created_at)
     SELECT id, tenant_id, event_id, type, webhook_id, 'pending', attempts_max, $8 FROM made
 ), opened AS (
     INSERT INTO open_deliveries (tenant_id, delivery_id, event_id, event_type, webhook_id, attempts_made, attempts_max,
         next_attempt_at, lease_token, lease_until, attempt_id, attempted_at)
     -- clock_timestamp() and not the time of the publishing server: leases and due times run by the database's clock.
     SELECT tenant_id, id, event_id, type, webhook_id, is_fast::int, attempts_max,
         CASE WHEN NOT is_fast THEN clock_timestamp() END, lease_token,
         CASE WHEN is_fast THEN clock_timestamp() + make_interval(secs => $12) END, attempt_id, CASE WHEN is_fast THEN $8 END
     FROM made
 )
 SELECT m.id, m.event_id, m.lease_token, m.attempt_id, t.slug AS tenant_slug, m.webhook_id, w.url,
     w.payload_format, w.signature_style, w.timeout_seconds, w.headers, m.attempts_max, w.retry_gaps,
     CASE WHEN m.attempt_id IS NULL THEN '{}' ELSE ARRAY(SELECT s.sealed FROM signing_secrets s WHERE s.webhook_id = w.id
         AND (s.expires_at IS NULL OR s.expires_at > $8) ORDER BY s.id DESC) END AS secrets
 FROM made m
 JOIN webhooks w ON w.id = m.webhook_id
 JOIN tenants t ON t.id = m.tenant_id";

/// Writes events with their deliveries, in `Scope::Instance`, and returns the deliveries.
///
/// A delivery is leased at once if its webhook is healthy, has no rate limit and no due delivery, and its host
/// answers. The caps of webhook and tenant and `room` limit how many. The lease names the coming attempt. All others
/// are due for a claim.
pub fn insert(
    conn: &mut PgConnection,
    events: &[EventToPublish<'_>],
    attempts_max: i64,
    room: LeaseLimits,
    lease: Duration,
    now: DateTime<Utc>,
) -> Result<Vec<CreatedDelivery>> {
    let query = cached_sql(INSERT);
    let mut tenants = each(events, |event| event.tenant.0);
    tenants.sort_unstable();
    tenants.dedup();
    let bound = query
        .bind::<Array<SqlUuid>, _>(each(events, |event| event.id.0))
        .bind::<Array<BigInt>, _>(each(events, |event| event.tenant.0))
        .bind::<Array<Text>, _>(each(events, |event| event.kind))
        .bind::<Array<Text>, _>(each(events, |event| event.payload))
        .bind::<Array<Nullable<BigInt>>, _>(each(events, |event| event.api_key.map(|id| id.0)))
        .bind::<Array<Nullable<BigInt>>, _>(each(events, |event| event.user.map(|id| id.0)))
        // Types and patterns hold letters, digits and `_ . *` only: an array literal needs no quotes around them.
        .bind::<Array<Text>, _>(each(events, |event| format!("{{{}}}", event.patterns.join(","))))
        .bind::<Timestamptz, _>(now)
        .bind::<BigInt, _>(attempts_max)
        .bind::<BigInt, _>(room.slots)
        .bind::<BigInt, _>(room.per_tenant)
        .bind::<Double, _>(lease.as_secs_f64())
        .bind::<Array<BigInt>, _>(tenants);
    Ok(bound.load(conn)?)
}

/// Collects one column of the events.
fn each<'a, T>(events: &'a [EventToPublish<'_>], of: impl Fn(&'a EventToPublish<'_>) -> T) -> Vec<T> {
    events.iter().map(of).collect()
}
