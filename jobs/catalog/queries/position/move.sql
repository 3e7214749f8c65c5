-- Moves a position forward ($3 lake version, $4 reached, $5 data clock). Nothing ever moves back: a late
-- writer with an older target changes nothing it should not.
INSERT INTO catalog.position AS position (view, version, lake_version, reached, data_clock)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (view, version) DO UPDATE
SET lake_version = GREATEST(position.lake_version, EXCLUDED.lake_version),
    reached = GREATEST(position.reached, EXCLUDED.reached),
    data_clock = GREATEST(position.data_clock, EXCLUDED.data_clock),
    moved_at = now()
