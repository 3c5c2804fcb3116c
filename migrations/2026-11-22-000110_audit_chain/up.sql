-- The audit log as chains of hashes, one for each tenant and one for the instance. A change, addition or removal of an
-- entry outside the product breaks its chain (`gatepost audit verify`).

ALTER TABLE audit_entries
    ADD COLUMN seq            BIGINT,
    ADD COLUMN previous_hash  BYTEA,
    ADD COLUMN hash           BYTEA;

-- End of each chain, so that missing last entries are noticed, and the last entry that retention has deleted.
CREATE TABLE audit_chains (
    tenant_id    BIGINT PRIMARY KEY,
    seq          BIGINT NOT NULL,
    hash         BYTEA NOT NULL,
    pruned_seq   BIGINT NOT NULL DEFAULT 0,
    pruned_hash  BYTEA NOT NULL DEFAULT ''
);
COMMENT ON COLUMN audit_chains.tenant_id IS '0 for the chain of the instance itself';

-- Computes the SHA-256 of an entry and the hash before it. Each field is written as its length in bytes, a colon and
-- its text in UTF-8, or as a dash if absent; fields are joined by commas. `domain::audit` computes the same.
CREATE FUNCTION audit_hash(entry audit_entries) RETURNS BYTEA LANGUAGE sql STABLE AS
$$ SELECT sha256(convert_to(string_agg(coalesce(octet_length(convert_to(field, 'UTF8')) || ':' || field, '-'), ',' ORDER BY place), 'UTF8'))
   FROM unnest(ARRAY['gatepost audit 1', encode(entry.previous_hash, 'hex'), entry.seq::text, entry.id::text,
       entry.tenant_id::text, entry.user_id::text, entry.actor, entry.via, entry.action, entry.target,
       entry.details::text, entry.ip, entry.request_id, (extract(epoch FROM entry.created_at) * 1000000)::bigint::text])
       WITH ORDINALITY AS fields (field, place) $$;

-- Seals each row as it is added, so no code can forget it. The lock on the end of the chain is held until COMMIT:
-- entries of one tenant are sealed one after another. The function runs as the owner, so the role of tenants' work can
-- neither write its own hashes nor move the end.
CREATE FUNCTION seal_audit_entry() RETURNS TRIGGER LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS
$$
DECLARE
    chain BIGINT := coalesce(NEW.tenant_id, 0);
BEGIN
    LOOP
        SELECT seq + 1, hash INTO NEW.seq, NEW.previous_hash FROM audit_chains WHERE tenant_id = chain FOR UPDATE;
        EXIT WHEN FOUND;
        INSERT INTO audit_chains (tenant_id, seq, hash) VALUES (chain, 0, '') ON CONFLICT DO NOTHING;
    END LOOP;
    NEW.hash := audit_hash(NEW);
    UPDATE audit_chains SET seq = NEW.seq, hash = NEW.hash WHERE tenant_id = chain;
    RETURN NEW;
END
$$;

-- Seals existing rows once.
CREATE TRIGGER seal_the_past BEFORE UPDATE ON audit_entries FOR EACH ROW EXECUTE FUNCTION seal_audit_entry();
DO $$
DECLARE
    past BIGINT;
BEGIN
    FOR past IN SELECT id FROM audit_entries ORDER BY id LOOP
        UPDATE audit_entries SET seq = 0 WHERE id = past;
    END LOOP;
END
$$;
DROP TRIGGER seal_the_past ON audit_entries;

ALTER TABLE audit_entries
    ALTER COLUMN seq SET NOT NULL,
    ALTER COLUMN previous_hash SET NOT NULL,
    ALTER COLUMN hash SET NOT NULL;
CREATE TRIGGER seal BEFORE INSERT ON audit_entries FOR EACH ROW EXECUTE FUNCTION seal_audit_entry();

CREATE UNIQUE INDEX audit_entries_by_seq ON audit_entries ((coalesce(tenant_id, 0)), seq);
-- For lists by actor, by target and by action.
CREATE INDEX audit_entries_by_actor ON audit_entries (tenant_id, actor, id DESC);
CREATE INDEX audit_entries_by_target ON audit_entries (tenant_id, target, id DESC);
CREATE INDEX audit_entries_by_action ON audit_entries (tenant_id, action, id DESC);

ALTER TABLE audit_chains ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_the_tenant ON audit_chains TO gatepost_app USING (tenant_id = current_tenant());
GRANT SELECT ON audit_chains TO gatepost_app;
