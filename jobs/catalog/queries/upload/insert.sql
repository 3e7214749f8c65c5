-- Accepts a file, or rows under a key ($11). No row comes back when the same file was accepted before and this is no forced
-- repeat ($4), or rows were accepted under the key.
INSERT INTO catalog.upload (
    id, source, sha256, repeat_of, format, file_name, size_bytes, definition, header, created_at, push_key
)
VALUES ($1, $2, $3, $4, $5, $6, $7, CAST($8 AS json), CAST($9 AS json), $10, $11)
ON CONFLICT DO NOTHING
RETURNING ordinal
