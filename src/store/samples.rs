//! Made-up history for the demonstration, so that its charts and lists have something to show.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Timestamptz};

use super::partitions;
use crate::domain::{Result, TenantId};

/// SQL that adds five days of verifications: more by day than by night, and a few of them refused.
const USAGE: &str = "
INSERT INTO usage_logs (tenant_id, api_key_id, request_id, endpoint, method, status, outcome, reason, duration_us, cost, ip,
    created_at)
SELECT $1, key.id, gen_random_uuid()::text, ask.endpoint, ask.method, ask.status, ask.outcome, ask.reason,
    least(900000, 400 * exp(3 * random()))::bigint, CASE ask.outcome WHEN 'VALID' THEN 1 ELSE 0 END, '127.0.0.1',
    slot + random() * interval '10 minutes'
FROM generate_series(date_trunc('hour', $2) - interval '5 days', $2 - interval '20 minutes', interval '10 minutes') slot
CROSS JOIN (SELECT id FROM api_keys WHERE tenant_id = $1 AND is_active AND revoked_at IS NULL AND deleted_at IS NULL) key
CROSS JOIN (VALUES
    ('/webhook/orders', 'POST', 'VALID', NULL, 200::smallint, 2.0),
    ('/external/products', 'GET', 'VALID', NULL, 200, 1.3),
    ('/webhook/inventory', 'POST', 'VALID', NULL, 200, 0.9),
    ('/webhook/inventory', 'POST', 'INSUFFICIENT_SCOPE', 'Missing required scopes: inventory:write', 403, 0.1),
    ('/external/products', 'GET', 'RATE_LIMITED', 'The limit of this key is used up', 429, 0.15)
) ask (endpoint, method, outcome, reason, status, weight)
CROSS JOIN LATERAL (SELECT ask.weight * (1.3 + sin((extract(hour FROM slot) - 8) / 12 * pi())) * (0.5 + random())
    AS many WHERE key.id IS NOT NULL) made
CROSS JOIN LATERAL generate_series(1, floor(made.many + random())::int) call
WHERE random() < 0.75
ORDER BY slot";

/// SQL that adds totals, histogram and last uses, all computed from these verifications.
const USAGE_TOTALS: [&str; 4] = [
    "INSERT INTO usage_minutes (tenant_id, api_key_id, minute, endpoint, outcome, status, total, cost)
     SELECT $1, coalesce(api_key_id, 0), minute, endpoint, outcome, status, count(*), sum(cost)
     FROM (SELECT *, date_trunc('minute', created_at) AS minute FROM usage_logs WHERE tenant_id = $1 AND created_at < $2) made
     GROUP BY GROUPING SETS ((api_key_id, minute, endpoint, outcome, status), (minute, endpoint, outcome, status))",
    "INSERT INTO usage_hours (tenant_id, api_key_id, hour, endpoint, outcome, status, total, cost)
     SELECT $1, api_key_id, date_trunc('hour', minute, 'UTC'), endpoint, outcome, status, sum(total), sum(cost)
     FROM usage_minutes WHERE tenant_id = $1 AND minute < $2 GROUP BY 2, 3, 4, 5, 6",
    "INSERT INTO usage_latencies (tenant_id, api_key_id, hour, step, total)
     SELECT $1, coalesce(api_key_id, 0), hour, step, count(*)
     FROM (SELECT api_key_id, date_trunc('hour', created_at, 'UTC') AS hour,
               floor(2 * log(2, greatest(duration_us, 1)))::smallint AS step
           FROM usage_logs WHERE tenant_id = $1 AND created_at < $2) made
     GROUP BY GROUPING SETS ((api_key_id, hour, step), (hour, step))",
    "UPDATE key_uses SET used_at = made.used_at, used_ip = '127.0.0.1'
     FROM (SELECT api_key_id, max(created_at) AS used_at FROM usage_logs
           WHERE tenant_id = $1 AND created_at < $2 GROUP BY 1) made
     WHERE key_uses.api_key_id = made.api_key_id",
];

/// SQL that makes keys and webhooks older than their first use.
const AGES: [&str; 2] = [
    "UPDATE api_keys SET created_at = $2 - interval '6 days' WHERE tenant_id = $1",
    "UPDATE webhooks SET created_at = $2 - interval '6 days' WHERE tenant_id = $1",
];

