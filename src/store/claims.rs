//! Queries on `open_deliveries` for the delivery worker: lease a batch, and take back leases that ran out.
//! `settlements` writes the outcome of a batch.
//!
//! Leases are timed by the database's clock alone. Due times are too, plus an offset that only tests set.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Double, Nullable, Text, Timestamptz};

use super::cached_sql::cached_sql;
use crate::domain::{Result, TenantId, WebhookId};
use crate::model::Claimed;

/// Key of the advisory lock that makes claims run one after another. Two workers at once would exceed a webhook's cap.
const CLAIM_LOCK: i64 = 7_461_021;

/// Waits for the claim lock and holds it until the transaction ends.
pub fn lock_claims(conn: &mut PgConnection) -> Result<()> {
    cached_sql("SELECT pg_advisory_xact_lock($1)").bind::<BigInt, _>(CLAIM_LOCK).execute(conn)?;
    Ok(())
}

/// Tries to take the claim lock without waiting. Returns false if another transaction holds it.
pub fn try_lock_claims(conn: &mut PgConnection) -> Result<bool> {
    #[derive(QueryableByName)]
    struct Got {
        #[diesel(sql_type = Bool)]
        is_mine: bool,
    }
    let query = cached_sql("SELECT pg_try_advisory_xact_lock($1) AS is_mine").bind::<BigInt, _>(CLAIM_LOCK);
    Ok(query.get_result::<Got>(conn)?.is_mine)
}

/// Limits on how many deliveries one claim may lease.
#[derive(Debug, Clone, Copy)]
pub struct LeaseLimits {
    /// Free slots of this process.
    pub slots: i64,
    /// Slots of this process that may go to failing webhooks: dead endpoints hold a slot until their timeout.
    pub for_failing: i64,
    /// Maximum number of deliveries in flight for one tenant, over all processes together.
    pub per_tenant: i64,
}

/// SQL of `waiting`: each webhook whose first delivery is due. Binds the offset in seconds as `$2`.
///
/// The recursion steps through the partial index from one webhook to the next, so a backlog of one webhook costs the
/// others nothing. If a webhook's first delivery is not due, none of its deliveries is.
macro_rules! all_that_wait {
    () => {
        "WITH RECURSIVE step AS (
     (SELECT webhook_id, next_attempt_at FROM open_deliveries
      WHERE lease_token IS NULL ORDER BY webhook_id, next_attempt_at LIMIT 1)
     UNION ALL
     SELECT next.webhook_id, next.next_attempt_at FROM step CROSS JOIN LATERAL (
         SELECT d.webhook_id, d.next_attempt_at FROM open_deliveries d
         WHERE d.lease_token IS NULL AND d.webhook_id > step.webhook_id
         ORDER BY d.webhook_id, d.next_attempt_at LIMIT 1) next
 ), waiting AS (
     SELECT webhook_id, next_attempt_at AS first_due FROM step
     WHERE next_attempt_at <= clock_timestamp() + make_interval(secs => $2)
 )"
    };
}

