DROP INDEX api_keys_by_expiry;
DROP INDEX api_keys_by_name;
DROP INDEX api_keys_deleted;
DROP INDEX api_keys_by_lineage;
DROP INDEX api_keys_rotated_from_key;
DROP TRIGGER begin_lineage ON api_keys;
DROP FUNCTION api_keys_begin_lineage();
ALTER TABLE api_keys
    DROP CONSTRAINT api_keys_replaced_whole,
    DROP COLUMN rotates_out_at,
    DROP COLUMN replaced_at,
    DROP COLUMN rotated_to,
    DROP COLUMN rotated_from,
    DROP COLUMN lineage_id;
