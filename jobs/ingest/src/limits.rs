//! What an upload may be, checked before anything is used.

use serde::Deserialize;

/// Limits of one file and its chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Bytes of a file, as it is sent and once it is unpacked.
    pub file_bytes: u64,
    /// Bytes of a file's name.
    pub name_bytes: usize,
    /// Data rows of a chunk, at least 1.
    pub chunk_rows: u64,
    /// Bytes after which a chunk of a text file ends, however few its rows.
    pub chunk_bytes: u64,
    /// Rows of one push.
    pub push_rows: usize,
    /// Bytes of one push.
    pub push_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            file_bytes: 16 << 30,
            name_bytes: 255,
            chunk_rows: 50_000,
            chunk_bytes: 32 << 20,
            push_rows: 10_000,
            push_bytes: 1 << 20,
        }
    }
}
