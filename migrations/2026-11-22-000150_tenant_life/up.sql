-- States and settings of a tenant: suspension with a reason, deletion that can be undone, and the time zone of its
-- pages.
ALTER TABLE tenants
    ADD COLUMN suspended_at TIMESTAMPTZ,
    ADD COLUMN suspended_reason TEXT CHECK (char_length(suspended_reason) <= 200),
    ADD COLUMN deleted_at TIMESTAMPTZ,
    ADD COLUMN time_zone TEXT;
UPDATE tenants SET suspended_at = updated_at WHERE NOT is_active;
-- Keeps the flag that gate and workers read equal to the state that pages show.
ALTER TABLE tenants ADD CONSTRAINT tenants_is_active CHECK (is_active = (suspended_at IS NULL AND deleted_at IS NULL));
CREATE INDEX tenants_deleted ON tenants (deleted_at) WHERE deleted_at IS NOT NULL;

COMMENT ON COLUMN tenants.deleted_at IS 'until 30 days later it can be restored, then all of it is erased';
COMMENT ON COLUMN tenants.time_zone IS 'a name of the IANA database; null: each reader''s own';

-- Work within a tenant may change its settings and no other column.
REVOKE UPDATE ON tenants FROM gatepost_app;
GRANT UPDATE (name, key_prefix, time_zone, updated_at) ON tenants TO gatepost_app;
