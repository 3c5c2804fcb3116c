DROP INDEX attempts_by_failure, deliveries_by_failure;
ALTER TABLE attempts DROP COLUMN dns_us, DROP COLUMN connect_us, DROP COLUMN first_byte_us, DROP COLUMN payload_format;
