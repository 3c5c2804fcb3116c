DROP TRIGGER count_erased_keys ON api_keys;
DROP TRIGGER count_changed_keys ON api_keys;
DROP TRIGGER count_made_keys ON api_keys;
DROP FUNCTION count_erased_keys(), count_changed_keys(), count_made_keys();
DROP FUNCTION add_to_key_counts(BIGINT[], TIMESTAMPTZ[], BOOLEAN[], INT[]);
DROP TABLE key_counts;