/// SQL that adds three days of events up to two hours ago, each with deliveries to the matching webhooks of today. The
/// deliveries stay open until their attempts exist.
const DELIVERIES: &str = "
WITH published AS (
    INSERT INTO events (id, tenant_id, type, payload, created_at)
    SELECT uuid_v7(at), $1, kind, format('{\"id\": %s, \"total\": %s, \"currency\": \"EUR\"}', number, 5 + number * 7 % 180), at
    FROM (SELECT at, number, (ARRAY['order.created', 'order.created', 'order.shipped', 'inventory.changed', 'customer.updated'])
              [1 + floor(random() * 5)::int] AS kind
          FROM generate_series($2 - interval '3 days', $2 - interval '2 hours', interval '6 minutes')
          WITH ORDINALITY AS moment (at, number)) made
    RETURNING id, type, created_at
)
INSERT INTO deliveries (id, tenant_id, event_id, event_type, webhook_id, state, attempts_made, attempts_max, created_at)
SELECT uuid_v7(published.created_at), $1, published.id, published.type, webhook.id, 'pending', 0, 10, published.created_at
FROM published
JOIN webhooks webhook ON webhook.tenant_id = $1 AND webhook.deleted_at IS NULL
    AND webhook.events && ARRAY['*', published.type, split_part(published.type, '.', 1) || '.*']";

/// SQL that adds attempts: most succeed at once, some at the second attempt, a few never. Triggers count attempts.
const ATTEMPTS: &str = "
INSERT INTO attempts (id, tenant_id, delivery_id, event_id, event_type, webhook_id, number, request_url, request_headers,
    response_status, response_headers, response_body, duration_ms, success, error, remote_address, created_at, finished_at,
    payload_format)
SELECT uuid_v7(at), $1, delivery.id, event_id, event_type, webhook_id, number, webhook.url,
    jsonb_build_object('content-type', 'application/json', 'x-webhook-event', event_type, 'x-webhook-attempt', number::text),
    CASE WHEN is_success THEN 200 ELSE 503 END, '{\"content-type\": \"text/plain\"}',
    CASE WHEN is_success THEN 'thank you' ELSE 'busy, come back later' END,
    12 + floor(random() * 140), is_success, CASE WHEN NOT is_success THEN 'answered 503' END, '127.0.0.1', at,
    at + interval '90 milliseconds', webhook.payload_format
FROM deliveries delivery
JOIN webhooks webhook ON webhook.id = webhook_id
CROSS JOIN LATERAL (SELECT random() AS chance WHERE delivery.id IS NOT NULL) dice
CROSS JOIN LATERAL generate_series(1, CASE WHEN chance < 0.015 THEN 10 WHEN chance < 0.11 THEN 2 ELSE 1 END) AS number
CROSS JOIN LATERAL (SELECT chance >= 0.015 AND (chance >= 0.11 OR number = 2) AS is_success,
    delivery.created_at + (number - 1) ^ 3 * interval '5 seconds' AS at) moment
WHERE delivery.tenant_id = $1 AND delivery.state = 'pending' AND delivery.created_at < $2";

/// SQL that sets the ends of deliveries and last successes of webhooks from the attempts. Triggers count the ends.
const ENDS: [&str; 2] = [
    "UPDATE deliveries SET state = CASE WHEN last.success THEN 'delivered' ELSE 'failed' END, attempts_made = last.number,
         last_status = last.response_status, last_error = last.error, has_trouble = NOT last.success,
         finished_at = last.finished_at
     FROM (SELECT DISTINCT ON (delivery_id) * FROM attempts WHERE tenant_id = $1 AND created_at < $2
           ORDER BY delivery_id, number DESC) last
     WHERE deliveries.tenant_id = $1 AND deliveries.id = last.delivery_id AND deliveries.state = 'pending'",
    "UPDATE webhooks SET last_success_at = made.at
     FROM (SELECT webhook_id, max(finished_at) AS at FROM attempts
           WHERE tenant_id = $1 AND success AND created_at < $2 GROUP BY 1) made
     WHERE webhooks.id = made.webhook_id",
];

/// Gives a tenant with keys and webhooks a history that ends now.
pub fn insert_past(conn: &mut PgConnection, tenant: TenantId, now: DateTime<Utc>) -> Result<()> {
    let days: Vec<_> = (0..=5).map(|day| now - TimeDelta::days(day)).collect();
    partitions::make(conn, &partitions::USAGE, &days)?;
    partitions::make_by_id(conn, &days)?;
    let statements = AGES.into_iter().chain([USAGE]).chain(USAGE_TOTALS).chain([DELIVERIES, ATTEMPTS]).chain(ENDS);
    for statement in statements {
        sql_query(statement).bind::<BigInt, _>(tenant).bind::<Timestamptz, _>(now).execute(conn)?;
    }
    Ok(())
}
