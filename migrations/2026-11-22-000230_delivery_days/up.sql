-- Events, deliveries and attempts lie in daily partitions by the time in their ids, and are dropped with them.
-- Deliveries with work left also have a row in a small table, and claiming touches only that table.

-- Returns a bound: at or below every UUIDv7 of this time or later, above every earlier one.
CREATE FUNCTION uuid_floor(at TIMESTAMPTZ) RETURNS UUID LANGUAGE sql IMMUTABLE AS
$$ SELECT rpad(lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0'), 32, '0')::uuid $$;

-- Returns the time in a UUIDv7.
CREATE FUNCTION uuid_time(id UUID) RETURNS TIMESTAMPTZ LANGUAGE sql IMMUTABLE AS
$$ SELECT to_timestamp(('x' || left(replace(id::text, '-', ''), 12))::bit(48)::bigint / 1000.0) $$;

-- Makes the missing partitions of the days that contain these times. Pages of deliveries keep free space: the update
-- of a delivery then stays on its page and writes to no index.
CREATE FUNCTION make_id_partitions(parent TEXT, times TIMESTAMPTZ[]) RETURNS VOID LANGUAGE plpgsql AS
$$
DECLARE
    day TIMESTAMPTZ;
    part TEXT;
BEGIN
    FOR day IN SELECT DISTINCT date_trunc('day', t, 'UTC') FROM unnest(times) t ORDER BY 1 LOOP
        part := parent || to_char(day AT TIME ZONE 'UTC', '_YYYYMMDD');
        CONTINUE WHEN to_regclass(part) IS NOT NULL;
        -- If several processes try at once, one makes the partition, and the others find it made.
        PERFORM pg_advisory_xact_lock(hashtext('partition'), hashtext(parent));
        CONTINUE WHEN to_regclass(part) IS NOT NULL;
        -- The partition with the rows from before partitions existed.
        CONTINUE WHEN EXISTS (
            SELECT FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
            WHERE i.inhparent = parent::regclass AND c.relname = parent || '_before'
                AND uuid_floor(day) < substring(pg_get_expr(c.relpartbound, c.oid) FROM 'TO \(''([^'']+)''\)')::uuid);
        EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE) WITH (fillfactor = %s)',
            part, parent, CASE parent WHEN 'deliveries' THEN 70 ELSE 100 END);
        EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', parent, part,
            uuid_floor(day), uuid_floor((day AT TIME ZONE 'UTC' + INTERVAL '1 day') AT TIME ZONE 'UTC'));
    END LOOP;
END
$$;

-- Deliveries that are not finished. A row is leased while an attempt is under way.
CREATE TABLE open_deliveries (
    tenant_id        BIGINT NOT NULL,
    delivery_id      UUID NOT NULL,
    event_id         UUID NOT NULL,
    event_type       TEXT NOT NULL,
    webhook_id       BIGINT NOT NULL,
    attempts_made    BIGINT NOT NULL,
    attempts_max     BIGINT NOT NULL,
    next_attempt_at  TIMESTAMPTZ,
    lease_token      UUID,
    lease_until      TIMESTAMPTZ,
    attempt_id       UUID,
    attempted_at     TIMESTAMPTZ,
    PRIMARY KEY (tenant_id, delivery_id)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_cost_delay = 0);
COMMENT ON COLUMN open_deliveries.attempts_made IS 'with the one under way';
COMMENT ON COLUMN open_deliveries.attempt_id IS 'of the attempt under way; its row is written once it has come back, or its lease has run out';
CREATE INDEX open_deliveries_waiting ON open_deliveries (webhook_id, next_attempt_at) WHERE lease_token IS NULL;
CREATE INDEX open_deliveries_leased ON open_deliveries (lease_until) WHERE lease_token IS NOT NULL;

ALTER TABLE open_deliveries ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_the_tenant ON open_deliveries TO gatepost_app
    USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
GRANT SELECT, INSERT, UPDATE, DELETE ON open_deliveries TO gatepost_app;

-- Attempts under way belong to processes of the earlier version. They are taken back as if their leases had run out.
INSERT INTO open_deliveries
SELECT tenant_id, id, event_id, event_type, webhook_id, least(attempts_made, attempts_max - 1), attempts_max,
    coalesce(next_attempt_at, clock_timestamp())
