ALTER TABLE invitations DROP COLUMN proves_email;
ALTER TABLE users DROP COLUMN is_email_confirmed;
