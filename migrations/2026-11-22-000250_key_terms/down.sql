DROP VIEW tenant_key_words;
CREATE VIEW tenant_key_words AS
    SELECT id, words FROM api_keys WHERE tenant_id IS NOT DISTINCT FROM current_tenant();
GRANT SELECT ON tenant_key_words TO gatepost_app;
DROP INDEX api_keys_by_term;
DROP FUNCTION key_terms;
