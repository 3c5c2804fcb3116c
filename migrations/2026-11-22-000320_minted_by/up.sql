-- Token that created a token, whose end ends both. Null if a user created it on a page or an operator at the console,
-- and for earlier tokens, whose creator is unknown.
ALTER TABLE access_tokens ADD COLUMN minted_by BIGINT REFERENCES access_tokens (id) ON DELETE CASCADE;
COMMENT ON COLUMN access_tokens.minted_by IS 'the token that made it, and with which it ends';
CREATE INDEX access_tokens_minted_by ON access_tokens (minted_by) WHERE minted_by IS NOT NULL;
