-- State of the mail with an invitation's link, and the reason why its last attempt failed.
ALTER TABLE invitations
    ADD COLUMN mail_state TEXT CHECK (mail_state IN ('waiting', 'sent', 'failed')),
    ADD COLUMN mail_error TEXT;
COMMENT ON COLUMN invitations.mail_state IS 'null: its link was not mailed, or before this was noted';
UPDATE invitations SET mail_state = 'waiting' WHERE digest IN (SELECT link_digest FROM mails);