/// SQL of `ready`: the webhooks of `waiting` that may get requests now, and how many each. Binds slots, offset in
/// seconds, cap per tenant, and slots for failing webhooks.
macro_rules! ready {
    () => {
        ", a_second_ago AS (
     -- Attempt ids carry whole milliseconds: one more keeps the window at no less than a second.
     SELECT uuid_floor(clock_timestamp() - INTERVAL '1001 milliseconds') AS id
 ), in_flight AS (
     SELECT webhook_id, tenant_id, count(*) AS busy,
         count(*) FILTER (WHERE attempt_id > (SELECT id FROM a_second_ago)) AS begun
     FROM open_deliveries WHERE lease_token IS NOT NULL
     GROUP BY webhook_id, tenant_id
 ), busy_tenants AS (
     SELECT tenant_id, sum(busy) AS busy FROM in_flight GROUP BY tenant_id
 ), busy_hosts AS MATERIALIZED (
     -- Silent hosts with a request in flight. Webhooks that failed and webhooks that did not each get one.
     SELECT DISTINCT w.tenant_id, w.host, w.has_failed
     FROM in_flight
     CROSS JOIN LATERAL (
         SELECT tenant_id, host, failing_since IS NOT NULL AS has_failed FROM webhooks WHERE id = in_flight.webhook_id LIMIT 1) w
     JOIN unreachable_hosts u ON u.tenant_id = w.tenant_id AND u.host = w.host
 ), wanted AS (
     -- Two lists in one column, not a join: without statistics the plan would compare each row with each.
     SELECT webhook_id, max(first_due) AS first_due, max(busy) AS busy, max(begun) AS begun FROM (
         SELECT webhook_id, first_due, 0::bigint AS busy, 0::bigint AS begun, TRUE AS waits FROM waiting
         UNION ALL
         SELECT webhook_id, NULL, busy, begun, FALSE FROM in_flight) known
     GROUP BY webhook_id HAVING bool_or(waits)
 ), looked_at AS MATERIALIZED (
     SELECT w.id, w.tenant_id, w.is_active, w.probe_id, w.has_failed, u.host AS silent_host, wanted.first_due,
         w.has_failed OR u.host IS NOT NULL AS is_failing, room.free,
         EXISTS (SELECT FROM busy_tenants b WHERE b.tenant_id = w.tenant_id AND $3 <= b.busy) AS is_tenant_busy,
         EXISTS (SELECT FROM busy_hosts b
             WHERE b.tenant_id = w.tenant_id AND b.host = u.host AND b.has_failed = w.has_failed) AS is_host_busy
     FROM wanted
     CROSS JOIN LATERAL (
         SELECT id, tenant_id, host, is_active, probe_id, max_in_flight, rate_per_second, failing_since IS NOT NULL AS has_failed
         FROM webhooks
         WHERE id = wanted.webhook_id AND (is_active OR probe_id IS NOT NULL) AND deleted_at IS NULL LIMIT 1) w
     JOIN tenants t ON t.id = w.tenant_id AND t.is_active
     LEFT JOIN unreachable_hosts u ON u.tenant_id = w.tenant_id AND u.host = w.host
     CROSS JOIN LATERAL (
         -- least() ignores NULL: a webhook without a rate is bound by slots and cap alone. A rate counts attempts in
         -- flight by their lease and ended ones by their row.
         SELECT least($1, CASE WHEN w.has_failed OR u.host IS NOT NULL THEN 1 ELSE w.max_in_flight END
             - wanted.busy, w.rate_per_second - wanted.begun - recent.ended) AS free
         FROM (SELECT CASE WHEN w.rate_per_second IS NOT NULL THEN (
             SELECT count(*) FROM attempts a WHERE a.tenant_id = w.tenant_id AND a.webhook_id = w.id
                 AND a.id > (SELECT id FROM a_second_ago)) END AS ended) recent
     ) room
 ), ready AS (
     SELECT * FROM looked_at WHERE 0 < free AND NOT is_tenant_busy AND NOT is_host_busy AND (0 < $4 OR NOT is_failing)
 )"
    };
}

/// SQL of `fair`: due deliveries in the order in which they may be leased. `$of_one` selects them for one webhook. A
/// silent host gets one delivery for webhooks that have failed, and one for the others.
macro_rules! due {
    ($of_one:literal) => {
        concat!(
            ", due AS (
     SELECT one.delivery_id, ready.id AS webhook_id, ready.tenant_id, one.next_attempt_at, ready.is_failing,
         -- `turn` is the rank within its webhook: all webhooks of a tenant get one delivery before any gets two.
         row_number() OVER (PARTITION BY ready.id ORDER BY one.next_attempt_at) AS turn,
         silent_host IS NULL OR 1 = row_number() OVER (
             PARTITION BY ready.tenant_id, silent_host, has_failed ORDER BY one.next_attempt_at) AS may_go
     FROM ready
     CROSS JOIN LATERAL (",
            $of_one,
            ") one
 ), ranked AS (
     SELECT due.*, coalesce(busy, 0) AS busy,
         -- `turn_of_tenant` is the rank within its tenant: every tenant gets one delivery before any gets two.
         row_number() OVER (PARTITION BY tenant_id ORDER BY due.turn, next_attempt_at) AS turn_of_tenant
     FROM due LEFT JOIN busy_tenants USING (tenant_id) WHERE may_go
 ), fair AS (
     -- `place` is counted apart for failing webhooks, which have their own number of slots.
     SELECT ranked.*, row_number() OVER (PARTITION BY is_failing ORDER BY turn_of_tenant, next_attempt_at) AS place
     FROM ranked WHERE turn_of_tenant <= $3 - busy
 )"
        )
    };
}

