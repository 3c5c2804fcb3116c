DROP INDEX api_keys_by_owner;
DROP INDEX api_keys_rotating;
DROP INDEX api_keys_by_expiry;
DROP INDEX api_keys_by_name;
DROP INDEX api_keys_deleted;
DROP INDEX api_keys_newest_of_lineage_key;
DROP INDEX api_keys_by_lineage;
DROP TRIGGER begin_lineage ON api_keys;
DROP FUNCTION api_keys_begin_lineage();
ALTER TABLE api_keys
    DROP COLUMN rotates_out_at,
    DROP COLUMN lineage_id;
