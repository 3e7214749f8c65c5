//! What can go wrong between the catalog and Redis.

use tidemill_core::JobError;

/// Why the live set could not be read or published.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The catalog could not be read.
    #[error("catalog")]
    Catalog(#[from] tidemill_catalog::Error),
    /// The engine could not be read.
    #[error("engine")]
    Store(#[from] tidemill_store::Error),
    /// Redis could not be written.
    #[error("redis")]
    Online(#[from] tidemill_online::Error),
}

impl From<Error> for JobError {
    fn from(error: Error) -> Self {
        match error {
            Error::Catalog(error) => error.into(),
            Error::Store(error) => error.into(),
            Error::Online(error) => error.into(),
        }
    }
}
