ALTER TABLE users DROP COLUMN has_short_password;
