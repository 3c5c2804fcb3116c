DROP TRIGGER follow_changed_keys ON api_keys;
DROP TRIGGER follow_made_keys ON api_keys;
DROP FUNCTION follow_changed_keys;
DROP FUNCTION follow_made_keys;
ALTER TABLE api_keys ADD COLUMN last_used_at TIMESTAMPTZ, ADD COLUMN last_used_ip TEXT;
UPDATE api_keys SET last_used_at = used_at, last_used_ip = used_ip
FROM key_uses WHERE api_key_id = id AND used_at > 'epoch';
DROP TABLE key_uses;
