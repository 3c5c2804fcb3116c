ALTER TABLE usage_logs ALTER COLUMN request_id TYPE TEXT COLLATE "default";
ALTER SEQUENCE usage_log_ids CACHE 1;
