//! What can go wrong between this crate and its callers.

use tidemill_core::JobError;

/// A failed read or write of the online store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Redis is down, too slow, or refused a command. Trying again may help.
    #[error("redis did not answer")]
    Unavailable(#[from] redis::RedisError),
    /// The URL of Redis can't be read.
    #[error("`{url}` is not a redis url")]
    InvalidUrl {
        /// As given.
        url: String,
        /// Why.
        source: redis::RedisError,
    },
    /// A stored value doesn't have the bytes that its view version writes.
    #[error("stored value of view `{view}` v{version} is unreadable: {reason}")]
    Unreadable {
        /// The view.
        view: String,
        /// Its version.
        version: u32,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A value to be stored doesn't fit the view's columns.
    #[error("column `{column}` of view `{view}` can't store {value}")]
    WrongColumn {
        /// The view.
        view: String,
        /// The column.
        column: String,
        /// What was offered.
        value: String,
    },
    /// A part of the live set is not what this release can read.
    #[error("the live set's {part} can't be read")]
    InvalidLiveSet {
        /// `clock`, `views` or `models`.
        part: &'static str,
        /// Why.
        source: serde_json::Error,
    },
}

/// Redis comes back; bytes that don't fit never do.
impl From<Error> for JobError {
    fn from(error: Error) -> Self {
        match error {
            Error::Unavailable(_) | Error::Unreadable { .. } | Error::InvalidLiveSet { .. } => {
                Self::retry(error)
            }
            Error::InvalidUrl { .. } | Error::WrongColumn { .. } => Self::discard(error),
        }
    }
}
