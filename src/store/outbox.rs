//! Publishes events of many publishers in one statement, and leases at once what can be sent at once.

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bytea, Double, Jsonb, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use serde_json::Value;
use uuid::Uuid;

use super::claims::Room;
use super::kept::kept;
use crate::domain::webhook::{PayloadFormat, SignatureStyle};
use crate::domain::{ApiKeyId, AttemptId, DeliveryId, EventId, Result, TenantId, UserId, WebhookId};
use crate::model::Claimed;

/// An event to be written with a delivery to each active webhook of its tenant that wants it.
#[derive(Debug)]
pub struct Posted<'a> {
    pub id: EventId,
    pub tenant: TenantId,
    pub kind: &'a str,
    /// The patterns that match `kind`.
    pub patterns: Vec<String>,
    pub payload: &'a str,
    pub api_key: Option<ApiKeyId>,
    pub user: Option<UserId>,
}

/// A delivery that was made; `lease` where it is this process's to send.
#[derive(Debug, QueryableByName)]
pub struct Placed {
    #[diesel(sql_type = SqlUuid)]
    pub id: DeliveryId,
    #[diesel(sql_type = SqlUuid)]
    pub event_id: EventId,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    lease_token: Option<Uuid>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    attempt_id: Option<AttemptId>,
    #[diesel(sql_type = Text)]
    tenant_slug: String,
    #[diesel(sql_type = BigInt)]
    pub webhook_id: WebhookId,
    #[diesel(sql_type = Text)]
    url: String,
    #[diesel(sql_type = Text)]
    payload_format: PayloadFormat,
    #[diesel(sql_type = Text)]
    signature_style: SignatureStyle,
    #[diesel(sql_type = BigInt)]
    timeout_seconds: i64,
    #[diesel(sql_type = Jsonb)]
    headers: Value,
    #[diesel(sql_type = BigInt)]
    attempts_max: i64,
    #[diesel(sql_type = Nullable<Array<BigInt>>)]
    retry_gaps: Option<Vec<i64>>,
    #[diesel(sql_type = Array<Bytea>)]
    secrets: Vec<Vec<u8>>,
}

impl Placed {
    pub fn is_leased(&self) -> bool {
        self.lease_token.is_some()
    }

    /// As a claim of what was published; `None` where it waits for one.
    pub fn into_claimed(self, event: &Posted<'_>, now: DateTime<Utc>) -> Option<Claimed> {
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

/// A column each of the events, now, attempts, slots, per tenant, lease in seconds, tenants. (What is wanted and what is in flight
/// meet as rows of one list: joined, each would be compared with each.)
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
     JOIN tenants t ON t.id = a.tenant_id
     CROSS JOIN LATERAL (
         SELECT id, host, max_in_flight, retry_gaps, failing_since, rate_per_second FROM webhooks
         WHERE tenant_id = a.tenant_id AND is_active AND deleted_at IS NULL AND events && a.patterns::text[] OFFSET 0) w
     LEFT JOIN LATERAL (
         SELECT u.host FROM unreachable_hosts u WHERE u.tenant_id = a.tenant_id AND u.host = w.host LIMIT 1) silent ON TRUE
 ), in_flight AS (
     SELECT webhook_id, tenant_id, count(*) AS busy FROM open_deliveries
     -- The expression of `open_deliveries_in_flight`: no other index fits, whatever statistics say of this table.
     WHERE lease_token IS NOT NULL AND CASE WHEN lease_token IS NOT NULL THEN tenant_id END = ANY ($13) AND 0 < $10
     GROUP BY webhook_id, tenant_id
 ), known AS (
     SELECT turn, event_id, type, webhook_id, tenant_id, max_in_flight, attempts_max, is_easy, 0::bigint AS busy FROM wanted
     UNION ALL
     SELECT NULL, NULL, NULL, webhook_id, tenant_id, NULL, NULL, FALSE, busy FROM in_flight
 ), counted AS (
     SELECT turn, event_id, type, webhook_id, tenant_id, attempts_max, is_easy,
         max_in_flight - max(busy) OVER (PARTITION BY webhook_id) AS free,
         sum(busy) OVER (PARTITION BY tenant_id) AS busy_of_tenant,
         row_number() OVER (PARTITION BY webhook_id ORDER BY turn NULLS LAST) AS place
     FROM known
 ), placed AS (
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

/// Writes events and deliveries, in `Scope::Instance`. Deliveries to webhooks that are well, at hosts that answer, have no
/// rate to keep and nothing waiting are leased at once, with the attempt that each is about to have, within the caps of
/// webhook and tenant and within `room`; the others are due.
pub fn insert(
    conn: &mut PgConnection,
    events: &[Posted<'_>],
    attempts_max: i64,
    room: Room,
    lease: Duration,
    now: DateTime<Utc>,
) -> Result<Vec<Placed>> {
    let query = kept(INSERT);
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
        // Types and patterns are letters, digits and `_ . *`: they need no quotes in an array's literal.
        .bind::<Array<Text>, _>(each(events, |event| format!("{{{}}}", event.patterns.join(","))))
        .bind::<Timestamptz, _>(now)
        .bind::<BigInt, _>(attempts_max)
        .bind::<BigInt, _>(room.slots)
        .bind::<BigInt, _>(room.per_tenant)
        .bind::<Double, _>(lease.as_secs_f64())
        .bind::<Array<BigInt>, _>(tenants);
    Ok(bound.load(conn)?)
}

fn each<'a, T>(events: &'a [Posted<'_>], of: impl Fn(&'a Posted<'_>) -> T) -> Vec<T> {
    events.iter().map(of).collect()
}