/// SQL of [`look`]. It needs only the oldest delivery of each webhook: in every order above, that one comes before the
/// webhook's others. A paused webhook has its probe alone.
const LOOK: &str = concat!(
    all_that_wait!(),
    ready!(),
    due!(
        "
         SELECT NULL::uuid AS delivery_id, ready.first_due AS next_attempt_at WHERE ready.is_active
         UNION ALL
         SELECT d.delivery_id, d.next_attempt_at FROM open_deliveries d
         WHERE NOT ready.is_active AND d.tenant_id = ready.tenant_id AND d.delivery_id = ready.probe_id
             AND d.lease_token IS NULL AND d.next_attempt_at <= clock_timestamp() + make_interval(secs => $2)"
    ),
    "(SELECT webhook_id, NULL::bigint AS tenant_id FROM fair WHERE NOT is_failing OR place <= $4 ORDER BY turn_of_tenant, next_attempt_at LIMIT $1)
     UNION ALL
     SELECT id, tenant_id FROM looked_at WHERE NOT is_failing AND (is_tenant_busy OR free < 1)"
);

/// SQL of [`lease`]. Binds slots, offset in seconds, cap per tenant, slots for failing webhooks, lease in seconds,
/// now, and webhook ids.
const LEASE: &str = concat!(
    "WITH waiting AS (SELECT unnest($7) AS webhook_id, NULL::timestamptz AS first_due)",
    ready!(),
    due!(
        "
         SELECT d.delivery_id, d.next_attempt_at FROM open_deliveries d
         WHERE d.webhook_id = ready.id AND d.lease_token IS NULL
             AND d.next_attempt_at <= clock_timestamp() + make_interval(secs => $2)
             AND (ready.is_active OR d.delivery_id = ready.probe_id)
         ORDER BY d.next_attempt_at
         LIMIT ready.free"
    ),
    ", chosen AS (
     SELECT d.tenant_id, d.delivery_id, uuid_v7(clock_timestamp()) AS attempt_id, fair.is_failing
     FROM fair JOIN open_deliveries d ON d.tenant_id = fair.tenant_id AND d.delivery_id = fair.delivery_id
     -- The odd condition keeps every partial index out of the plan: rows come by primary key. SKIP LOCKED: a row that
     -- an admin redelivers or cancels just now is left to the next claim, without a wait.
     WHERE coalesce(d.lease_token IS NULL, FALSE) AND (NOT fair.is_failing OR fair.place <= $4)
     ORDER BY fair.turn_of_tenant, fair.next_attempt_at LIMIT $1
     FOR UPDATE OF d SKIP LOCKED
 ), leased AS (
     -- clock_timestamp() and not now(): the transaction may have waited for the claim lock since it began.
     UPDATE open_deliveries d SET lease_token = gen_random_uuid(), attempt_id = chosen.attempt_id, attempted_at = $6,
         lease_until = clock_timestamp() + make_interval(secs => $5), attempts_made = d.attempts_made + 1,
         next_attempt_at = NULL
     FROM chosen WHERE d.tenant_id = chosen.tenant_id AND d.delivery_id = chosen.delivery_id
     RETURNING d.*, chosen.is_failing
 )
 SELECT d.delivery_id AS id, d.lease_token, d.attempt_id, d.attempted_at, d.tenant_id, t.slug AS tenant_slug, d.event_id,
     d.event_type, e.payload, e.created_at AS event_at, d.webhook_id, w.url, w.payload_format, w.signature_style,
     w.timeout_seconds, w.headers, d.attempts_made, d.attempts_max, w.retry_gaps, d.is_failing,
     ARRAY(SELECT s.sealed FROM signing_secrets s WHERE s.webhook_id = w.id
           AND (s.expires_at IS NULL OR s.expires_at > $6) ORDER BY s.id DESC) AS secrets
 FROM leased d
 JOIN events e ON e.id = d.event_id
 JOIN webhooks w ON w.id = d.webhook_id
 JOIN tenants t ON t.id = d.tenant_id"
);

