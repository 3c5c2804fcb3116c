//! A made-up past for the demonstration, so that its charts and lists have something to show.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Timestamptz};

use super::partitions;
use crate::domain::{Result, TenantId};

/// Five days of verifications: more by day than by night, with a few refusals among them.
const USAGE: &str = "
INSERT INTO usage_minutes (tenant_id, api_key_id, minute, endpoint, outcome, status, total, cost)
SELECT $1, key.id, minute, ask.endpoint, ask.outcome, ask.status, made.total, CASE ask.outcome WHEN 'VALID' THEN made.total ELSE 0 END
FROM generate_series(date_trunc('hour', $2) - interval '5 days', $2 - interval '20 minutes', interval '10 minutes') minute
CROSS JOIN (SELECT id FROM api_keys WHERE tenant_id = $1 AND is_active AND revoked_at IS NULL AND deleted_at IS NULL) key
CROSS JOIN (VALUES ('/webhook/orders', 'VALID', 200::smallint, 14), ('/external/products', 'VALID', 200, 9),
    ('/webhook/inventory', 'VALID', 200, 6), ('/webhook/inventory', 'INSUFFICIENT_SCOPE', 403, 0.8),
    ('/external/products', 'RATE_LIMITED', 429, 1)) ask (endpoint, outcome, status, weight)
CROSS JOIN LATERAL (SELECT greatest(1, round(ask.weight * (1.3 + sin((extract(hour FROM minute) - 8) / 12 * pi()))
    * (0.5 + random())))::bigint AS total WHERE key.id IS NOT NULL) made
WHERE random() < 0.75
ON CONFLICT DO NOTHING";

/// What the minutes come to: for the tenant, by the hour, and a latency that fits.
const TOTALS: [&str; 3] = [
    "INSERT INTO usage_minutes
     SELECT $1, 0, minute, endpoint, outcome, status, sum(total), sum(cost) FROM usage_minutes
     WHERE tenant_id = $1 AND api_key_id <> 0 AND minute < $2 GROUP BY minute, endpoint, outcome, status
     ON CONFLICT DO NOTHING",
    "INSERT INTO usage_hours
     SELECT $1, api_key_id, date_trunc('hour', minute, 'UTC'), endpoint, outcome, status, sum(total), sum(cost)
     FROM usage_minutes WHERE tenant_id = $1 AND minute < $2 GROUP BY 2, 3, 4, 5, 6
     ON CONFLICT (tenant_id, api_key_id, hour, endpoint, outcome, status)
     DO UPDATE SET total = excluded.total, cost = excluded.cost",
    "INSERT INTO usage_latencies
     SELECT $1, api_key_id, hour, step, greatest(1, sum(total) / (1 + (step - 11) ^ 2))::bigint
     FROM usage_hours CROSS JOIN generate_series(9, 16) AS step WHERE tenant_id = $1 AND hour < $2 GROUP BY 2, 3, 4
     ON CONFLICT DO NOTHING",
];

/// What the deliveries come to.
const DELIVERY_TOTALS: [&str; 2] = [
    "INSERT INTO delivery_minutes
     SELECT $1, coalesce(webhook_id, 0), minute, count(*) FILTER (WHERE state = 'delivered'),
         count(*) FILTER (WHERE state = 'failed'), 0, sum(attempts_made), count(*) FILTER (WHERE state = 'delivered')
     FROM (SELECT *, date_trunc('minute', finished_at) AS minute FROM deliveries
           WHERE tenant_id = $1 AND finished_at < $2) made
     GROUP BY GROUPING SETS ((webhook_id, minute), (minute)) ON CONFLICT DO NOTHING",
    "INSERT INTO delivery_hours
     SELECT $1, webhook_id, date_trunc('hour', minute, 'UTC'), sum(delivered), sum(failed), 0, sum(attempts), sum(successes)
     FROM delivery_minutes WHERE tenant_id = $1 AND minute < $2 GROUP BY 2, 3 ON CONFLICT DO NOTHING",
];

/// Nothing was used before it was made.
const AGES: [&str; 2] = [
    "UPDATE api_keys SET created_at = $2 - interval '6 days' WHERE tenant_id = $1",
    "UPDATE webhooks SET created_at = $2 - interval '6 days' WHERE tenant_id = $1",
];

