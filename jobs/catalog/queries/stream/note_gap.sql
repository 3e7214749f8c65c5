-- Records of a partition ($4) of a stream ($1 source, $2 cluster, $3 topic), from $5 to before $6, are missing for a reason ($7).
INSERT INTO catalog.stream_gap (source, cluster, topic, partition, from_offset, to_offset, reason)
VALUES ($1, $2, $3, $4, $5, $6, $7)
