-- Links that people asked for themselves, by mail: they and those that operators make leave each other alone.
ALTER TABLE one_time_links ADD COLUMN is_asked_for BOOLEAN NOT NULL DEFAULT FALSE;