/// Three days of events up to two hours ago, with deliveries and attempts as the webhooks of today would have had them.
const DELIVERIES: &str = "
WITH published AS (
    INSERT INTO events (id, tenant_id, type, payload, created_at)
    SELECT uuid_v7(at), $1, kind, format('{\"id\": %s, \"total\": %s, \"currency\": \"EUR\"}', number, 5 + number * 7 % 180), at
    FROM (SELECT at, number, (ARRAY['order.created', 'order.created', 'order.shipped', 'inventory.changed', 'customer.updated'])
              [1 + floor(random() * 5)::int] AS kind
          FROM generate_series($2 - interval '3 days', $2 - interval '2 hours', interval '6 minutes')
          WITH ORDINALITY AS moment (at, number)) made
    RETURNING id, type, created_at
), delivered AS (
    INSERT INTO deliveries (id, tenant_id, event_id, event_type, webhook_id, state, attempts_made, attempts_max,
        last_status, last_error, created_at, finished_at)
    SELECT uuid_v7(published.created_at), $1, published.id, published.type, webhook.id,
        CASE WHEN chance < 0.015 THEN 'failed' ELSE 'delivered' END, tries, 10,
        CASE WHEN chance < 0.015 THEN 503 ELSE 200 END, CASE WHEN chance < 0.015 THEN 'answered 503' END,
        published.created_at, published.created_at + (tries - 1) ^ 3 * interval '5 seconds' + interval '90 milliseconds'
    FROM published
    JOIN webhooks webhook ON webhook.tenant_id = $1 AND webhook.deleted_at IS NULL
        AND webhook.events && ARRAY['*', published.type, split_part(published.type, '.', 1) || '.*']
    CROSS JOIN LATERAL (SELECT random() AS chance WHERE published.id IS NOT NULL AND webhook.id IS NOT NULL) dice
    CROSS JOIN LATERAL (SELECT CASE WHEN chance < 0.015 THEN 10 WHEN chance < 0.11 THEN 2 ELSE 1 END AS tries) tried
    RETURNING id, event_id, event_type, webhook_id, state, attempts_made, created_at
)
INSERT INTO attempts (id, tenant_id, delivery_id, event_id, event_type, webhook_id, number, request_url, request_headers,
    response_status, response_headers, response_body, duration_ms, success, remote_address, created_at, finished_at)
SELECT uuid_v7(at), $1, delivered.id, event_id, event_type, webhook_id, number, webhook.url,
    jsonb_build_object('content-type', 'application/json', 'x-webhook-event', event_type, 'x-webhook-attempt', number::text),
    CASE WHEN is_success THEN 200 ELSE 503 END, '{\"content-type\": \"text/plain\"}',
    CASE WHEN is_success THEN 'thank you' ELSE 'busy, come back later' END,
    12 + floor(random() * 140), is_success, '127.0.0.1', at, at + interval '90 milliseconds'
FROM delivered
JOIN webhooks webhook ON webhook.id = webhook_id
CROSS JOIN LATERAL generate_series(1, attempts_made) AS number
CROSS JOIN LATERAL (SELECT number = attempts_made AND delivered.state = 'delivered' AS is_success,
    delivered.created_at + (number - 1) ^ 3 * interval '5 seconds' AS at) moment";

/// Gives a tenant with keys and webhooks a past that ends now.
pub fn insert_past(conn: &mut PgConnection, tenant: TenantId, now: DateTime<Utc>) -> Result<()> {
    let days: Vec<_> = (0..=5).map(|day| now - TimeDelta::days(day)).collect();
    partitions::make(conn, &partitions::USAGE, &days)?;
    partitions::make_by_id(conn, &days)?;
    let statements = AGES.into_iter().chain([USAGE]).chain(TOTALS).chain([DELIVERIES]).chain(DELIVERY_TOTALS);
    for statement in statements {
        sql_query(statement).bind::<BigInt, _>(tenant).bind::<Timestamptz, _>(now).execute(conn)?;
    }
    Ok(())
}
