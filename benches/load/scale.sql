--# Tenants, users and tokens
-- Tenant 1 is there already, and so are tenant 2 and user 1: they are those that the calls are made for.
INSERT INTO tenants (name, slug, plan, created_at, updated_at)
SELECT 'Tenant ' || n, 'tenant-' || n, 'unlimited', now() - INTERVAL '300 days' + n * INTERVAL '1 minute', now()
FROM generate_series(3, 1000) n;
INSERT INTO users (email, name, password_hash, created_at, updated_at)
SELECT 'user' || n || '@example.com', 'User ' || n, 'x', now() - INTERVAL '200 days', now() FROM generate_series(2, 2000) n;
-- The large tenant has 500 members, each other one has two.
INSERT INTO memberships (tenant_id, user_id, role, created_at)
SELECT 1, u, CASE WHEN u < 5 THEN 'owner' WHEN u < 20 THEN 'admin' ELSE 'developer' END, now() - INTERVAL '200 days'
FROM generate_series(1, 500) u
UNION ALL SELECT t, 500 + t, 'owner', now() - INTERVAL '200 days' FROM generate_series(2, 1000) t
UNION ALL SELECT t, 501 + t, 'developer', now() - INTERVAL '200 days' FROM generate_series(2, 1000) t;
INSERT INTO access_tokens (user_id, tenant_id, name, public_id, hint, pepper_id, digest, scopes, created_at)
SELECT 500 + (n % 999) + 2, (n % 999) + 2, 'token ' || n, 'gpat_' || md5('t' || n), 'gpat_x', 'bench',
    decode(md5('d' || n), 'hex'), '{*}', now() - INTERVAL '100 days'
FROM generate_series(1, 3000) n;

--# Keys
-- Three in ten belong to the large tenant and one in twenty to the second, in mixed order.
CREATE TEMP TABLE draw AS
SELECT row_number() OVER (ORDER BY md5(n::text)) AS n,
    CASE WHEN n % 20 < 6 THEN 1 WHEN n % 20 = 6 THEN 2 ELSE 3 + (n % 998) END AS tenant
FROM generate_series(1, current_setting('bench.size')::int) n;
INSERT INTO api_keys (tenant_id, user_id, name, description, environment, public_id, key_prefix, hint, hash_algorithm, pepper_id,
    digest, scopes, rate_limit, rate_window_seconds, allowed_ips, owner, requires_owner, metadata, tags, is_active, expires_at,
    revoked_at, revoked_reason, deleted_at, created_at, updated_at)
SELECT tenant, CASE WHEN tenant = 1 THEN 1 + (n % 500) ELSE 500 + tenant END,
    (ARRAY['Production', 'Staging', 'Mobile', 'Partner', 'Batch', 'Reporting', 'Checkout', 'Internal', 'Legacy', 'Sandbox'])[1 + n % 10]
        || ' ' || (ARRAY['Key', 'Service', 'Client', 'Gateway', 'Worker'])[1 + (n / 10) % 5] || ' ' || n,
    CASE WHEN n % 3 = 0 THEN 'made for customer ' || (n % 20000) END, CASE WHEN n % 5 = 0 THEN 'test' ELSE 'live' END,
    'pk_' || substr(md5('p' || n), 1, 22), 'sk_', 'sk_' || substr(md5('h' || n), 1, 4) || '…' || substr(md5('h' || n), 5, 4),
    'hmac-sha256', 'bench', md5('a' || n),
    CASE n % 4 WHEN 0 THEN '{events:read}' WHEN 1 THEN '{orders:read,orders:write}' WHEN 2 THEN '{orders:*,users:read}' ELSE '{*}'
        END::text[],
    1000, 3600, '{}', CASE WHEN n % 2 = 0 THEN 'customer-' || (n % 20000) END, FALSE, '{"a": 1}',
    CASE WHEN n % 4 = 0 THEN ARRAY['team-' || (n % 50), 'env-' || (n % 7)] WHEN n % 100000 = 1 THEN '{rare-tag}' ELSE '{}' END::text[],
    n % 20 <> 1, CASE WHEN n % 6 = 0 THEN now() + ((n % 400) - 60) * INTERVAL '1 day' END,
    CASE WHEN n % 33 = 0 THEN now() - (n % 90) * INTERVAL '1 day' END, CASE WHEN n % 33 = 0 THEN 'leaked' END,
    CASE WHEN n % 50 = 7 THEN now() - (n % 35) * INTERVAL '1 day' END,
    now() - INTERVAL '290 days' + n * INTERVAL '24 seconds', now() - INTERVAL '10 days'
FROM draw ORDER BY n;
UPDATE key_uses SET used_at = now() - ((api_key_id * 7919 % 1000) / 1000.0) ^ 3 * INTERVAL '200 days', used_ip = '203.0.113.7'
WHERE api_key_id % 10 < 6;
-- One in two hundred was rotated: an older sibling.
INSERT INTO api_keys (tenant_id, user_id, name, environment, public_id, key_prefix, hint, hash_algorithm, pepper_id, digest, scopes,
    rate_limit, rate_window_seconds, allowed_ips, requires_owner, metadata, tags, is_active, created_at, updated_at, lineage_id,
    rotates_out_at)
