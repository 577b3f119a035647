-- v1: a shared secret; v1a: an Ed25519 key pair, whose public half is no secret.
ALTER TABLE secrets ADD COLUMN kind TEXT NOT NULL DEFAULT 'v1' CHECK (kind IN ('v1', 'v1a'));
ALTER TABLE secrets ADD COLUMN public_key BLOB;
-- Set by a rotation: until then it signs beside its successor.
ALTER TABLE secrets ADD COLUMN expires_at INTEGER;
ALTER TABLE secrets ADD COLUMN revoked_at INTEGER;

-- Headers that go with every webhook: sealed JSON.
ALTER TABLE accounts ADD COLUMN headers BLOB;

-- How many verdicts the scan has had, and when newer data last turned it.
ALTER TABLE scans ADD COLUMN sequence INTEGER NOT NULL DEFAULT 1;
ALTER TABLE scans ADD COLUMN updated_at INTEGER;
