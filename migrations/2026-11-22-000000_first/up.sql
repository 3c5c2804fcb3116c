-- Tenants, users, and their credentials.

CREATE TABLE tenants (
    id          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name        TEXT NOT NULL CHECK (char_length(name) BETWEEN 1 AND 100),
    slug        TEXT NOT NULL UNIQUE,
    plan        TEXT NOT NULL DEFAULT 'free' CHECK (plan IN ('free', 'pro', 'unlimited')),
    is_active   BOOLEAN NOT NULL DEFAULT TRUE,
    key_prefix  TEXT NOT NULL DEFAULT 'sk',
    created_at  TIMESTAMPTZ NOT NULL,
    updated_at  TIMESTAMPTZ NOT NULL
);

CREATE TABLE users (
    id             BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    email          TEXT NOT NULL UNIQUE CHECK (email = lower(email)),
    name           TEXT NOT NULL,
    password_hash  TEXT NOT NULL,
    is_operator    BOOLEAN NOT NULL DEFAULT FALSE,
    is_active      BOOLEAN NOT NULL DEFAULT TRUE,
    created_at     TIMESTAMPTZ NOT NULL,
    updated_at     TIMESTAMPTZ NOT NULL
);

CREATE TABLE memberships (
    id          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id   BIGINT NOT NULL REFERENCES tenants (id),
    user_id     BIGINT NOT NULL REFERENCES users (id),
    role        TEXT NOT NULL CHECK (role IN ('owner', 'admin', 'developer', 'viewer')),
    created_at  TIMESTAMPTZ NOT NULL,
    UNIQUE (tenant_id, user_id)
);
CREATE INDEX memberships_by_user ON memberships (user_id);

-- Only the SHA-256 of a session key is stored, never the key itself.
CREATE TABLE sessions (
    id            BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key_digest    BYTEA NOT NULL UNIQUE,
    user_id       BIGINT REFERENCES users (id),
    state         JSONB NOT NULL,
    created_at    TIMESTAMPTZ NOT NULL,
    last_seen_at  TIMESTAMPTZ NOT NULL,
    expires_at    TIMESTAMPTZ NOT NULL
);
CREATE INDEX sessions_by_user ON sessions (user_id);
CREATE INDEX sessions_by_expiry ON sessions (expires_at);

-- Links that work once, at first only the setup link.
CREATE TABLE one_time_links (
    id          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    purpose     TEXT NOT NULL CHECK (purpose IN ('setup')),
    digest      BYTEA NOT NULL UNIQUE,
    created_at  TIMESTAMPTZ NOT NULL,
    expires_at  TIMESTAMPTZ NOT NULL,
    used_at     TIMESTAMPTZ
);

CREATE TABLE access_tokens (
    id            BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id       BIGINT NOT NULL REFERENCES users (id),
    tenant_id     BIGINT REFERENCES tenants (id),
    name          TEXT NOT NULL CHECK (char_length(name) BETWEEN 1 AND 100),
    public_id     TEXT NOT NULL UNIQUE,
    hint          TEXT NOT NULL,
    pepper_id     TEXT NOT NULL,
    digest        BYTEA NOT NULL,
    scopes        TEXT[] NOT NULL,
    expires_at    TIMESTAMPTZ,
    last_used_at  TIMESTAMPTZ,
    revoked_at    TIMESTAMPTZ,
    created_at    TIMESTAMPTZ NOT NULL
);
CREATE INDEX access_tokens_by_user ON access_tokens (user_id, id);
CREATE INDEX access_tokens_by_tenant ON access_tokens (tenant_id, id);

-- API keys and their usage.

CREATE TABLE api_keys (
    id                   BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id            BIGINT NOT NULL REFERENCES tenants (id),
    user_id              BIGINT REFERENCES users (id),
    name                 TEXT NOT NULL CHECK (char_length(name) BETWEEN 1 AND 100),
    description          TEXT,
    environment          TEXT NOT NULL CHECK (environment IN ('live', 'test')),
    public_id            TEXT NOT NULL UNIQUE,
    key_prefix           TEXT NOT NULL,
    hint                 TEXT NOT NULL,
    hash_algorithm       TEXT NOT NULL CHECK (hash_algorithm IN ('hmac-sha256', 'argon2id')),
    pepper_id            TEXT NOT NULL,
    digest               TEXT NOT NULL UNIQUE,
    scopes               TEXT[] NOT NULL,
    rate_limit           BIGINT NOT NULL CHECK (rate_limit BETWEEN 1 AND 1000000000),
    rate_window_seconds  BIGINT NOT NULL CHECK (rate_window_seconds BETWEEN 1 AND 2592000),
    allowed_ips          TEXT[] NOT NULL,
    owner                TEXT,
    requires_owner       BOOLEAN NOT NULL,
    metadata             JSONB NOT NULL,
    tags                 TEXT[] NOT NULL,
    is_active            BOOLEAN NOT NULL,
    expires_at           TIMESTAMPTZ,
    last_used_at         TIMESTAMPTZ,
    last_used_ip         TEXT,
    revoked_at           TIMESTAMPTZ,
    revoked_reason       TEXT,
    deleted_at           TIMESTAMPTZ,
    version              BIGINT NOT NULL DEFAULT 1,
    created_at           TIMESTAMPTZ NOT NULL,
    updated_at           TIMESTAMPTZ NOT NULL
);
CREATE INDEX api_keys_by_tenant ON api_keys (tenant_id, id DESC) WHERE deleted_at IS NULL;
CREATE INDEX api_keys_by_user ON api_keys (tenant_id, user_id, id DESC) WHERE deleted_at IS NULL;

