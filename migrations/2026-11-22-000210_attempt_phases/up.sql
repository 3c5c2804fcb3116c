-- Durations of the phases of an attempt, and the format of its body.
ALTER TABLE attempts
    ADD COLUMN dns_us INT,
    ADD COLUMN connect_us INT,
    ADD COLUMN first_byte_us INT,
    ADD COLUMN payload_format TEXT;
COMMENT ON COLUMN attempts.dns_us IS 'null where the connection was there already, or the URL names an address';
COMMENT ON COLUMN attempts.connect_us IS 'with the TLS handshake; null where the connection was there already';
COMMENT ON COLUMN attempts.first_byte_us IS 'from the beginning of the attempt until the head of the answer';

-- For lists by status. Successful attempts are left out: the index by tenant finds them as fast, and they skip one
-- index.
CREATE INDEX deliveries_by_failure ON deliveries (tenant_id, id DESC, last_status) WHERE last_error IS NOT NULL;
CREATE INDEX attempts_by_failure ON attempts (tenant_id, id DESC, response_status) WHERE error IS NOT NULL;
