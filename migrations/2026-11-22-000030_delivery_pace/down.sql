DROP INDEX deliveries_by_state;
CREATE INDEX deliveries_by_state ON deliveries (tenant_id, state, id DESC);
ALTER TABLE webhooks DROP COLUMN warned_at, DROP COLUMN retry_gaps, DROP COLUMN rate_per_second;
