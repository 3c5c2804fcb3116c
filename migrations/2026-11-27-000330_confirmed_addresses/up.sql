-- Whoever invites may hold the link in their own hands: that somebody joined by it does not show that the address is theirs.
ALTER TABLE users ADD COLUMN is_email_confirmed BOOLEAN NOT NULL DEFAULT TRUE;
COMMENT ON COLUMN users.is_email_confirmed IS 'false: they joined by a link that whoever invited them could use too';
GRANT SELECT (is_email_confirmed) ON users TO gatepost_app;
ALTER TABLE invitations ADD COLUMN proves_email BOOLEAN NOT NULL DEFAULT FALSE;
COMMENT ON COLUMN invitations.proves_email IS 'its link was mailed and shown to nobody, or an operator hands it over';
