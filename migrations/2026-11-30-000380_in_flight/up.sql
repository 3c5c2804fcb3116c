-- Deliveries in flight, by tenant. Publishing counts those of a few tenants, claims count all of them, and the reaper
-- looks for leases that have run out. The caps on requests in flight limit the size of this index.
--
-- The key is an expression on purpose. With plain `tenant_id` in the condition, the primary key would fit as well, and
-- statistics would decide. A plan made while the table was empty then read a tenant's whole backlog for each event.
DROP INDEX open_deliveries_leased;
CREATE INDEX open_deliveries_in_flight ON open_deliveries ((CASE WHEN lease_token IS NOT NULL THEN tenant_id END))
    WHERE lease_token IS NOT NULL;
