-- Delivery that tests whether a disabled webhook works again.
ALTER TABLE webhooks ADD COLUMN probe_id UUID;
COMMENT ON COLUMN webhooks.probe_id IS 'goes out although the webhook is off; a success switches it on. Stays after a failure, until the next probe or activation';
