-- A second factor of sign-in (RFC 6238). Its secret is sealed with the master key.
CREATE TABLE second_factors (
    user_id       BIGINT PRIMARY KEY REFERENCES users (id),
    sealed        BYTEA NOT NULL,
    -- Null during setup: sign-in asks for the factor only after the user has entered one valid code.
    confirmed_at  TIMESTAMPTZ,
    -- The last 30-second step whose code was used: no code is accepted twice.
    last_step     BIGINT NOT NULL DEFAULT 0,
    created_at    TIMESTAMPTZ NOT NULL
);

-- Recovery codes for a lost device. Each works once, and is stored as SHA-256.
CREATE TABLE recovery_codes (
    id          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id     BIGINT NOT NULL REFERENCES users (id),
    digest      BYTEA NOT NULL,
    created_at  TIMESTAMPTZ NOT NULL,
    used_at     TIMESTAMPTZ
);
CREATE INDEX recovery_codes_by_user ON recovery_codes (user_id);
