//! What can go wrong between the engine and its database.

use tidemill_core::{Fault, JobError, RunId};

/// Why a call to the store failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database could not be reached, or refused a statement.
    #[error("database")]
    Database(#[from] sqlx::Error),
    /// The schema could not be brought up to date.
    #[error("migration")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// The lease is another's by now, or the job is gone: nothing was changed.
    #[error("the lease was lost")]
    LeaseLost,
    /// There is no such run.
    #[error("there is no run {0}")]
    NoRun(RunId),
    /// There is no such schedule.
    #[error("there is no schedule `{0}`")]
    NoSchedule(String),
    /// Steps need each other in a circle, or a step that isn't there.
    #[error("{0}")]
    InvalidRun(String),
    /// A row holds what the program never writes.
    #[error("inconsistent row: {0}")]
    Inconsistent(String),
}

impl Error {
    /// An inconsistent row.
    pub(crate) fn inconsistent(what: impl std::fmt::Display) -> Self {
        Self::Inconsistent(what.to_string())
    }

    /// Whether the data is at fault, not the database's state: the same statement would be refused again.
    pub fn refused(&self) -> bool {
        // Classes of SQLSTATE: connection, rolled back, resources, intervention, system, internal.
        const PASSING: [&str; 6] = ["08", "40", "53", "57", "58", "XX"];
        match self {
            Self::Database(sqlx::Error::Database(error)) => {
                error.code().is_some_and(|code| !PASSING.iter().any(|class| code.starts_with(class)))
            }
            Self::Database(sqlx::Error::Encode(_)) => true,
            _ => false,
        }
    }

    /// Whether a statement hit a unique index.
    pub(crate) fn unique_violation(&self) -> bool {
        matches!(self, Self::Database(sqlx::Error::Database(error)) if error.is_unique_violation())
    }
}

/// A job that could not reach the database tries again; one that lost its lease ends.
impl From<Error> for JobError {
    fn from(error: Error) -> Self {
        match error {
            Error::LeaseLost => Self::Cancel("the lease was lost".to_owned()),
            Error::InvalidRun(message) => Self::Discard(Fault::new(message)),
            other => Self::retry(other),
        }
    }
}
