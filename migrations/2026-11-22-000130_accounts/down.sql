ALTER TABLE access_tokens DROP COLUMN is_from_login;
DELETE FROM one_time_links WHERE purpose <> 'setup';
ALTER TABLE one_time_links
    DROP COLUMN user_id,
    DROP CONSTRAINT one_time_links_purpose_check,
    ADD CONSTRAINT one_time_links_purpose_check CHECK (purpose IN ('setup'));
