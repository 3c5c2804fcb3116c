DROP INDEX api_keys_alive;
DROP VIEW tenant_key_words;
ALTER TABLE api_keys DROP COLUMN words;
DROP FUNCTION key_words;

DROP TRIGGER count_attempts ON attempts;
DROP TRIGGER count_deliveries ON deliveries;
DROP FUNCTION count_attempts;
DROP FUNCTION count_deliveries;
DROP TABLE delivery_minutes, delivery_hours, usage_hours, usage_latencies;
CREATE INDEX deliveries_by_time ON deliveries (tenant_id, created_at) INCLUDE (state, webhook_id);

ALTER TABLE usage_logs RENAME TO usage_logs_parted;
ALTER TABLE usage_minutes RENAME TO usage_minutes_parted;
DROP INDEX usage_logs_by_key, usage_logs_by_time, usage_logs_by_request, usage_minutes_by_time;

CREATE TABLE usage_logs (
    id           BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id    BIGINT NOT NULL,
    api_key_id   BIGINT NOT NULL,
    request_id   TEXT NOT NULL,
    endpoint     TEXT NOT NULL,
    method       TEXT NOT NULL,
    status       SMALLINT NOT NULL,
    outcome      TEXT NOT NULL,
    duration_us  BIGINT NOT NULL,
    cost         BIGINT NOT NULL,
    ip           TEXT,
    created_at   TIMESTAMPTZ NOT NULL
);
CREATE INDEX usage_logs_by_key ON usage_logs (tenant_id, api_key_id, created_at);
CREATE INDEX usage_logs_by_time ON usage_logs (tenant_id, created_at) INCLUDE (duration_us);
INSERT INTO usage_logs (tenant_id, api_key_id, request_id, endpoint, method, status, outcome, duration_us, cost, ip, created_at)
SELECT tenant_id, api_key_id, request_id, endpoint, method, status, outcome, duration_us, cost, ip, created_at
FROM usage_logs_parted WHERE api_key_id IS NOT NULL ORDER BY id;

CREATE TABLE usage_minutes (
    tenant_id    BIGINT NOT NULL,
    api_key_id   BIGINT NOT NULL,
    minute       TIMESTAMPTZ NOT NULL,
    endpoint     TEXT NOT NULL,
    outcome      TEXT NOT NULL,
    status       SMALLINT NOT NULL,
    total        BIGINT NOT NULL,
    cost         BIGINT NOT NULL,
    CONSTRAINT usage_minutes_again PRIMARY KEY (tenant_id, api_key_id, minute, endpoint, outcome, status)
);
CREATE INDEX usage_minutes_by_time ON usage_minutes (tenant_id, minute);
INSERT INTO usage_minutes SELECT * FROM usage_minutes_parted WHERE api_key_id <> 0;

DROP TABLE usage_logs_parted, usage_minutes_parted;
ALTER TABLE usage_minutes RENAME CONSTRAINT usage_minutes_again TO usage_minutes_pkey;
DROP FUNCTION make_partitions;

DO $$
DECLARE
    tenant_table TEXT;
BEGIN
    FOREACH tenant_table IN ARRAY ARRAY['usage_logs', 'usage_minutes']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', tenant_table);
        EXECUTE format('CREATE POLICY of_the_tenant ON %I TO gatepost_app USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant())', tenant_table);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO gatepost_app', tenant_table);
    END LOOP;
END
$$;
