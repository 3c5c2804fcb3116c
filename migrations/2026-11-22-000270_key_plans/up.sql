-- Statistics on the tenant of keys are switched off. With them the planner assumes that a tenant's keys lie evenly
-- among all keys, and reads the newest keys of all tenants until a page is full. The keys of a large, old tenant lie
-- far behind. Without them each tenant counts as one of two hundred, and its own index is used. (Earlier statistics
-- stay.)
ALTER TABLE api_keys ALTER COLUMN tenant_id SET STATISTICS 0;
