-- A password that came with the file, sealed; gone with the verdict.
ALTER TABLE scans ADD COLUMN archive_password BLOB;
