DROP TABLE unreachable_hosts;
ALTER TABLE webhooks DROP COLUMN host;
