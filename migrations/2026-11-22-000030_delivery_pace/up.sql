-- Rate limit of a webhook, schedule of retries, and the time of the warning about its failures.
ALTER TABLE webhooks
    ADD COLUMN rate_per_second BIGINT CHECK (rate_per_second BETWEEN 1 AND 1000),
    ADD COLUMN retry_gaps BIGINT[] CHECK (cardinality(retry_gaps) <= 20),
    ADD COLUMN warned_at TIMESTAMPTZ;

-- An index that names a delivery's state is written at every step of the delivery. Delivered ones are left out: they
-- are the majority, and the index by tenant finds them as fast.
DROP INDEX deliveries_by_state;
CREATE INDEX deliveries_by_state ON deliveries (tenant_id, state, id DESC) WHERE state <> 'delivered';

COMMENT ON COLUMN webhooks.retry_gaps IS 'seconds before each retry, counted from the end of the attempt before it; null for the usual ones';
COMMENT ON COLUMN webhooks.warned_at IS 'when webhook.failing was published for the failures that failing_since tells of';
