DROP TRIGGER count_deliveries ON deliveries;
DROP TRIGGER count_attempts ON attempts;

-- Makes plain tables again, with all rows of the partitions.
DO $$
DECLARE
    parent TEXT;
BEGIN
    FOREACH parent IN ARRAY ARRAY['events', 'deliveries', 'attempts'] LOOP
        EXECUTE format('ALTER TABLE %I RENAME TO %I', parent, parent || '_parted');
        EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING COMMENTS)', parent, parent || '_parted');
        EXECUTE format('INSERT INTO %I SELECT * FROM %I', parent, parent || '_parted');
        EXECUTE format('DROP TABLE %I', parent || '_parted');
        EXECUTE format('ALTER TABLE %I ADD PRIMARY KEY (id)', parent);
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', parent);
        EXECUTE format('CREATE POLICY of_the_tenant ON %I TO gatepost_app USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant())', parent);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO gatepost_app', parent);
    END LOOP;
END
$$;

ALTER TABLE deliveries DROP COLUMN has_trouble, ADD COLUMN next_attempt_at TIMESTAMPTZ, ADD COLUMN lease_token UUID,
    ADD COLUMN lease_until TIMESTAMPTZ;
COMMENT ON COLUMN deliveries.attempts_made IS NULL;
UPDATE deliveries d SET attempts_made = o.attempts_made, next_attempt_at = o.next_attempt_at, lease_token = o.lease_token,
    lease_until = o.lease_until
FROM open_deliveries o WHERE o.tenant_id = d.tenant_id AND o.delivery_id = d.id;
INSERT INTO attempts (id, tenant_id, delivery_id, event_id, event_type, webhook_id, number, request_url, created_at)
SELECT o.attempt_id, o.tenant_id, o.delivery_id, o.event_id, o.event_type, o.webhook_id, o.attempts_made, w.url, o.attempted_at
FROM open_deliveries o JOIN webhooks w ON w.id = o.webhook_id WHERE o.lease_token IS NOT NULL;
DROP TABLE open_deliveries;
DROP FUNCTION make_id_partitions, uuid_time, uuid_floor;

CREATE INDEX events_by_tenant ON events (tenant_id, id DESC);
CREATE INDEX events_by_type ON events (tenant_id, type, id DESC);
CREATE INDEX events_by_key ON events (tenant_id, api_key_id, id DESC);
CREATE INDEX deliveries_waiting ON deliveries (webhook_id, next_attempt_at)
    WHERE state IN ('pending', 'retrying') AND lease_token IS NULL;
CREATE INDEX deliveries_leased ON deliveries (lease_until) WHERE lease_token IS NOT NULL;
CREATE INDEX deliveries_by_tenant ON deliveries (tenant_id, id DESC);
CREATE INDEX deliveries_by_webhook ON deliveries (tenant_id, webhook_id, id DESC);
CREATE INDEX deliveries_by_event ON deliveries (tenant_id, event_id);
CREATE INDEX deliveries_by_state ON deliveries (tenant_id, state, id DESC) WHERE state <> 'delivered';
CREATE INDEX deliveries_by_failure ON deliveries (tenant_id, id DESC, last_status) WHERE last_error IS NOT NULL;
CREATE INDEX attempts_by_tenant ON attempts (tenant_id, id DESC);
CREATE INDEX attempts_by_delivery ON attempts (tenant_id, delivery_id, number);
CREATE INDEX attempts_by_webhook ON attempts (tenant_id, webhook_id, id DESC);
CREATE INDEX attempts_by_failure ON attempts (tenant_id, id DESC, response_status) WHERE error IS NOT NULL;

CREATE OR REPLACE FUNCTION count_deliveries() RETURNS TRIGGER LANGUAGE plpgsql AS
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

CREATE OR REPLACE FUNCTION count_attempts() RETURNS TRIGGER LANGUAGE plpgsql AS
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
