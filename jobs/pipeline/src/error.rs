//! Why a run can't be started.

use tidemill_core::{Fault, JobError};

/// A run that was not started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No pipeline of this name is declared.
    #[error("there is no pipeline `{name}`")]
    UnknownPipeline {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// The pipeline declares no such param.
    #[error("pipeline `{pipeline}` has no param `{param}`")]
    UnknownParam {
        /// The pipeline.
        pipeline: String,
        /// What was given.
        param: String,
        /// What there is.
        known: Vec<String>,
    },
    /// A param's value has another type than its default.
    #[error("param `{param}` is {expected}, got `{got}`")]
    WrongParam {
        /// The param.
        param: String,
        /// The type of its default.
        expected: &'static str,
        /// What was given.
        got: String,
    },
    /// The schedule can't be read.
    #[error(transparent)]
    Schedule(#[from] tidemill_core::schedule::InvalidSchedule),
    /// The catalog could not be read.
    #[error("catalog")]
    Catalog(#[from] tidemill_catalog::Error),
    /// The engine refused the run.
    #[error("engine")]
    Store(#[from] tidemill_store::Error),
}

impl Error {
    /// What a person is told.
    pub fn fault(&self) -> Fault {
        let listed = |what: &str, known: &[String]| match known {
            [] => format!("there are no {what}"),
            known => format!("{what}: {}", known.join(", ")),
        };
        match self {
            Self::UnknownPipeline { known, .. } => {
                Fault::coded(320, self.to_string()).hint(listed("pipelines", known))
            }
            Self::UnknownParam { known, .. } => {
                Fault::coded(321, self.to_string()).hint(listed("params", known))
            }
            Self::WrongParam { .. } => Fault::coded(322, self.to_string()),
            _ => Fault::from_error(self),
        }
    }
}

/// A database that can't be reached may come back; the rest stays as it is.
impl From<Error> for JobError {
    fn from(error: Error) -> Self {
        match error {
            Error::Catalog(error) => error.into(),
            Error::Store(error) => error.into(),
            other => Self::Discard(other.fault()),
        }
    }
}
