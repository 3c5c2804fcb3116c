-- The version before this one would sign with a private key as if it were a shared secret.
DELETE FROM signing_secrets WHERE public_key IS NOT NULL;
ALTER TABLE signing_secrets DROP COLUMN public_key;