CREATE TABLE usage_logs (
    id           BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id    BIGINT NOT NULL,
    api_key_id   BIGINT NOT NULL,
    request_id   TEXT NOT NULL,
    endpoint     TEXT NOT NULL,
    method       TEXT NOT NULL,
    status       SMALLINT NOT NULL,
    outcome      TEXT NOT NULL,
    duration_us  BIGINT NOT NULL,
    cost         BIGINT NOT NULL,
    ip           TEXT,
    created_at   TIMESTAMPTZ NOT NULL
);
CREATE INDEX usage_logs_by_key ON usage_logs (tenant_id, api_key_id, created_at);
-- For latency over all keys of a tenant.
CREATE INDEX usage_logs_by_time ON usage_logs (tenant_id, created_at) INCLUDE (duration_us);

-- One row for each minute, key, endpoint, outcome and status.
CREATE TABLE usage_minutes (
    tenant_id    BIGINT NOT NULL,
    api_key_id   BIGINT NOT NULL,
    minute       TIMESTAMPTZ NOT NULL,
    endpoint     TEXT NOT NULL,
    outcome      TEXT NOT NULL,
    status       SMALLINT NOT NULL,
    total        BIGINT NOT NULL,
    cost         BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, api_key_id, minute, endpoint, outcome, status)
);
CREATE INDEX usage_minutes_by_time ON usage_minutes (tenant_id, minute);

-- Webhooks, events and their deliveries.

-- Makes a UUID of version 7 (RFC 9562 §5.7): a random UUID with the milliseconds in front and the version replaced.
CREATE FUNCTION uuid_v7(at TIMESTAMPTZ) RETURNS UUID LANGUAGE sql VOLATILE AS
$$ SELECT encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid())
    PLACING substring(int8send((extract(epoch FROM at) * 1000)::bigint) FROM 3) FROM 1 FOR 6), 52, 1), 53, 1), 'hex')::uuid $$;

CREATE TABLE webhooks (
    id               BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id        BIGINT NOT NULL REFERENCES tenants (id),
    user_id          BIGINT REFERENCES users (id),
    name             TEXT NOT NULL CHECK (char_length(name) BETWEEN 1 AND 100),
    url              TEXT NOT NULL,
    events           TEXT[] NOT NULL,
    is_active        BOOLEAN NOT NULL,
    payload_format   TEXT NOT NULL CHECK (payload_format IN ('standard', 'event', 'raw', 'cloudevents')),
    signature_style  TEXT NOT NULL CHECK (signature_style IN ('prefixed', 'hex')),
    timeout_seconds  BIGINT NOT NULL CHECK (timeout_seconds BETWEEN 1 AND 60),
    max_in_flight    BIGINT NOT NULL CHECK (max_in_flight BETWEEN 1 AND 100),
    headers          JSONB NOT NULL,
    failing_since    TIMESTAMPTZ,
    disabled_reason  TEXT,
    last_success_at  TIMESTAMPTZ,
    deleted_at       TIMESTAMPTZ,
    created_at       TIMESTAMPTZ NOT NULL,
    updated_at       TIMESTAMPTZ NOT NULL
);
CREATE INDEX webhooks_by_tenant ON webhooks (tenant_id, id DESC) WHERE deleted_at IS NULL;

-- Secrets are sealed with the master key. The newest one that has not expired signs first.
CREATE TABLE signing_secrets (
    id          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id   BIGINT NOT NULL REFERENCES tenants (id),
    webhook_id  BIGINT NOT NULL REFERENCES webhooks (id),
    sealed      BYTEA NOT NULL,
    created_at  TIMESTAMPTZ NOT NULL,
    expires_at  TIMESTAMPTZ
);
CREATE INDEX signing_secrets_by_webhook ON signing_secrets (webhook_id, id DESC);

