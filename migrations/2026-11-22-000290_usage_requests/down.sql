DROP INDEX usage_logs_by_report;
ALTER TABLE usage_logs DROP COLUMN is_reported;
CREATE INDEX usage_logs_by_request ON usage_logs (tenant_id, request_id);
