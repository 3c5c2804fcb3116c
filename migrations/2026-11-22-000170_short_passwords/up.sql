-- True for a password that is long enough only with a second factor.
ALTER TABLE users ADD COLUMN has_short_password BOOLEAN NOT NULL DEFAULT FALSE;
