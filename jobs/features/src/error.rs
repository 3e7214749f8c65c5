//! What can go wrong when features are computed or read.

use tidemill_core::{Fault, JobError};

/// Why a view could not be computed, read or compared.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The catalog failed.
    #[error("the catalog failed")]
    Catalog(#[from] tidemill_catalog::Error),
    /// The engine's state can't be reached.
    #[error("the engine's state can't be reached")]
    Store(#[from] tidemill_store::Error),
    /// The lake failed.
    #[error("the lake failed")]
    Lake(#[from] tidemill_offline::Error),
    /// The online store failed.
    #[error("the online store failed")]
    Online(#[from] tidemill_online::Error),
    /// The live set could not be read or published.
    #[error("the live set")]
    Live(#[from] tidemill_live::Error),
    /// Rows don't have the columns they should.
    #[error("rows do not fit")]
    Rows(#[from] tidemill_rows::Error),
    /// User Python could not be run at all; rows that fail alone are dead letters instead.
    #[error("{place}")]
    Python {
        /// Which function of which view.
        place: String,
        /// What it was called with, where that matters.
        call: Option<String>,
        /// How it ended.
        source: Box<tidemill_pyrun::PyError>,
    },
    /// What was asked can't be answered, whoever asks again.
    #[error("{0}")]
    Invalid(Fault),
}

impl Error {
    pub(crate) fn no_view(view: &str) -> Self {
        let fault = Fault::coded(611, format!("there is no feature view `{view}`"));
        Self::Invalid(fault.hint("list them: tidemill features list"))
    }

    /// What people read of it.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Invalid(fault) => fault.clone(),
            Self::Lake(error) => error.fault(),
            Self::Python { place, call, source } => {
                let mut fault = source.fault();
                fault.message = format!("{place}: {}", fault.message);
                let parts = [call.as_ref().map(|call| format!("called with {call}")), fault.detail];
                fault.detail = Some(parts.into_iter().flatten().collect::<Vec<_>>().join("\n"));
                fault.detail = fault.detail.filter(|detail| !detail.is_empty());
                fault
            }
            Self::Online(tidemill_online::Error::Unavailable(_)) => {
                Fault { code: Some(tidemill_core::Code(612)), ..Fault::from_error(self) }
                    .hint("start Redis again; jobs go on by themselves")
            }
            Self::Online(tidemill_online::Error::Mismatch { .. }) => {
                Fault { code: Some(tidemill_core::Code(612)), ..Fault::from_error(self) }
                    .hint("set it right and start this role again; jobs go on by themselves")
            }
            Self::Online(tidemill_online::Error::Unreadable { view, version, .. }) => {
                let message =
                    format!("the values of view `{view}` v{version} in Redis can't be read by this release");
                Fault::coded(675, message).hint(format!("tidemill features rebuild-online {view}"))
            }
            _ => Fault::from_error(self),
        }
    }
}

impl From<arrow::error::ArrowError> for Error {
    fn from(error: arrow::error::ArrowError) -> Self {
        Self::Rows(error.into())
    }
}

/// Each store knows what may go better next time.
impl From<Error> for JobError {
    fn from(error: Error) -> Self {
        match error {
            Error::Catalog(error) => error.into(),
            Error::Store(error) => error.into(),
            Error::Lake(error) => error.into(),
            Error::Online(error) => error.into(),
            Error::Live(error) => error.into(),
            Error::Python { ref source, .. } if source.lasting() => Self::Discard(error.fault()),
            Error::Python { .. } => Self::Retry(error.fault()),
            Error::Rows(_) | Error::Invalid(_) => Self::Discard(error.fault()),
        }
    }
}