-- The payload is the exact text that was published.
CREATE TABLE events (
    id          UUID PRIMARY KEY,
    tenant_id   BIGINT NOT NULL,
    type        TEXT NOT NULL,
    payload     TEXT NOT NULL,
    api_key_id  BIGINT,
    user_id     BIGINT,
    webhook_id  BIGINT,
    created_at  TIMESTAMPTZ NOT NULL
);
COMMENT ON COLUMN events.webhook_id IS 'set for a test event, which goes to that webhook alone';
CREATE INDEX events_by_tenant ON events (tenant_id, id DESC);
CREATE INDEX events_by_type ON events (tenant_id, type, id DESC);
CREATE INDEX events_by_key ON events (tenant_id, api_key_id, id DESC);

CREATE TABLE deliveries (
    id               UUID PRIMARY KEY,
    tenant_id        BIGINT NOT NULL,
    event_id         UUID NOT NULL,
    event_type       TEXT NOT NULL,
    webhook_id       BIGINT NOT NULL,
    state            TEXT NOT NULL CHECK (state IN ('pending', 'retrying', 'delivered', 'failed', 'cancelled')),
    attempts_made    BIGINT NOT NULL DEFAULT 0,
    attempts_max     BIGINT NOT NULL,
    next_attempt_at  TIMESTAMPTZ,
    lease_token      UUID,
    lease_until      TIMESTAMPTZ,
    last_status      SMALLINT,
    last_error       TEXT,
    created_at       TIMESTAMPTZ NOT NULL,
    finished_at      TIMESTAMPTZ
);
-- For claiming and reaping: these indexes hold only rows that still have work to do.
CREATE INDEX deliveries_waiting ON deliveries (webhook_id, next_attempt_at)
    WHERE state IN ('pending', 'retrying') AND lease_token IS NULL;
CREATE INDEX deliveries_leased ON deliveries (lease_until) WHERE lease_token IS NOT NULL;
CREATE INDEX deliveries_by_tenant ON deliveries (tenant_id, id DESC);
CREATE INDEX deliveries_by_webhook ON deliveries (tenant_id, webhook_id, id DESC);
CREATE INDEX deliveries_by_event ON deliveries (tenant_id, event_id);
-- For charts: an index-only scan answers them.
CREATE INDEX deliveries_by_time ON deliveries (tenant_id, created_at) INCLUDE (state, webhook_id);
CREATE INDEX deliveries_by_state ON deliveries (tenant_id, state, id DESC);

CREATE TABLE attempts (
    id                UUID PRIMARY KEY,
    tenant_id         BIGINT NOT NULL,
    delivery_id       UUID NOT NULL,
    event_id          UUID NOT NULL,
    event_type        TEXT NOT NULL,
    webhook_id        BIGINT NOT NULL,
    number            BIGINT NOT NULL,
    request_url       TEXT NOT NULL,
    request_headers   JSONB,
    response_status   SMALLINT,
    response_headers  JSONB,
    response_body     TEXT,
    duration_ms       BIGINT,
    success           BOOLEAN NOT NULL DEFAULT FALSE,
    error_kind        TEXT,
    error             TEXT,
    remote_address    TEXT,
    created_at        TIMESTAMPTZ NOT NULL,
    finished_at       TIMESTAMPTZ
);
CREATE INDEX attempts_by_tenant ON attempts (tenant_id, id DESC);
CREATE INDEX attempts_by_delivery ON attempts (tenant_id, delivery_id, number);
CREATE INDEX attempts_by_webhook ON attempts (tenant_id, webhook_id, id DESC);

-- Responses kept for 24 hours, so that a repeated POST has no second effect.
CREATE TABLE idempotency_keys (
    id            BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id     BIGINT NOT NULL,
    route         TEXT NOT NULL,
    key           TEXT NOT NULL,
    request_hash  BYTEA NOT NULL,
    answer        JSONB,
    created_at    TIMESTAMPTZ NOT NULL,
    UNIQUE (tenant_id, route, key)
);
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);

CREATE TABLE audit_entries (
    id           BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id    BIGINT,
    user_id      BIGINT,
    actor        TEXT NOT NULL,
    via          TEXT NOT NULL CHECK (via IN ('page', 'api', 'cli', 'system')),
    action       TEXT NOT NULL,
    target       TEXT NOT NULL,
    details      JSONB NOT NULL,
    ip           TEXT,
    request_id   TEXT,
    created_at   TIMESTAMPTZ NOT NULL
);
CREATE INDEX audit_entries_by_tenant ON audit_entries (tenant_id, id DESC);

-- Values of the instance, such as the fingerprints of pepper and master key.
CREATE TABLE instance_facts (
    name   TEXT PRIMARY KEY,
    value  TEXT NOT NULL
);
