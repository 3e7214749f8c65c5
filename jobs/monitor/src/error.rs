//! What can go wrong with a monitor, by what a caller may do about it.

use std::path::PathBuf;

use tidemill_core::{Fault, JobError, Time};

/// Why a window was not scanned, or a table not compared.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing of this kind and name is declared.
    #[error("there is no {kind} `{name}`")]
    Unknown {
        /// `monitor`, `notifier`, `label`, `source` or `view`.
        kind: &'static str,
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// A side lacks a column.
    #[error("column `{column}` is missing in {side}")]
    MissingColumn {
        /// Which.
        column: String,
        /// Where it was looked for.
        side: &'static str,
        /// What there is.
        known: Vec<String>,
    },
    /// Two tables have no column of one name.
    #[error("the reference and the current table have no column in common")]
    NothingShared {
        /// The reference's columns.
        reference: Vec<String>,
        /// The other's.
        current: Vec<String>,
    },
    /// There is no such file.
    #[error("there is no file `{}`", .0.display())]
    MissingFile(PathBuf),
    /// A file can't be read.
    #[error("`{}`", .path.display())]
    File {
        /// Which of the two.
        path: PathBuf,
        /// Why.
        source: Box<tidemill_offline::Error>,
    },
    /// What the window is compared with isn't there.
    #[error("{0}")]
    NoReference(String),
    /// The text names no window, or an empty one.
    #[error("`{0}` is not a window")]
    Window(String),
    /// The window lies in the data clock's future.
    #[error("the window begins at {from}, but the data clock shows only {now}")]
    Ahead {
        /// The window's first instant.
        from: Time,
        /// The data clock.
        now: Time,
    },
    /// An address names a secret that isn't set.
    #[error("secret `{0}` is not set")]
    Secret(String),
    /// An address that is none, or where webhooks may not lead.
    #[error("{0}")]
    Address(String),
    /// A webhook refused, or couldn't be reached.
    #[error("{0}")]
    Delivery(String),
    /// The catalog could not be read or written.
    #[error("catalog")]
    Catalog(#[from] tidemill_catalog::Error),
    /// The engine could not be read or written.
    #[error("engine")]
    Store(#[from] tidemill_store::Error),
    /// Redis could not be asked.
    #[error("redis")]
    Online(#[from] tidemill_online::Error),
    /// The lake, or a file, could not be read.
    #[error("lake")]
    Lake(#[from] tidemill_offline::Error),
    /// The report could not be kept, or the dataset not be fetched.
    #[error("object store")]
    Blobs(#[from] tidemill_blobs::Error),
    /// The model could not be asked.
    #[error("model")]
    Registry(#[source] Box<tidemill_registry::Error>),
    /// The views could not be waited for.
    #[error("views")]
    Training(#[source] Box<tidemill_training::Error>),
    /// The dataset could not be read.
    #[error("rows")]
    Rows(#[from] tidemill_rows::Error),
    /// Columns could not be converted.
    #[error("columns")]
    Arrow(#[from] arrow::error::ArrowError),
}

impl Error {
    /// What a person is told.
    pub fn fault(&self) -> Fault {
        let message = self.to_string();
        match self {
            Self::Unknown { known, .. } if known.is_empty() => {
                Fault::coded(901, message).hint("apply the project that declares it: tidemill apply")
            }
            Self::Unknown { known, .. } => {
                Fault::coded(901, message).hint(format!("there are: {}", known.join(", ")))
            }
            Self::MissingColumn { known, .. } => {
                Fault::coded(902, message).hint(format!("columns are {}", known.join(", ")))
            }
            Self::NothingShared { reference, current } => Fault::coded(902, message).hint(format!(
                "the reference has {}; the current table has {}",
                reference.join(", "),
                current.join(", ")
            )),
            Self::MissingFile(_) => Fault::coded(909, message).hint("check the path"),
            Self::Ahead { .. } => Fault::coded(907, message)
                .hint("choose a window that has begun, or move a replay clock forward: tidemill clock set TIME"),
            Self::NoReference(_) => {
                Fault::coded(903, message).hint(
                    "promote a version that was trained on a dataset of Tidemill, or give the monitor a range as `reference`",
                )
            }
            Self::Window(_) => Fault::coded(904, message)
                .hint("write a month (2013-09), a day (2013-09-01), or FROM..TO with two days or instants"),
            Self::Secret(name) => Fault::coded(905, message)
                .hint(format!("set the variable TIDEMILL_SECRETS__{name} where the workers start, then restart them")),
            Self::Address(_) => Fault::coded(985, message).hint(
                "correct the `url` of the notifier, or list its host in TIDEMILL_WEBHOOKS__ALLOW where the workers start",
            ),
            Self::Delivery(_) => Fault::coded(906, message)
                .hint("when the receiver answers again: tidemill retry --failed --since 24h"),
            Self::File { source, .. } => {
                let fault = source.fault();
                Fault { message: format!("{message}: {}", fault.message), ..fault }
            }
            Self::Lake(error) => error.fault(),
            Self::Registry(error) => error.fault(),
            Self::Training(error) => error.fault(),
            _ => Fault::from_error(self),
        }
    }
}

impl From<tidemill_registry::Error> for Error {
    fn from(error: tidemill_registry::Error) -> Self {
        Self::Registry(Box::new(error))
    }
}

impl From<tidemill_training::Error> for Error {
    fn from(error: tidemill_training::Error) -> Self {
        Self::Training(Box::new(error))
    }
}

/// What was declared or asked wrongly stays wrong; servers, secrets and webhooks may come back.
impl From<Error> for JobError {
    fn from(error: Error) -> Self {
        match error {
            Error::Catalog(error) => error.into(),
            Error::Store(error) => error.into(),
            Error::Online(error) => error.into(),
            Error::Lake(error) => error.into(),
            Error::Blobs(error) => error.into(),
            Error::Registry(error) => (*error).into(),
            Error::Training(error) => (*error).into(),
            Error::Secret(_) | Error::Delivery(_) => Self::Retry(error.fault()),
            _ => Self::Discard(error.fault()),
        }
    }
}
