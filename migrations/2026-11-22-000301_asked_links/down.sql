ALTER TABLE one_time_links DROP COLUMN is_asked_for;
