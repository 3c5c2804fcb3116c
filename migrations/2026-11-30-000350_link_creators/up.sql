-- Links record their creator, and end when the creator loses the right to create them. Earlier links of operators have
-- no known creator, so they end here.
DELETE FROM one_time_links WHERE purpose = 'password_reset' AND NOT is_asked_for AND used_at IS NULL;
ALTER TABLE one_time_links ADD COLUMN created_by BIGINT REFERENCES users (id) ON DELETE CASCADE;
COMMENT ON COLUMN one_time_links.created_by IS 'the operator who made it; null for the console, the setup link, and links that people request for themselves';
CREATE INDEX one_time_links_by_creator ON one_time_links (created_by) WHERE used_at IS NULL;

-- A mail is deleted unsent once its link has ended.
ALTER TABLE mails ADD COLUMN link_digest BYTEA;
COMMENT ON COLUMN mails.link_digest IS 'SHA-256 of the token of the link in the letter; null for letters without one';
