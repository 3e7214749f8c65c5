-- Processes that read a source's stream ($1) now, and what keeps them.
SELECT name, topic, fault FROM catalog.stream_reader WHERE source = $1 AND seen_until > now() ORDER BY name