SELECT tenant_id, user_id, name, environment, 'pk_r' || substr(md5('r' || id), 1, 21), key_prefix, hint, hash_algorithm, pepper_id,
    md5('ra' || id), scopes, rate_limit, rate_window_seconds, allowed_ips, requires_owner, metadata, tags, TRUE, created_at,
    updated_at, lineage_id, now() + ((id % 40) - 20) * INTERVAL '1 day'
FROM api_keys WHERE id % 200 = 3 AND deleted_at IS NULL;

--# Webhooks
-- 200 of the large tenant, five of each other one.
INSERT INTO webhooks (tenant_id, name, url, events, is_active, payload_format, signature_style, timeout_seconds, max_in_flight,
    headers, created_at, updated_at)
SELECT t, 'Hook ' || n, 'https://hooks' || (n % 7) || '.example.com/' || n, '{order.*}', n % 11 <> 0, 'standard', 'prefixed', 30, 5,
    '{}', now() - INTERVAL '100 days', now()
FROM (SELECT 1 AS t, n FROM generate_series(1, 200) n
    UNION ALL SELECT t, n FROM generate_series(2, 1000) t, generate_series(1, 5) n) hook;

--# Events, deliveries and attempts of 30 days
SELECT make_id_partitions(parent, array_agg(now() - days * INTERVAL '1 day'))
FROM unnest(ARRAY['events', 'deliveries', 'attempts']) parent CROSS JOIN generate_series(-3, 31) days GROUP BY parent;
CREATE TEMP TABLE hooks AS SELECT tenant_id, array_agg(id ORDER BY id) AS ids FROM webhooks GROUP BY 1;
CREATE TEMP TABLE sent AS
SELECT n, uuid_v7(at) AS event_id, uuid_v7(at) AS delivery_id, at, CASE WHEN n % 10 < 4 THEN 1 ELSE 2 + (n % 999) END AS tenant_id,
    (ARRAY['order.created', 'order.updated', 'order.paid', 'order.shipped', 'order.cancelled'])[1 + (n / 7) % 5] AS type,
    n % 40 = 0 AS fails, CASE WHEN n % 40 = 0 THEN 3 WHEN n % 15 = 0 THEN 2 ELSE 1 END AS attempts
FROM (SELECT n, now() - INTERVAL '30 days' * (1 - n::float8 / current_setting('bench.size')::int) AS at
    FROM generate_series(1, current_setting('bench.size')::int) n) moments;
INSERT INTO events (id, tenant_id, type, payload, created_at)
SELECT event_id, tenant_id, type, '{"n": ' || n || ', "customer": "' || md5(n::text) || '", "total": 49.90}', at FROM sent ORDER BY n;
-- Counted in one go below, and not row by row.
ALTER TABLE deliveries DISABLE TRIGGER ALL;
ALTER TABLE attempts DISABLE TRIGGER ALL;
INSERT INTO deliveries (id, tenant_id, event_id, event_type, webhook_id, state, attempts_made, attempts_max, last_status, last_error,
    created_at, finished_at, has_trouble)
SELECT delivery_id, s.tenant_id, event_id, type, ids[1 + (n / 13) % cardinality(ids)],
    CASE WHEN fails THEN 'failed' ELSE 'delivered' END, attempts, 10,
    CASE WHEN fails THEN (ARRAY[500, 503, 404, NULL])[1 + (n / 40) % 4] ELSE 200 END, CASE WHEN fails THEN 'it answered badly' END,
    at, at + INTERVAL '1 second', fails OR attempts > 1
FROM sent s JOIN hooks h ON h.tenant_id = s.tenant_id ORDER BY n;
INSERT INTO attempts (id, tenant_id, delivery_id, event_id, event_type, webhook_id, number, request_url, request_headers,
    response_status, response_headers, response_body, duration_ms, success, error, remote_address, created_at, finished_at, dns_us,
    connect_us, first_byte_us, payload_format)
SELECT uuid_v7(at + k * INTERVAL '100 ms'), s.tenant_id, delivery_id, event_id, type, ids[1 + (n / 13) % cardinality(ids)], k,
    'https://hooks.example.com/x', '{"content-type": "application/json", "webhook-id": "evt_x", "webhook-timestamp": "1"}',
    CASE WHEN is_success THEN 200 ELSE 500 END, '{"content-type": "text/plain"}', 'ok', 20 + (n % 200), is_success,
    CASE WHEN NOT is_success THEN 'it answered 500' END, '203.0.113.9', at + k * INTERVAL '100 ms', at + k * INTERVAL '150 ms', 900,
    2000, 20000, 'standard'
