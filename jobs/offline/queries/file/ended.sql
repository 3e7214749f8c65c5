-- Files that compactions replaced before an instant, in the order of the compactions.
-- $1 before
SELECT path, end_version
FROM lake.lake_file
WHERE ended_at < $1
ORDER BY end_version
