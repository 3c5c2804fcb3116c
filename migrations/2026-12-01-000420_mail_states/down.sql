ALTER TABLE invitations DROP COLUMN mail_error, DROP COLUMN mail_state;
