//! Content-addressed objects over a local folder or S3: payloads, logs, artifacts, Parquet files.
