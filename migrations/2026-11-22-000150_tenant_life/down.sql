GRANT UPDATE ON tenants TO gatepost_app;
DROP INDEX tenants_deleted;
ALTER TABLE tenants
    DROP CONSTRAINT tenants_is_active,
    DROP COLUMN time_zone,
    DROP COLUMN deleted_at,
    DROP COLUMN suspended_reason,
    DROP COLUMN suspended_at;
