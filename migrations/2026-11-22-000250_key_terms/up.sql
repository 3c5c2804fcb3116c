-- Filters of the key list as exact terms, each with the tenant in front like the words. An index finds the one key in
-- a million with a tag without reading the others. Tags and scopes contain no control characters.
CREATE FUNCTION key_terms(tenant_id BIGINT, environment TEXT, is_active BOOLEAN, revoked_at TIMESTAMPTZ, tags TEXT[], scopes TEXT[])
RETURNS TSVECTOR LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS
$$
DECLARE
    next_term TEXT := chr(31) || tenant_id || ':';
    next_tag TEXT := next_term || 'tag=';
    next_scope TEXT := next_term || 'scope=';
BEGIN
    RETURN array_to_tsvector(string_to_array(tenant_id || ':environment=' || environment || next_term || 'active=' || is_active
        || next_term || 'revoked=' || (revoked_at IS NOT NULL) || next_tag || array_to_string(tags, next_tag)
        || next_scope || array_to_string(scopes, next_scope), chr(31)));
END
$$;
CREATE INDEX api_keys_by_term ON api_keys
    USING gin (key_terms(tenant_id, environment, is_active, revoked_at, tags, scopes));

CREATE OR REPLACE VIEW tenant_key_words AS
    SELECT id, words, key_terms(tenant_id, environment, is_active, revoked_at, tags, scopes) AS terms FROM api_keys
    WHERE tenant_id IS NOT DISTINCT FROM current_tenant();
