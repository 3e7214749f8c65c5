//! What can go wrong between the catalog and its database.

use tidemill_core::{Cause, Fault, JobError};

/// Why a call to the catalog failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database could not be reached, or refused a statement.
    #[error("database")]
    Database(#[from] sqlx::Error),
    /// The engine's part of the same transaction failed.
    #[error("engine")]
    Store(#[from] tidemill_store::Error),
    /// The project's code could not be kept or fetched.
    #[error("project code {hash}")]
    Code {
        /// Hash of the archive.
        hash: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What was asked for isn't there.
    #[error("there is no {0}")]
    Missing(String),
    /// A row holds what the program never writes.
    #[error("inconsistent row: {0}")]
    Inconsistent(String),
}

impl Error {
    /// A stored definition that can't be read back.
    pub(crate) fn inconsistent(what: impl std::fmt::Display) -> Self {
        Self::Inconsistent(what.to_string())
    }
}

/// A database that can't be reached may come back; what isn't there, or is inconsistent, stays so.
impl From<Error> for JobError {
    fn from(error: Error) -> Self {
        match error {
            Error::Store(error) => error.into(),
            Error::Missing(_) | Error::Inconsistent(_) => Self::discard(error),
            Error::Database(ref source) => tidemill_store::cause(source).verdict(Fault::from_error(&error)),
            Error::Code { ref source, .. } => code_cause(&**source).verdict(Fault::from_error(&error)),
        }
    }
}

/// Code is kept in the object store and unpacked onto the disk.
fn code_cause(source: &(dyn std::error::Error + 'static)) -> Cause {
    match source.downcast_ref::<tidemill_blobs::Error>().map(tidemill_blobs::Error::cause) {
        Some(Cause::Outage) => Cause::Outage,
        Some(_) => Cause::Unknown,
        None => Cause::of_chain(source),
    }
}
