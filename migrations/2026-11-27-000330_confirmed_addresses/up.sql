-- The inviter may know the link of an invitation. Joining by it therefore does not prove that the address is the
-- user's own.
ALTER TABLE users ADD COLUMN is_email_confirmed BOOLEAN NOT NULL DEFAULT TRUE;
COMMENT ON COLUMN users.is_email_confirmed IS 'false: they joined by a link that whoever invited them could use too';
GRANT SELECT (is_email_confirmed) ON users TO gatepost_app;
ALTER TABLE invitations ADD COLUMN proves_email BOOLEAN NOT NULL DEFAULT FALSE;
COMMENT ON COLUMN invitations.proves_email IS 'its link was mailed and shown to nobody, or an operator hands it over';
