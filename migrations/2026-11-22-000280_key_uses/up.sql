-- Last use of each key, in a table of its own. It changes with every use, and lists are sorted by it. On `api_keys`,
-- which is wide and has many indexes, each use added an entry to all of them whenever a page was full.
--
-- A key never used has the epoch, not NULL: then a comparison of (used_at, api_key_id) gives its place in the list.
CREATE TABLE key_uses (
    api_key_id  BIGINT NOT NULL,
    tenant_id   BIGINT NOT NULL,
    created_at  TIMESTAMPTZ NOT NULL,
    is_deleted  BOOLEAN NOT NULL,
    used_at     TIMESTAMPTZ NOT NULL,
    used_ip     TEXT,
    idle_week   DATE NOT NULL
        GENERATED ALWAYS AS (date_trunc('week', greatest(created_at, used_at) AT TIME ZONE 'UTC')::date) STORED
);
COMMENT ON COLUMN key_uses.created_at IS 'as the key has it';
COMMENT ON COLUMN key_uses.used_at IS 'the epoch where it never was';
COMMENT ON COLUMN key_uses.idle_week IS 'the Monday of the week in which it was last made or used';

-- No other transaction writes keys until this step is over, so none is missed.
LOCK api_keys IN SHARE ROW EXCLUSIVE MODE;
INSERT INTO key_uses (api_key_id, tenant_id, created_at, is_deleted, used_at, used_ip)
SELECT id, tenant_id, created_at, deleted_at IS NOT NULL, coalesce(last_used_at, 'epoch'), last_used_ip
FROM api_keys ORDER BY id;

ALTER TABLE key_uses ADD PRIMARY KEY (api_key_id);
ALTER TABLE key_uses ADD FOREIGN KEY (api_key_id) REFERENCES api_keys (id) ON DELETE CASCADE;
CREATE INDEX key_uses_by_use ON key_uses (tenant_id, used_at, api_key_id) WHERE NOT is_deleted;
-- For the newest unused keys: the newest of each week are found and merged.
CREATE INDEX key_uses_by_week ON key_uses (tenant_id, idle_week, api_key_id) WHERE NOT is_deleted;
CREATE INDEX key_uses_never ON key_uses (tenant_id, idle_week, api_key_id) WHERE used_at = 'epoch' AND NOT is_deleted;
ANALYZE key_uses;

-- Each use leaves a dead row, and a dead index entry at the place where lists begin.
ALTER TABLE key_uses SET (autovacuum_vacuum_scale_factor = 0.05);

-- Only uses are written directly. The other columns follow the keys by trigger, so no code that creates, deletes or
-- restores a key can forget them. Rows are locked in the order of their ids, as uses lock them.
CREATE FUNCTION follow_made_keys() RETURNS TRIGGER LANGUAGE plpgsql AS
$$
BEGIN
    INSERT INTO key_uses (api_key_id, tenant_id, created_at, is_deleted, used_at)
    SELECT id, tenant_id, created_at, deleted_at IS NOT NULL, 'epoch' FROM made ORDER BY id;
    RETURN NULL;
END
$$;
CREATE TRIGGER follow_made_keys AFTER INSERT ON api_keys REFERENCING NEW TABLE AS made
    FOR EACH STATEMENT EXECUTE FUNCTION follow_made_keys();

CREATE FUNCTION follow_changed_keys() RETURNS TRIGGER LANGUAGE plpgsql AS
$$
BEGIN
    WITH held AS (
        SELECT u.api_key_id, k.tenant_id, k.created_at, k.deleted_at IS NOT NULL AS is_deleted
        FROM changed_to k JOIN key_uses u ON u.api_key_id = k.id
        WHERE (u.tenant_id, u.created_at, u.is_deleted)
            IS DISTINCT FROM (k.tenant_id, k.created_at, k.deleted_at IS NOT NULL)
        ORDER BY u.api_key_id FOR NO KEY UPDATE OF u
    )
    UPDATE key_uses u SET tenant_id = held.tenant_id, created_at = held.created_at, is_deleted = held.is_deleted
    FROM held WHERE u.api_key_id = held.api_key_id;
    RETURN NULL;
END
$$;
CREATE TRIGGER follow_changed_keys AFTER UPDATE ON api_keys REFERENCING NEW TABLE AS changed_to
    FOR EACH STATEMENT EXECUTE FUNCTION follow_changed_keys();

-- This step is older than the first release: no process of an earlier version runs beside this one.
ALTER TABLE api_keys DROP COLUMN last_used_at, DROP COLUMN last_used_ip;

ALTER TABLE key_uses ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_the_tenant ON key_uses TO gatepost_app
    USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
GRANT SELECT, INSERT, UPDATE, DELETE ON key_uses TO gatepost_app;
