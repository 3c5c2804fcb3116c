DROP INDEX open_deliveries_in_flight;
CREATE INDEX open_deliveries_leased ON open_deliveries (lease_until) WHERE lease_token IS NOT NULL;
