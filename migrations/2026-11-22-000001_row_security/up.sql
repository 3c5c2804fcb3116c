-- Work for one tenant runs as `gatepost_app`, with the tenant as a transaction-local setting. Row-level security is
-- not forced on the owner of the tables: COPY refuses tables under it.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'gatepost_app') THEN
        BEGIN
            CREATE ROLE gatepost_app NOLOGIN;
        EXCEPTION
            -- Another database of the same cluster has created the role meanwhile.
            WHEN duplicate_object OR unique_violation THEN NULL;
        END;
    END IF;
    -- From version 16 on, the creator of a role may grant it, but may not yet act as it.
    IF current_setting('server_version_num')::int >= 160000 THEN
        IF NOT pg_has_role(session_user, 'gatepost_app', 'SET') THEN
            EXECUTE format('GRANT gatepost_app TO %I WITH SET TRUE', session_user);
        END IF;
    ELSIF NOT pg_has_role(session_user, 'gatepost_app', 'MEMBER') THEN
        EXECUTE format('GRANT gatepost_app TO %I', session_user);
    END IF;
END
$$;

CREATE FUNCTION current_tenant() RETURNS BIGINT LANGUAGE sql STABLE AS
$$ SELECT nullif(current_setting('gatepost.tenant_id', TRUE), '')::bigint $$;

DO $$
DECLARE
    tenant_table TEXT;
BEGIN
    FOREACH tenant_table IN ARRAY ARRAY['memberships', 'access_tokens', 'api_keys', 'usage_logs', 'usage_minutes', 'webhooks',
        'signing_secrets', 'events', 'deliveries', 'attempts', 'idempotency_keys', 'audit_entries']
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', tenant_table);
        EXECUTE format('CREATE POLICY of_the_tenant ON %I TO gatepost_app USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant())', tenant_table);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO gatepost_app', tenant_table);
    END LOOP;
END
$$;
-- The audit log is only ever added to.
REVOKE UPDATE, DELETE ON audit_entries FROM gatepost_app;

ALTER TABLE tenants ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_the_tenant ON tenants TO gatepost_app USING (id = current_tenant());
GRANT SELECT, UPDATE ON tenants TO gatepost_app;

-- Members of the tenant, without the hashes of their passwords.
ALTER TABLE users ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_the_tenant ON users TO gatepost_app
    USING (EXISTS (SELECT FROM memberships WHERE memberships.user_id = users.id));
GRANT SELECT (id, email, name, is_operator, is_active, created_at, updated_at) ON users TO gatepost_app;
