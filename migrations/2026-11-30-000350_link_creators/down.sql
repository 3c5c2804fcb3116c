ALTER TABLE mails DROP COLUMN link_digest;
ALTER TABLE one_time_links DROP COLUMN created_by;
