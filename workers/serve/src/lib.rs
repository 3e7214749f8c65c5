//! Predict over gRPC and REST, from Redis and the artifact store alone.
