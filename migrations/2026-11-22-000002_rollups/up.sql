-- Usage records and minutes in partitions, totals by the hour, a histogram of latency, and outcomes of deliveries.

-- Makes the missing partitions of a table: one for each day or month that contains one of these times.
CREATE FUNCTION make_partitions(parent TEXT, width TEXT, times TIMESTAMPTZ[]) RETURNS VOID LANGUAGE plpgsql AS
$$
DECLARE
    first TIMESTAMP;
    part TEXT;
BEGIN
    FOR first IN SELECT DISTINCT date_trunc(width, t AT TIME ZONE 'UTC') FROM unnest(times) t ORDER BY 1 LOOP
        part := parent || to_char(first, CASE width WHEN 'day' THEN '_YYYYMMDD' ELSE '_YYYYMM' END);
        CONTINUE WHEN to_regclass(part) IS NOT NULL;
        -- If several processes try at once, one makes the partition, and the others find it made.
        PERFORM pg_advisory_xact_lock(hashtext('partition'), hashtext(parent));
        CONTINUE WHEN to_regclass(part) IS NOT NULL;
        EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS INCLUDING STORAGE)', part, parent);
        EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', parent, part,
            first AT TIME ZONE 'UTC', (first + ('1 ' || width)::interval) AT TIME ZONE 'UTC');
    END LOOP;
END
$$;

ALTER TABLE usage_logs RENAME TO usage_logs_before;
ALTER TABLE usage_minutes RENAME TO usage_minutes_before;
DROP INDEX usage_logs_by_key, usage_logs_by_time, usage_minutes_by_time;

CREATE SEQUENCE usage_log_ids;
CREATE TABLE usage_logs (
    id           BIGINT NOT NULL DEFAULT nextval('usage_log_ids'),
    tenant_id    BIGINT NOT NULL,
    api_key_id   BIGINT,
    request_id   TEXT NOT NULL,
    endpoint     TEXT NOT NULL,
    method       TEXT NOT NULL,
    status       SMALLINT NOT NULL,
    outcome      TEXT NOT NULL,
    reason       TEXT,
    duration_us  BIGINT NOT NULL,
    cost         BIGINT NOT NULL,
    ip           TEXT,
    created_at   TIMESTAMPTZ NOT NULL
) PARTITION BY RANGE (created_at);
COMMENT ON COLUMN usage_logs.api_key_id IS 'none where no key of the tenant was presented';
COMMENT ON COLUMN usage_logs.reason IS 'why it was refused, in a sentence';
ALTER SEQUENCE usage_log_ids OWNED BY usage_logs.id;
CREATE INDEX usage_logs_by_key ON usage_logs (tenant_id, api_key_id, created_at);
CREATE INDEX usage_logs_by_time ON usage_logs (tenant_id, created_at);
CREATE INDEX usage_logs_by_request ON usage_logs (tenant_id, request_id);

-- One row for each minute, key, endpoint, outcome and status. Key 0 has the totals of the whole tenant.
CREATE TABLE usage_minutes (
    tenant_id    BIGINT NOT NULL,
    api_key_id   BIGINT NOT NULL,
    minute       TIMESTAMPTZ NOT NULL,
    endpoint     TEXT NOT NULL,
    outcome      TEXT NOT NULL,
    status       SMALLINT NOT NULL,
    total        BIGINT NOT NULL,
    cost         BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, api_key_id, minute, endpoint, outcome, status)
) PARTITION BY RANGE (minute);
CREATE INDEX usage_minutes_by_time ON usage_minutes (tenant_id, minute) WHERE api_key_id <> 0;

CREATE TABLE usage_hours (
    tenant_id    BIGINT NOT NULL,
    api_key_id   BIGINT NOT NULL,
    hour         TIMESTAMPTZ NOT NULL,
    endpoint     TEXT NOT NULL,
    outcome      TEXT NOT NULL,
    status       SMALLINT NOT NULL,
    total        BIGINT NOT NULL,
    cost         BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, api_key_id, hour, endpoint, outcome, status)
) PARTITION BY RANGE (hour);
CREATE INDEX usage_hours_by_time ON usage_hours (tenant_id, hour) WHERE api_key_id <> 0;

