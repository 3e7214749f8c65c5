//! A bucket of its own for each test, on one `SeaweedFS` server that speaks the S3 protocol.