FROM deliveries WHERE state IN ('pending', 'retrying');
UPDATE attempts SET error = 'the process that made this attempt stopped before it could note the answer',
    finished_at = created_at
WHERE finished_at IS NULL;

DROP TRIGGER count_deliveries ON deliveries;
DROP TRIGGER count_attempts ON attempts;
DROP INDEX deliveries_waiting, deliveries_leased, deliveries_by_state, deliveries_by_failure, events_by_key;
ALTER TABLE deliveries DROP COLUMN next_attempt_at, DROP COLUMN lease_token, DROP COLUMN lease_until,
    ADD COLUMN has_trouble BOOLEAN NOT NULL DEFAULT FALSE;
UPDATE deliveries SET has_trouble = TRUE WHERE last_error IS NOT NULL OR state IN ('failed', 'cancelled');

-- Existing tables become the partition of everything before the day after tomorrow.
DO $$
DECLARE
    parent TEXT;
    index RECORD;
    has_rows BOOLEAN;
BEGIN
    FOREACH parent IN ARRAY ARRAY['events', 'deliveries', 'attempts'] LOOP
        FOR index IN SELECT indexrelid::regclass::text AS name FROM pg_index WHERE indrelid = parent::regclass LOOP
            EXECUTE format('ALTER INDEX %s RENAME TO %I', index.name, index.name || '_before');
        END LOOP;
        EXECUTE format('DROP POLICY of_the_tenant ON %I', parent);
        EXECUTE format('ALTER TABLE %I RENAME TO %I', parent, parent || '_before');
        EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL EXCLUDING INDEXES, PRIMARY KEY (id)) PARTITION BY RANGE (id)',
            parent, parent || '_before');
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', parent);
        EXECUTE format('CREATE POLICY of_the_tenant ON %I TO gatepost_app USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant())', parent);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO gatepost_app', parent);
        EXECUTE format('REVOKE ALL ON %I FROM gatepost_app', parent || '_before');
        EXECUTE format('SELECT EXISTS (SELECT FROM %I)', parent || '_before') INTO has_rows;
        IF has_rows THEN
            EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (MINVALUE) TO (%L)', parent, parent || '_before',
                uuid_floor(date_trunc('day', now(), 'UTC') + INTERVAL '48 hours'));
        ELSE
            EXECUTE format('DROP TABLE %I', parent || '_before');
        END IF;
    END LOOP;
END
$$;
COMMENT ON COLUMN events.webhook_id IS 'set for a test event, which goes to that webhook alone';
COMMENT ON COLUMN deliveries.attempts_made IS 'without the one under way';
COMMENT ON COLUMN deliveries.has_trouble IS 'failed, cancelled, or tried again after a failure: what lists of these are found by';

CREATE INDEX events_by_tenant ON events (tenant_id, id DESC);
CREATE INDEX events_by_type ON events (tenant_id, type, id DESC);
CREATE INDEX events_by_key ON events (tenant_id, api_key_id, id DESC) WHERE api_key_id IS NOT NULL;
CREATE INDEX deliveries_by_tenant ON deliveries (tenant_id, id DESC);
CREATE INDEX deliveries_by_webhook ON deliveries (tenant_id, webhook_id, id DESC);
CREATE INDEX deliveries_by_event ON deliveries (tenant_id, event_id);
CREATE INDEX deliveries_in_trouble ON deliveries (tenant_id, id DESC) WHERE has_trouble;
CREATE INDEX attempts_by_tenant ON attempts (tenant_id, id DESC);
CREATE INDEX attempts_by_delivery ON attempts (tenant_id, delivery_id, number);
CREATE INDEX attempts_by_webhook ON attempts (tenant_id, webhook_id, id DESC);
CREATE INDEX attempts_by_failure ON attempts (tenant_id, id DESC, response_status) WHERE error IS NOT NULL;

SELECT make_id_partitions(parent, array_agg(now() + days * INTERVAL '1 day'))
FROM unnest(ARRAY['events', 'deliveries', 'attempts']) parent CROSS JOIN generate_series(-1, 3) days GROUP BY parent;

