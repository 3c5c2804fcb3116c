-- Marks links that users requested by mail: these and the links of operators do not replace each other.
ALTER TABLE one_time_links ADD COLUMN is_asked_for BOOLEAN NOT NULL DEFAULT FALSE;
