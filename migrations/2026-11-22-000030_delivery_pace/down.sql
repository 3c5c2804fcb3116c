ALTER TABLE webhooks DROP COLUMN warned_at, DROP COLUMN retry_gaps, DROP COLUMN rate_per_second;
