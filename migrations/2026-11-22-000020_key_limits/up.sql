-- Shared by all keys of a lineage beside their first limit: more limits, and a quota that survives restarts.

CREATE TABLE key_limits (
    tenant_id   BIGINT NOT NULL REFERENCES tenants (id),
    lineage_id  BIGINT PRIMARY KEY,
    limits      JSONB NOT NULL,
    quota       BIGINT CHECK (quota BETWEEN 1 AND 1000000000000),
    refill      TEXT CHECK (refill IN ('daily', 'monthly')),
    remaining   BIGINT CHECK (remaining BETWEEN 0 AND quota),
    refills_at  TIMESTAMPTZ,
    updated_at  TIMESTAMPTZ NOT NULL,
    CHECK ((refill IS NULL) = (refills_at IS NULL)),
    CHECK ((quota IS NULL) = (remaining IS NULL))
);
COMMENT ON COLUMN key_limits.limits IS '[{"name": "burst", "limit": 10, "window_seconds": 1, "per": "key"}]';
COMMENT ON COLUMN key_limits.remaining IS 'what no process holds a lease on';

ALTER TABLE key_limits ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_the_tenant ON key_limits TO gatepost_app USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
GRANT SELECT, INSERT, UPDATE, DELETE ON key_limits TO gatepost_app;

-- Includes replaced keys: the overview counts by an index-only scan.
DROP INDEX api_keys_alive;
CREATE INDEX api_keys_alive ON api_keys (tenant_id, expires_at) INCLUDE (rotates_out_at)
    WHERE deleted_at IS NULL AND revoked_at IS NULL AND is_active;
