//! What can go wrong with an object.

use std::path::{Path, PathBuf};

/// Why an object could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The place can't be one.
    #[error(
        "`{url}` is not a place for objects ({reason}); use file:///ABSOLUTE/FOLDER or s3://BUCKET/PREFIX"
    )]
    Url {
        /// What was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The path can't be one.
    #[error("`{path}` is not the path of an object: {reason}")]
    Path {
        /// What was given.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Nothing is there.
    #[error("object `{path}` is not there")]
    Missing {
        /// Where.
        path: String,
    },
    /// The bytes have another hash than their name.
    #[error("object `{path}` is corrupt: its bytes are not those that were put")]
    Corrupt {
        /// Where.
        path: String,
    },
    /// A local file or folder.
    #[error("file `{}` can't be used", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A folder for trusted files that others could have put something into.
    #[error("folder `{}` can't be trusted: {reason}", path.display())]
    NotPrivate {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The store failed; may go better next time.
    #[error("object `{path}` can't be written or read")]
    Store {
        /// Which.
        path: String,
        /// Why.
        source: object_store::Error,
    },
}

impl Error {
    pub(crate) fn at(path: &str, error: object_store::Error) -> Self {
        let path = path.to_owned();
        match error {
            object_store::Error::NotFound { .. } => Self::Missing { path },
            source => Self::Store { path, source },
        }
    }

    pub(crate) fn file(path: &Path, source: std::io::Error) -> Self {
        Self::File { path: path.to_owned(), source }
    }
}

impl From<Error> for tidemill_core::JobError {
    fn from(error: Error) -> Self {
        match error {
            Error::Store { .. } | Error::File { .. } => Self::retry(error),
            Error::Url { .. }
            | Error::Path { .. }
            | Error::Missing { .. }
            | Error::Corrupt { .. }
            | Error::NotPrivate { .. } => Self::discard(error),
        }
    }
}
