ALTER TABLE webhooks DROP COLUMN probe_id;
