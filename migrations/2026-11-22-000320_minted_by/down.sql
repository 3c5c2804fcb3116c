ALTER TABLE access_tokens DROP COLUMN minted_by;
