//! Why rows can't be taken away.

use tidemill_core::{Fault, JobError};

/// What can go wrong when rows are taken away.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The catalog failed.
    #[error("the catalog failed")]
    Catalog(#[from] tidemill_catalog::Error),
    /// The object store failed.
    #[error("the object store failed")]
    Blobs(#[from] tidemill_blobs::Error),
    /// The lake failed.
    #[error("the lake failed")]
    Lake(#[from] tidemill_offline::Error),
    /// Views could not be started over.
    #[error("the views failed")]
    Features(#[source] Box<tidemill_features::Error>),
    /// Which versions are needed could not be found out.
    #[error("the live set")]
    Live(#[from] tidemill_live::Error),
    /// Something depends on what should go, or there is no such thing.
    #[error("{0}")]
    Refused(Fault),
}

impl From<tidemill_features::Error> for Error {
    fn from(error: tidemill_features::Error) -> Self {
        Self::Features(Box::new(error))
    }
}

impl From<Error> for JobError {
    fn from(error: Error) -> Self {
        match error {
            Error::Catalog(error) => error.into(),
            Error::Blobs(error) => error.into(),
            Error::Lake(error) => error.into(),
            Error::Features(error) => (*error).into(),
            Error::Live(error) => error.into(),
            Error::Refused(fault) => Self::Discard(fault),
        }
    }
}
