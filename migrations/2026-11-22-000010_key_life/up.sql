-- Rotation: a key and its successors form one lineage, which shares one limit. Ids rise within a lineage and so give
-- the order of replacement. The column is no foreign key: a deleted key's row goes after 30 days, and its lineage
-- continues.
ALTER TABLE api_keys
    ADD COLUMN lineage_id      BIGINT,
    ADD COLUMN rotates_out_at  TIMESTAMPTZ;
UPDATE api_keys SET lineage_id = id;
ALTER TABLE api_keys ALTER COLUMN lineage_id SET NOT NULL;
COMMENT ON COLUMN api_keys.lineage_id IS 'the id of the first key of the lineage: its own for a key that replaced none';
COMMENT ON COLUMN api_keys.rotates_out_at IS 'until when a replaced key is let in; null for the newest of its lineage';

-- The trigger knows the identity value before the row is checked; a default can't refer to it.
CREATE FUNCTION api_keys_begin_lineage() RETURNS TRIGGER LANGUAGE plpgsql AS
$$ BEGIN NEW.lineage_id := coalesce(NEW.lineage_id, NEW.id); RETURN NEW; END $$;
CREATE TRIGGER begin_lineage BEFORE INSERT ON api_keys
    FOR EACH ROW WHEN (NEW.lineage_id IS NULL) EXECUTE FUNCTION api_keys_begin_lineage();

-- For the neighbours of a key. The unique index keeps one newest key in a lineage, even if two requests rotate it at
-- once.
CREATE INDEX api_keys_by_lineage ON api_keys (tenant_id, lineage_id, id);
CREATE UNIQUE INDEX api_keys_newest_of_lineage_key ON api_keys (tenant_id, lineage_id) WHERE rotates_out_at IS NULL;

-- Deleted keys, to restore or to delete for good.
CREATE INDEX api_keys_deleted ON api_keys (tenant_id, id DESC) WHERE deleted_at IS NOT NULL;

-- Few keys rotate at a time. Support finds the keys of a tenant's customer by owner.
CREATE INDEX api_keys_rotating ON api_keys (tenant_id, id DESC) WHERE rotates_out_at IS NOT NULL AND deleted_at IS NULL;
CREATE INDEX api_keys_by_owner ON api_keys (tenant_id, owner, id DESC) WHERE deleted_at IS NULL AND owner IS NOT NULL;

-- Orders of the list. An index by last use is left out: every write of usage would have to update it.
CREATE INDEX api_keys_by_name ON api_keys (tenant_id, lower(name), id) WHERE deleted_at IS NULL;
CREATE INDEX api_keys_by_expiry ON api_keys (tenant_id, expires_at, id) WHERE deleted_at IS NULL;