-- Triggers count where rows are written, so no code that finishes a delivery can forget to count it. An end is written
-- once: a finished delivery does not change until it is opened again. An attempt is written when it has ended.
CREATE OR REPLACE FUNCTION count_deliveries() RETURNS TRIGGER LANGUAGE plpgsql AS
$$
BEGIN
    WITH finished AS (
        SELECT tenant_id, webhook_id, date_trunc('minute', finished_at) AS minute,
            count(*) FILTER (WHERE state = 'delivered') AS delivered, count(*) FILTER (WHERE state = 'failed') AS failed,
            count(*) FILTER (WHERE state = 'cancelled') AS cancelled
        FROM changed_to WHERE finished_at IS NOT NULL GROUP BY 1, 2, 3
    ), minutes AS (
        INSERT INTO delivery_minutes AS m (tenant_id, webhook_id, minute, delivered, failed, cancelled)
        SELECT tenant_id, coalesce(webhook_id, 0), minute, sum(delivered), sum(failed), sum(cancelled)
        FROM finished GROUP BY GROUPING SETS ((tenant_id, webhook_id, minute), (tenant_id, minute)) ORDER BY 1, 2, 3
        ON CONFLICT (tenant_id, webhook_id, minute) DO UPDATE SET delivered = m.delivered + excluded.delivered,
            failed = m.failed + excluded.failed, cancelled = m.cancelled + excluded.cancelled
    )
    INSERT INTO delivery_hours AS h (tenant_id, webhook_id, hour, delivered, failed, cancelled)
    SELECT tenant_id, coalesce(webhook_id, 0), hour, sum(delivered), sum(failed), sum(cancelled)
    FROM finished CROSS JOIN LATERAL (SELECT date_trunc('hour', minute, 'UTC') AS hour) hours
    GROUP BY GROUPING SETS ((tenant_id, webhook_id, hour), (tenant_id, hour)) ORDER BY 1, 2, 3
    ON CONFLICT (tenant_id, webhook_id, hour) DO UPDATE SET delivered = h.delivered + excluded.delivered,
        failed = h.failed + excluded.failed, cancelled = h.cancelled + excluded.cancelled;
    RETURN NULL;
END
$$;
CREATE TRIGGER count_deliveries AFTER UPDATE ON deliveries REFERENCING NEW TABLE AS changed_to
    FOR EACH STATEMENT EXECUTE FUNCTION count_deliveries();

CREATE OR REPLACE FUNCTION count_attempts() RETURNS TRIGGER LANGUAGE plpgsql AS
$$
BEGIN
    WITH finished AS (
        SELECT tenant_id, webhook_id, date_trunc('minute', finished_at) AS minute, count(*) AS attempts,
            count(*) FILTER (WHERE success) AS successes
        FROM made WHERE finished_at IS NOT NULL GROUP BY 1, 2, 3
    ), minutes AS (
        INSERT INTO delivery_minutes AS m (tenant_id, webhook_id, minute, attempts, successes)
        SELECT tenant_id, coalesce(webhook_id, 0), minute, sum(attempts), sum(successes)
        FROM finished GROUP BY GROUPING SETS ((tenant_id, webhook_id, minute), (tenant_id, minute)) ORDER BY 1, 2, 3
        ON CONFLICT (tenant_id, webhook_id, minute)
        DO UPDATE SET attempts = m.attempts + excluded.attempts, successes = m.successes + excluded.successes
    )
    INSERT INTO delivery_hours AS h (tenant_id, webhook_id, hour, attempts, successes)
    SELECT tenant_id, coalesce(webhook_id, 0), hour, sum(attempts), sum(successes)
    FROM finished CROSS JOIN LATERAL (SELECT date_trunc('hour', minute, 'UTC') AS hour) hours
    GROUP BY GROUPING SETS ((tenant_id, webhook_id, hour), (tenant_id, hour)) ORDER BY 1, 2, 3
    ON CONFLICT (tenant_id, webhook_id, hour)
    DO UPDATE SET attempts = h.attempts + excluded.attempts, successes = h.successes + excluded.successes;
    RETURN NULL;
END
$$;
CREATE TRIGGER count_attempts AFTER INSERT ON attempts REFERENCING NEW TABLE AS made
    FOR EACH STATEMENT EXECUTE FUNCTION count_attempts();
