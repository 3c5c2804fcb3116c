-- Hosts that don't respond. All webhooks of a tenant at such a host are held back together.
ALTER TABLE webhooks ADD COLUMN host TEXT NOT NULL
    GENERATED ALWAYS AS (coalesce(lower(substring(url FROM '://([^/?#]+)')), '')) STORED;
COMMENT ON COLUMN webhooks.host IS 'host and port, as the URL has them';

CREATE TABLE unreachable_hosts (
    tenant_id  BIGINT NOT NULL,
    host       TEXT NOT NULL,
    since      TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (tenant_id, host)
);
COMMENT ON TABLE unreachable_hosts IS 'where the last attempt got no answer; any answer takes the row away';

ALTER TABLE unreachable_hosts ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_the_tenant ON unreachable_hosts TO gatepost_app
    USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
GRANT SELECT, INSERT, UPDATE, DELETE ON unreachable_hosts TO gatepost_app;
