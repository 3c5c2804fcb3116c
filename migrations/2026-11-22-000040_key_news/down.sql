DROP INDEX api_keys_to_expire;
DROP TABLE told_expiries;
