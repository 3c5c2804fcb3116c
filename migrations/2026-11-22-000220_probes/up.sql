-- The delivery by which a webhook that is off is asked whether it is well again.
ALTER TABLE webhooks ADD COLUMN probe_id UUID;
COMMENT ON COLUMN webhooks.probe_id IS 'goes out although the webhook is off; a success switches it on. Stays after a failure, until the next probe or activation';