FROM sent s JOIN hooks h ON h.tenant_id = s.tenant_id CROSS JOIN LATERAL generate_series(1, attempts) k
CROSS JOIN LATERAL (SELECT k = attempts AND NOT fails AS is_success) result ORDER BY n;
ALTER TABLE deliveries ENABLE TRIGGER ALL;
ALTER TABLE attempts ENABLE TRIGGER ALL;
WITH made AS (
    SELECT tenant_id, webhook_id, date_trunc('minute', finished_at) AS minute, state, 0 AS tried, 0 AS succeeded FROM deliveries
    UNION ALL SELECT tenant_id, webhook_id, date_trunc('minute', finished_at), '', 1, success::int FROM attempts)
INSERT INTO delivery_minutes (tenant_id, webhook_id, minute, delivered, failed, cancelled, attempts, successes)
SELECT tenant_id, coalesce(webhook_id, 0), minute, count(*) FILTER (WHERE state = 'delivered'),
    count(*) FILTER (WHERE state = 'failed'), 0, sum(tried), sum(succeeded)
FROM made GROUP BY GROUPING SETS ((tenant_id, webhook_id, minute), (tenant_id, minute));
INSERT INTO delivery_hours (tenant_id, webhook_id, hour, delivered, failed, cancelled, attempts, successes)
SELECT tenant_id, webhook_id, date_trunc('hour', minute, 'UTC'), sum(delivered), sum(failed), sum(cancelled), sum(attempts),
    sum(successes)
FROM delivery_minutes GROUP BY 1, 2, 3;

--# Usage of 30 days
SELECT make_partitions(parent, width, array_agg(now() - days * INTERVAL '1 day'))
FROM (VALUES ('usage_logs', 'day'), ('usage_minutes', 'day'), ('usage_hours', 'month'), ('usage_latencies', 'month')) p (parent, width)
CROSS JOIN generate_series(-3, 31) days GROUP BY parent, width;
-- A few keys make most of it.
CREATE TEMP TABLE alive AS
SELECT row_number() OVER (ORDER BY tenant_id = 1 DESC, md5(id::text)) AS n, id, tenant_id FROM api_keys
WHERE deleted_at IS NULL AND revoked_at IS NULL;
CREATE UNIQUE INDEX ON alive (n);
ANALYZE alive;
CREATE TEMP TABLE calls AS
SELECT n, CASE WHEN n % 10 < 4 THEN 1 + floor(large * random() ^ 5) ELSE large + 1 + floor((total - large) * random() ^ 3)
        END::bigint AS key,
    now() - INTERVAL '30 days' * (1 - n / (5.0 * current_setting('bench.size')::int)) AS at, random() AS outcome, random() AS share
FROM generate_series(1, 5 * current_setting('bench.size')::int) n,
    (SELECT count(*) FILTER (WHERE tenant_id = 1) AS large, count(*) AS total FROM alive) counts;
INSERT INTO usage_logs (tenant_id, api_key_id, request_id, endpoint, method, status, outcome, reason, duration_us, cost, ip,
    created_at)
SELECT tenant_id, id, uuid_v7(at)::text,
    '/api/v1/' || (ARRAY['orders', 'users', 'items', 'carts', 'payments', 'search', 'reports', 'files', 'events', 'tokens'])
        [1 + floor(share * 10)::int % 10] || CASE WHEN c.n % 3 = 0 THEN '/list' ELSE '' END,
    CASE WHEN c.n % 4 = 0 THEN 'POST' ELSE 'GET' END,
    CASE WHEN outcome < 0.93 THEN 200 WHEN outcome < 0.96 THEN 429 WHEN outcome < 0.98 THEN 401 ELSE 403 END,
    CASE WHEN outcome < 0.93 THEN 'VALID' WHEN outcome < 0.96 THEN 'RATE_LIMITED' WHEN outcome < 0.98 THEN 'EXPIRED'
        ELSE 'INSUFFICIENT_SCOPE' END,
    CASE WHEN outcome >= 0.93 THEN 'it was refused' END, (100 * exp(5 * share))::bigint, (outcome < 0.93)::int, '203.0.113.7', at
FROM calls c JOIN alive a ON a.n = c.key ORDER BY c.n;
INSERT INTO usage_minutes
SELECT tenant_id, coalesce(api_key_id, 0), date_trunc('minute', created_at) AS minute, endpoint, outcome, status, count(*), sum(cost)
FROM usage_logs
GROUP BY GROUPING SETS ((tenant_id, api_key_id, minute, endpoint, outcome, status), (tenant_id, minute, endpoint, outcome, status));
INSERT INTO usage_hours
SELECT tenant_id, api_key_id, date_trunc('hour', minute, 'UTC'), endpoint, outcome, status, sum(total), sum(cost) FROM usage_minutes
GROUP BY 1, 2, 3, 4, 5, 6;
INSERT INTO usage_latencies
SELECT tenant_id, coalesce(api_key_id, 0), date_trunc('hour', created_at, 'UTC') AS hour,
    floor(2 * log(2, greatest(duration_us, 1)))::smallint AS step, count(*)
FROM usage_logs GROUP BY GROUPING SETS ((tenant_id, api_key_id, hour, step), (tenant_id, hour, step));

--# Statistics
ANALYZE;