/// Webhooks that [`look`] found.
#[derive(Debug, Default)]
pub struct ClaimableWebhooks {
    /// Webhooks from which [`lease`] would lease something.
    pub webhooks: Vec<WebhookId>,
    /// Healthy webhooks whose own cap or tenant's cap is used up by requests in flight.
    pub held_up: Vec<(TenantId, WebhookId)>,
}

/// Finds the webhooks from which something can be leased. With many waiting webhooks this takes a while, so callers
/// run it before they take the claim lock.
pub fn look(conn: &mut PgConnection, room: LeaseLimits, offset: TimeDelta) -> Result<ClaimableWebhooks> {
    #[derive(QueryableByName)]
    struct Found {
        #[diesel(sql_type = BigInt)]
        webhook_id: WebhookId,
        /// Set if the webhook is held up by a cap.
        #[diesel(sql_type = Nullable<BigInt>)]
        tenant_id: Option<TenantId>,
    }
    let query = cached_sql(LOOK);
    let bound = query
        .bind::<BigInt, _>(room.slots)
        .bind::<Double, _>(seconds(offset))
        .bind::<BigInt, _>(room.per_tenant)
        .bind::<BigInt, _>(room.for_failing);
    let found: Vec<Found> = bound.load(conn)?;
    Ok(ClaimableWebhooks {
        webhooks: found.iter().filter(|one| one.tenant_id.is_none()).map(|one| one.webhook_id).collect(),
        held_up: found.iter().filter_map(|one| Some((one.tenant_id?, one.webhook_id))).collect(),
    })
}

/// Leases due deliveries of these webhooks and names the coming attempt in each lease. Webhooks and tenants that are
/// not active are left out, but a paused webhook may still get its probe.
///
/// A webhook gets no more than its cap and its rate leave free, a failing one a single request at a time. A tenant
/// gets no more than its cap. The order is round-robin over tenants, and over the webhooks of each.
///
/// A silent host gets one request of the tenant at a time, and one more for webhooks that have not failed themselves. A
/// healthy webhook must not wait for a failing one.
///
/// No two lists of deliveries are joined. The plan is made once and without statistics, so it would compare each row
/// with each. Attempt ids are therefore made where deliveries are chosen, and known columns are carried along.
pub fn lease(
    conn: &mut PgConnection,
    webhooks: &[WebhookId],
    room: LeaseLimits,
    lease: Duration,
    offset: TimeDelta,
    now: DateTime<Utc>,
) -> Result<Vec<Claimed>> {
    let query = cached_sql(LEASE);
    let bound = query
        .bind::<BigInt, _>(room.slots)
        .bind::<Double, _>(seconds(offset))
        .bind::<BigInt, _>(room.per_tenant)
        .bind::<BigInt, _>(room.for_failing)
        .bind::<Double, _>(lease.as_secs_f64())
        .bind::<Timestamptz, _>(now)
        .bind::<Array<BigInt>, _>(webhooks);
    Ok(bound.load(conn)?)
}