-- Durations of requests: step n counts those of at least 2^(n/2) µs and less than 2^((n+1)/2) µs.
CREATE TABLE usage_latencies (
    tenant_id    BIGINT NOT NULL,
    api_key_id   BIGINT NOT NULL,
    hour         TIMESTAMPTZ NOT NULL,
    step         SMALLINT NOT NULL,
    total        BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, api_key_id, hour, step)
) PARTITION BY RANGE (hour);

SELECT make_partitions('usage_logs', 'day', array_agg(DISTINCT date_trunc('day', created_at, 'UTC'))) FROM usage_logs_before;
SELECT make_partitions('usage_minutes', 'day', array_agg(DISTINCT date_trunc('day', minute, 'UTC'))) FROM usage_minutes_before;
SELECT make_partitions('usage_hours', 'month', array_agg(DISTINCT date_trunc('month', minute, 'UTC'))) FROM usage_minutes_before;
SELECT make_partitions('usage_latencies', 'month', array_agg(DISTINCT date_trunc('month', created_at, 'UTC'))) FROM usage_logs_before;

INSERT INTO usage_logs (id, tenant_id, api_key_id, request_id, endpoint, method, status, outcome, duration_us, cost, ip, created_at)
SELECT id, tenant_id, api_key_id, request_id, endpoint, method, status, outcome, duration_us, cost, ip, created_at
FROM usage_logs_before;
SELECT setval('usage_log_ids', (SELECT coalesce(max(id), 0) + 1 FROM usage_logs_before), FALSE);

INSERT INTO usage_minutes
SELECT tenant_id, coalesce(api_key_id, 0), minute, endpoint, outcome, status, sum(total), sum(cost)
FROM usage_minutes_before
GROUP BY GROUPING SETS ((tenant_id, api_key_id, minute, endpoint, outcome, status), (tenant_id, minute, endpoint, outcome, status));

INSERT INTO usage_hours
SELECT tenant_id, api_key_id, date_trunc('hour', minute, 'UTC'), endpoint, outcome, status, sum(total), sum(cost)
FROM usage_minutes GROUP BY 1, 2, 3, 4, 5, 6;

INSERT INTO usage_latencies
SELECT tenant_id, coalesce(api_key_id, 0), hour, step, count(*)
FROM (SELECT tenant_id, api_key_id, date_trunc('hour', created_at, 'UTC') AS hour,
             floor(2 * log(2, greatest(duration_us, 1)))::smallint AS step
      FROM usage_logs_before) AS records
GROUP BY GROUPING SETS ((tenant_id, api_key_id, hour, step), (tenant_id, hour, step));

DROP TABLE usage_logs_before, usage_minutes_before;

-- Outcomes of deliveries and attempts by minute and hour, for each webhook. Webhook 0 has those of the whole tenant.
CREATE TABLE delivery_minutes (
    tenant_id   BIGINT NOT NULL,
    webhook_id  BIGINT NOT NULL,
    minute      TIMESTAMPTZ NOT NULL,
    delivered   BIGINT NOT NULL DEFAULT 0,
    failed      BIGINT NOT NULL DEFAULT 0,
    cancelled   BIGINT NOT NULL DEFAULT 0,
    attempts    BIGINT NOT NULL DEFAULT 0,
    successes   BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant_id, webhook_id, minute)
) WITH (fillfactor = 80);

CREATE TABLE delivery_hours (
    tenant_id   BIGINT NOT NULL,
    webhook_id  BIGINT NOT NULL,
    hour        TIMESTAMPTZ NOT NULL,
    delivered   BIGINT NOT NULL DEFAULT 0,
    failed      BIGINT NOT NULL DEFAULT 0,
    cancelled   BIGINT NOT NULL DEFAULT 0,
    attempts    BIGINT NOT NULL DEFAULT 0,
    successes   BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant_id, webhook_id, hour)
) WITH (fillfactor = 80);

