-- The version before this one would use a private key as a shared secret.
DELETE FROM signing_secrets WHERE public_key IS NOT NULL;
ALTER TABLE signing_secrets DROP COLUMN public_key;