/// A healthy webhook of an active tenant that has more due deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, QueryableByName)]
pub struct WebhookBacklog {
    /// Tenant of the webhook.
    #[diesel(sql_type = BigInt)]
    pub tenant_id: TenantId,
    /// Id of the webhook.
    #[diesel(sql_type = BigInt)]
    pub webhook_id: WebhookId,
    /// True if the webhook has a rate limit: then the passing of time alone may free a slot.
    #[diesel(sql_type = Bool)]
    pub is_paced: bool,
}

/// Returns the healthy ones of these webhooks that have more due deliveries.
pub fn with_more(conn: &mut PgConnection, webhooks: &[WebhookId], offset: TimeDelta) -> Result<Vec<WebhookBacklog>> {
    let query = cached_sql(
        "SELECT w.tenant_id, w.id AS webhook_id, w.rate_per_second IS NOT NULL AS is_paced FROM unnest($1) AS asked (id)
         CROSS JOIN LATERAL (
             SELECT id, tenant_id, host, rate_per_second FROM webhooks
             WHERE id = asked.id AND is_active AND deleted_at IS NULL AND failing_since IS NULL LIMIT 1) w
         JOIN tenants t ON t.id = w.tenant_id AND t.is_active
         CROSS JOIN LATERAL (
             SELECT FROM open_deliveries d WHERE d.webhook_id = w.id AND d.lease_token IS NULL
                 AND d.next_attempt_at <= clock_timestamp() + make_interval(secs => $2)
             ORDER BY d.next_attempt_at LIMIT 1) more
         LEFT JOIN LATERAL (
             SELECT u.host FROM unreachable_hosts u WHERE u.tenant_id = w.tenant_id AND u.host = w.host LIMIT 1) silent ON TRUE
         WHERE silent.host IS NULL",
    );
    Ok(query.bind::<Array<BigInt>, _>(webhooks).bind::<Double, _>(seconds(offset)).load(conn)?)
}

/// Converts a span to seconds, with its sign.
pub(super) fn seconds(span: TimeDelta) -> f64 {
    let length = span.abs().to_std().unwrap_or_default().as_secs_f64();
    if span < TimeDelta::zero() { -length } else { length }
}

/// Takes back up to `limit` deliveries whose lease has run out, and returns their number. Each becomes due at once, or
/// failed if it has no attempt left. The attempt that was under way is written as lost.
pub fn take_back(conn: &mut PgConnection, limit: i64, now: DateTime<Utc>) -> Result<usize> {
    let query = cached_sql(
        "WITH late AS (
             SELECT tenant_id, delivery_id, attempt_id, attempted_at FROM open_deliveries
             WHERE lease_token IS NOT NULL AND lease_until < clock_timestamp()
             -- SKIP LOCKED: a late worker that settles this row right now still holds its lease, and its outcome is
             -- kept.
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

/// Size and age of the queue of deliveries, for metrics and the system page.
#[derive(Debug, Clone, Copy, Default, QueryableByName)]
pub struct Backlog {
    /// Deliveries that no worker has leased, due or not.
    #[diesel(sql_type = BigInt)]
    pub waiting: i64,
    /// Deliveries that a worker has leased.
    #[diesel(sql_type = BigInt)]
    pub in_flight: i64,
    /// Seconds since the oldest waiting delivery fell due; zero if none is due.
    #[diesel(sql_type = Double)]
    pub lag_seconds: f64,
}

/// Returns the present backlog of all tenants.
pub fn backlog(conn: &mut PgConnection) -> Result<Backlog> {
    let query = diesel::sql_query(
        "SELECT (SELECT count(*) FROM open_deliveries WHERE lease_token IS NULL) AS waiting,
             (SELECT count(*) FROM open_deliveries WHERE lease_token IS NOT NULL) AS in_flight,
             coalesce(extract(epoch FROM clock_timestamp() - (SELECT min(next_attempt_at) FROM open_deliveries
                 WHERE lease_token IS NULL AND next_attempt_at <= clock_timestamp())), 0)::float8 AS lag_seconds",
    );
    Ok(query.get_result(conn)?)
}
