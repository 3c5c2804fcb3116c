-- Which token made a token: it ends with its maker. None where a person made it on a page, or somebody at the console; and
-- for tokens of before, of which nobody knows.
ALTER TABLE access_tokens ADD COLUMN minted_by BIGINT REFERENCES access_tokens (id) ON DELETE CASCADE;
COMMENT ON COLUMN access_tokens.minted_by IS 'the token that made it, and with which it ends';
CREATE INDEX access_tokens_minted_by ON access_tokens (minted_by) WHERE minted_by IS NOT NULL;
