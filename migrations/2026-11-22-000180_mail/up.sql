-- Mail that waits to be sent. Subject and text are sealed, because they hold links that sign their readers in.
CREATE SEQUENCE mails_id_seq;
CREATE TABLE mails (
    id               BIGINT PRIMARY KEY,
    tenant_id        BIGINT,
    recipient        TEXT NOT NULL,
    sealed           BYTEA NOT NULL,
    attempts         BIGINT NOT NULL DEFAULT 0,
    next_attempt_at  TIMESTAMPTZ NOT NULL,
    created_at       TIMESTAMPTZ NOT NULL
);
ALTER SEQUENCE mails_id_seq OWNED BY mails.id;
COMMENT ON COLUMN mails.tenant_id IS 'null for what a person gets as themselves';
CREATE INDEX mails_due ON mails (next_attempt_at);
CREATE INDEX mails_by_tenant ON mails (tenant_id);

ALTER TABLE mails ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_the_tenant ON mails TO gatepost_app USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
GRANT SELECT, INSERT ON mails TO gatepost_app;
GRANT USAGE ON SEQUENCE mails_id_seq TO gatepost_app;
