-- Draws edges ($1 to $2, by place); an edge that is there takes the newest run, code and lake version.
INSERT INTO catalog.lineage_edge AS present (from_object, to_object, run, code_hash, lake_version)
SELECT from_object, to_object, run, code_hash, lake_version
FROM unnest($1::text[], $2::text[], $3::uuid[], $4::text[], $5::bigint[])
    AS edge (from_object, to_object, run, code_hash, lake_version)
-- One order for all writers, so that two of them can't lock each other out.
ORDER BY from_object, to_object
ON CONFLICT (from_object, to_object) DO UPDATE
SET run = coalesce(excluded.run, present.run),
    code_hash = coalesce(excluded.code_hash, present.code_hash),
    lake_version = coalesce(excluded.lake_version, present.lake_version),
    updated_at = now()
