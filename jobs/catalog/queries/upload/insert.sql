-- Accepts a file. No row comes back when the same file was accepted before and this is no forced repeat ($4).
INSERT INTO catalog.upload (id, source, sha256, repeat_of, format, file_name, size_bytes, definition, header, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, CAST($8 AS json), CAST($9 AS json), $10)
ON CONFLICT (source, sha256) WHERE repeat_of IS NULL DO NOTHING
RETURNING ordinal
