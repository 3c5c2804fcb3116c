-- A second factor of sign-in (RFC 6238): its secret is sealed with the master key.
CREATE TABLE second_factors (
    user_id       BIGINT PRIMARY KEY REFERENCES users (id),
    sealed        BYTEA NOT NULL,
    -- Null while it is being set up: it is asked for only once a code of it was shown.
    confirmed_at  TIMESTAMPTZ,
    -- The last step of 30 seconds of which a code was taken: none is taken twice.
    last_step     BIGINT NOT NULL DEFAULT 0,
    created_at    TIMESTAMPTZ NOT NULL
);

-- For those who lost the device: each works once, and is kept as SHA-256.
CREATE TABLE recovery_codes (
    id          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id     BIGINT NOT NULL REFERENCES users (id),
    digest      BYTEA NOT NULL,
    created_at  TIMESTAMPTZ NOT NULL,
    used_at     TIMESTAMPTZ
);
CREATE INDEX recovery_codes_by_user ON recovery_codes (user_id);
