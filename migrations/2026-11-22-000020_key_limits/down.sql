DROP INDEX api_keys_alive;
CREATE INDEX api_keys_alive ON api_keys (tenant_id, expires_at)
    WHERE deleted_at IS NULL AND revoked_at IS NULL AND is_active;
DROP TABLE key_limits;
