DROP POLICY of_the_tenant ON users;
ALTER TABLE users DISABLE ROW LEVEL SECURITY;
DROP POLICY of_the_tenant ON tenants;
ALTER TABLE tenants DISABLE ROW LEVEL SECURITY;
REVOKE ALL ON tenants, users FROM gatepost_app;
REVOKE ALL (id, email, name, is_operator, is_active, created_at, updated_at) ON users FROM gatepost_app;
DO $$
DECLARE
    tenant_table TEXT;
BEGIN
    FOREACH tenant_table IN ARRAY ARRAY['memberships', 'access_tokens', 'api_keys', 'usage_logs', 'usage_minutes', 'webhooks',
        'signing_secrets', 'events', 'deliveries', 'attempts', 'idempotency_keys', 'audit_entries']
    LOOP
        EXECUTE format('DROP POLICY of_the_tenant ON %I', tenant_table);
        EXECUTE format('ALTER TABLE %I DISABLE ROW LEVEL SECURITY', tenant_table);
        EXECUTE format('REVOKE ALL ON %I FROM gatepost_app', tenant_table);
    END LOOP;
END
$$;
-- The role stays: other databases of the cluster may use it.
DROP FUNCTION current_tenant();