-- For retention, which deletes the oldest rows.
CREATE INDEX delivery_minutes_by_time ON delivery_minutes (minute);
CREATE INDEX delivery_hours_by_time ON delivery_hours (hour);

-- Triggers count where rows change, so no code that finishes a delivery can forget to count it.
CREATE FUNCTION count_deliveries() RETURNS TRIGGER LANGUAGE plpgsql AS
$$
BEGIN
    WITH finished AS (
        SELECT a.tenant_id, a.webhook_id, a.state, date_trunc('minute', a.finished_at) AS minute
        FROM changed_to a JOIN changed_from b USING (id) WHERE a.finished_at IS NOT NULL AND b.finished_at IS NULL
    ), minutes AS (
        INSERT INTO delivery_minutes AS m (tenant_id, webhook_id, minute, delivered, failed, cancelled)
        SELECT tenant_id, coalesce(webhook_id, 0), minute, count(*) FILTER (WHERE state = 'delivered'),
            count(*) FILTER (WHERE state = 'failed'), count(*) FILTER (WHERE state = 'cancelled')
        FROM finished GROUP BY GROUPING SETS ((tenant_id, webhook_id, minute), (tenant_id, minute)) ORDER BY 1, 2, 3
        ON CONFLICT (tenant_id, webhook_id, minute) DO UPDATE SET delivered = m.delivered + excluded.delivered,
            failed = m.failed + excluded.failed, cancelled = m.cancelled + excluded.cancelled
    )
    INSERT INTO delivery_hours AS h (tenant_id, webhook_id, hour, delivered, failed, cancelled)
    SELECT tenant_id, coalesce(webhook_id, 0), date_trunc('hour', minute, 'UTC'), count(*) FILTER (WHERE state = 'delivered'),
        count(*) FILTER (WHERE state = 'failed'), count(*) FILTER (WHERE state = 'cancelled')
    FROM finished GROUP BY GROUPING SETS ((tenant_id, webhook_id, date_trunc('hour', minute, 'UTC')),
        (tenant_id, date_trunc('hour', minute, 'UTC'))) ORDER BY 1, 2, 3
    ON CONFLICT (tenant_id, webhook_id, hour) DO UPDATE SET delivered = h.delivered + excluded.delivered,
        failed = h.failed + excluded.failed, cancelled = h.cancelled + excluded.cancelled;
    RETURN NULL;
END
$$;
CREATE TRIGGER count_deliveries AFTER UPDATE ON deliveries REFERENCING OLD TABLE AS changed_from NEW TABLE AS changed_to
    FOR EACH STATEMENT EXECUTE FUNCTION count_deliveries();

CREATE FUNCTION count_attempts() RETURNS TRIGGER LANGUAGE plpgsql AS
$$
BEGIN
    WITH finished AS (
        SELECT a.tenant_id, a.webhook_id, a.success, date_trunc('minute', a.finished_at) AS minute
        FROM changed_to a JOIN changed_from b USING (id) WHERE a.finished_at IS NOT NULL AND b.finished_at IS NULL
    ), minutes AS (
        INSERT INTO delivery_minutes AS m (tenant_id, webhook_id, minute, attempts, successes)
        SELECT tenant_id, coalesce(webhook_id, 0), minute, count(*), count(*) FILTER (WHERE success)
        FROM finished GROUP BY GROUPING SETS ((tenant_id, webhook_id, minute), (tenant_id, minute)) ORDER BY 1, 2, 3
        ON CONFLICT (tenant_id, webhook_id, minute)
        DO UPDATE SET attempts = m.attempts + excluded.attempts, successes = m.successes + excluded.successes
    )
    INSERT INTO delivery_hours AS h (tenant_id, webhook_id, hour, attempts, successes)
    SELECT tenant_id, coalesce(webhook_id, 0), date_trunc('hour', minute, 'UTC'), count(*), count(*) FILTER (WHERE success)
    FROM finished GROUP BY GROUPING SETS ((tenant_id, webhook_id, date_trunc('hour', minute, 'UTC')),
        (tenant_id, date_trunc('hour', minute, 'UTC'))) ORDER BY 1, 2, 3
    ON CONFLICT (tenant_id, webhook_id, hour)
    DO UPDATE SET attempts = h.attempts + excluded.attempts, successes = h.successes + excluded.successes;
    RETURN NULL;
