DROP TABLE instance_facts, audit_entries, idempotency_keys, attempts, deliveries, events, signing_secrets, webhooks,
    usage_minutes, usage_logs, api_keys, access_tokens, one_time_links, sessions, memberships, users, tenants;
DROP FUNCTION uuid_v7;
