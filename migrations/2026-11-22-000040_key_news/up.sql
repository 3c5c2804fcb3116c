-- Expiry of each key that was announced to the tenant's webhooks. A later expiry is announced again.
CREATE TABLE told_expiries (
    api_key_id  BIGINT PRIMARY KEY REFERENCES api_keys (id) ON DELETE CASCADE,
    tenant_id   BIGINT NOT NULL REFERENCES tenants (id),
    expires_at  TIMESTAMPTZ NOT NULL
);

ALTER TABLE told_expiries ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_the_tenant ON told_expiries TO gatepost_app USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
GRANT SELECT, INSERT, UPDATE, DELETE ON told_expiries TO gatepost_app;

-- Keys of all tenants by expiry: the reminder looks a week ahead.
CREATE INDEX api_keys_to_expire ON api_keys (expires_at) WHERE deleted_at IS NULL AND revoked_at IS NULL AND expires_at IS NOT NULL;
