-- Limits on what a tenant may have. Null is no limit.
CREATE TABLE plans (
    name                  TEXT PRIMARY KEY CHECK (name IN ('free', 'pro', 'unlimited')),
    max_keys              BIGINT CHECK (max_keys >= 0),
    max_webhooks          BIGINT CHECK (max_webhooks >= 0),
    max_members           BIGINT CHECK (max_members >= 0),
    max_events_per_month  BIGINT CHECK (max_events_per_month >= 0),
    default_rate_limit    BIGINT NOT NULL CHECK (default_rate_limit BETWEEN 1 AND 1000000000),
    max_rate_limit        BIGINT CHECK (max_rate_limit >= default_rate_limit),
    updated_at            TIMESTAMPTZ NOT NULL
);
COMMENT ON COLUMN plans.default_rate_limit IS 'requests an hour of a key that names no limit';
COMMENT ON COLUMN plans.max_rate_limit IS 'requests an hour that a key may name at most';
INSERT INTO plans VALUES
    ('free', 10, 5, 5, 10000, 1000, 10000, now()),
    ('pro', 1000, 100, 50, 1000000, 1000, 1000000, now()),
    ('unlimited', NULL, NULL, NULL, NULL, 1000, NULL, now());
GRANT SELECT ON plans TO gatepost_app;

-- Existing tenants stay without limits.
UPDATE tenants SET plan = 'unlimited';
ALTER TABLE tenants ADD CONSTRAINT tenants_plan_fkey FOREIGN KEY (plan) REFERENCES plans (name);

-- Events that a tenant has published in a month (UTC), for tenants whose plan limits them.
CREATE TABLE event_months (
    tenant_id  BIGINT NOT NULL,
    month      DATE NOT NULL,
    total      BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, month)
);
ALTER TABLE event_months ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_the_tenant ON event_months TO gatepost_app USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
GRANT SELECT, INSERT, UPDATE, DELETE ON event_months TO gatepost_app;
