-- Whether a password is one that only a second factor makes long enough.
ALTER TABLE users ADD COLUMN has_short_password BOOLEAN NOT NULL DEFAULT FALSE;