END
$$;
CREATE TRIGGER count_attempts AFTER UPDATE ON attempts REFERENCING OLD TABLE AS changed_from NEW TABLE AS changed_to
    FOR EACH STATEMENT EXECUTE FUNCTION count_attempts();

-- Counts existing rows once.
WITH made AS (
    SELECT tenant_id, webhook_id, date_trunc('minute', finished_at) AS minute, state, 0 AS tried, 0 AS succeeded
    FROM deliveries WHERE finished_at IS NOT NULL
    UNION ALL
    SELECT tenant_id, webhook_id, date_trunc('minute', finished_at), '', 1, success::int FROM attempts WHERE finished_at IS NOT NULL
)
INSERT INTO delivery_minutes
SELECT tenant_id, coalesce(webhook_id, 0), minute, count(*) FILTER (WHERE state = 'delivered'), count(*) FILTER (WHERE state = 'failed'),
    count(*) FILTER (WHERE state = 'cancelled'), sum(tried), sum(succeeded)
FROM made GROUP BY GROUPING SETS ((tenant_id, webhook_id, minute), (tenant_id, minute));
INSERT INTO delivery_hours
SELECT tenant_id, webhook_id, date_trunc('hour', minute, 'UTC'), sum(delivered), sum(failed), sum(cancelled), sum(attempts), sum(successes)
FROM delivery_minutes GROUP BY 1, 2, 3;

-- The totals replace this index.
DROP INDEX deliveries_by_time;

DO $$
DECLARE
    tenant_table TEXT;
BEGIN
    FOREACH tenant_table IN ARRAY ARRAY['usage_logs', 'usage_minutes', 'usage_hours', 'usage_latencies', 'delivery_minutes', 'delivery_hours']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', tenant_table);
        EXECUTE format('CREATE POLICY of_the_tenant ON %I TO gatepost_app USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant())', tenant_table);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO gatepost_app', tenant_table);
    END LOOP;
END
$$;

-- Words of a key for searches: its texts in lower case, each word with the tenant in front, so one index serves all
-- tenants.
CREATE FUNCTION key_words(tenant_id BIGINT, name TEXT, hint TEXT, public_id TEXT, owner TEXT, tags TEXT[], scopes TEXT[])
RETURNS TSVECTOR LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT array_to_tsvector(coalesce(array_agg(DISTINCT tenant_id || ':' || word), '{}'))
   FROM regexp_split_to_table(lower(concat_ws(' ', name, hint, public_id, owner, array_to_string(tags, ' '),
       array_to_string(scopes, ' '))), '[^[:alnum:]]+') AS word
   WHERE word <> '' $$;
ALTER TABLE api_keys ADD COLUMN words TSVECTOR NOT NULL
    GENERATED ALWAYS AS (key_words(tenant_id, name, hint, public_id, owner, tags, scopes)) STORED;
CREATE INDEX api_keys_by_word ON api_keys USING gin (words);

-- Under row-level security no index helps a text search, because its operator is not leakproof. This view belongs to
-- the owner of the table, and shows only the tenant's rows. It uses `IS NOT DISTINCT FROM`: an equality would be
-- merged with those of the outer query, and would pass their security level on to the search.
CREATE VIEW tenant_key_words AS
    SELECT id, words FROM api_keys WHERE tenant_id IS NOT DISTINCT FROM current_tenant();
GRANT SELECT ON tenant_key_words TO gatepost_app;

-- For the counts and lists of the overview.
CREATE INDEX api_keys_alive ON api_keys (tenant_id, expires_at)
    WHERE deleted_at IS NULL AND revoked_at IS NULL AND is_active;
