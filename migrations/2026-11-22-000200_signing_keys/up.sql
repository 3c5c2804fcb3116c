-- Key pairs beside shared secrets: a row with a public key holds the sealed private key.
ALTER TABLE signing_secrets ADD COLUMN public_key TEXT;
COMMENT ON COLUMN signing_secrets.public_key IS 'whpk_…, of an ed25519 key; null for a shared secret';
