DROP VIEW tenant_key_words;
ALTER TABLE api_keys DROP COLUMN words;
CREATE OR REPLACE FUNCTION key_words(tenant_id BIGINT, name TEXT, hint TEXT, public_id TEXT, owner TEXT, tags TEXT[], scopes TEXT[])
RETURNS TSVECTOR LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT array_to_tsvector(coalesce(array_agg(DISTINCT tenant_id || ':' || word), '{}'))
   FROM regexp_split_to_table(lower(concat_ws(' ', name, hint, public_id, owner, array_to_string(tags, ' '),
       array_to_string(scopes, ' '))), '[^[:alnum:]]+') AS word
   WHERE word <> '' $$;
ALTER TABLE api_keys ADD COLUMN words TSVECTOR NOT NULL
    GENERATED ALWAYS AS (key_words(tenant_id, name, hint, public_id, owner, tags, scopes)) STORED;
CREATE INDEX api_keys_by_word ON api_keys USING gin (words);
CREATE VIEW tenant_key_words AS
    SELECT id, words, key_terms(tenant_id, environment, is_active, revoked_at, tags, scopes) AS terms FROM api_keys
    WHERE tenant_id IS NOT DISTINCT FROM current_tenant();
GRANT SELECT ON tenant_key_words TO gatepost_app;
DROP FUNCTION key_query(BIGINT, TEXT[]);
DROP FUNCTION search_words(TEXT);
DROP FUNCTION search_fold(TEXT);
