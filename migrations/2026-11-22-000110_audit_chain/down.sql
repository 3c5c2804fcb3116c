DROP INDEX audit_entries_by_action;
DROP INDEX audit_entries_by_target;
DROP INDEX audit_entries_by_actor;
DROP INDEX audit_entries_by_seq;
DROP TRIGGER seal ON audit_entries;
DROP FUNCTION seal_audit_entry();
DROP FUNCTION audit_hash(audit_entries);
DROP TABLE audit_chains;
ALTER TABLE audit_entries DROP COLUMN seq, DROP COLUMN previous_hash, DROP COLUMN hash;
