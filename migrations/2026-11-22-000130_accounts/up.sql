-- Links that let a user set a new password, and access tokens that a sign-in created.
ALTER TABLE one_time_links
    DROP CONSTRAINT one_time_links_purpose_check,
    ADD CONSTRAINT one_time_links_purpose_check CHECK (purpose IN ('setup', 'password_reset')),
    ADD COLUMN user_id BIGINT REFERENCES users (id);
COMMENT ON COLUMN one_time_links.user_id IS 'whose password it resets; null for the setup link';
CREATE INDEX one_time_links_by_user ON one_time_links (user_id);

ALTER TABLE access_tokens ADD COLUMN is_from_login BOOLEAN NOT NULL DEFAULT FALSE;
COMMENT ON COLUMN access_tokens.is_from_login IS 'made by a password, and ended with it';
