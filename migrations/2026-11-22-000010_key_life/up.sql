-- Rotation: a key and those that came after it are one lineage, which shares one limit. Within it the ids tell who
-- replaced whom. It is no foreign key: a deleted key's row goes after 30 days, and its lineage goes on.
ALTER TABLE api_keys
    ADD COLUMN lineage_id      BIGINT,
    ADD COLUMN rotates_out_at  TIMESTAMPTZ;
UPDATE api_keys SET lineage_id = id;
ALTER TABLE api_keys ALTER COLUMN lineage_id SET NOT NULL;
COMMENT ON COLUMN api_keys.lineage_id IS 'the id of the first key of the lineage: its own for a key that replaced none';
COMMENT ON COLUMN api_keys.rotates_out_at IS 'until when a replaced key is let in; null for the newest of its lineage';

-- An identity is known before the row is checked, but no default can refer to it.
CREATE FUNCTION api_keys_begin_lineage() RETURNS TRIGGER LANGUAGE plpgsql AS
$$ BEGIN NEW.lineage_id := coalesce(NEW.lineage_id, NEW.id); RETURN NEW; END $$;
CREATE TRIGGER begin_lineage BEFORE INSERT ON api_keys
    FOR EACH ROW WHEN (NEW.lineage_id IS NULL) EXECUTE FUNCTION api_keys_begin_lineage();

-- For those before and after a key; and a lineage has one newest key, whoever races to rotate it.
CREATE INDEX api_keys_by_lineage ON api_keys (tenant_id, lineage_id, id);
CREATE UNIQUE INDEX api_keys_newest_of_lineage_key ON api_keys (tenant_id, lineage_id) WHERE rotates_out_at IS NULL;

-- Deleted keys: what can be restored, and what is to go for good.
CREATE INDEX api_keys_deleted ON api_keys (tenant_id, id DESC) WHERE deleted_at IS NOT NULL;

-- Few keys are being rotated at a time; and a customer's keys are found by the customer.
CREATE INDEX api_keys_rotating ON api_keys (tenant_id, id DESC) WHERE rotates_out_at IS NOT NULL AND deleted_at IS NULL;
CREATE INDEX api_keys_by_owner ON api_keys (tenant_id, owner, id DESC) WHERE deleted_at IS NULL AND owner IS NOT NULL;

-- The orders of the list. There is none by last use: an index on it would cost every flush of the meter.
CREATE INDEX api_keys_by_name ON api_keys (tenant_id, lower(name), id) WHERE deleted_at IS NULL;
CREATE INDEX api_keys_by_expiry ON api_keys (tenant_id, expires_at, id) WHERE deleted_at IS NULL;
