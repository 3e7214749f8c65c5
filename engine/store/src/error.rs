//! What can go wrong between the engine and its database.

use tidemill_core::{Cause, Fault, JobError, RunId};

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

    /// Whose doing it was.
    pub fn cause(&self) -> Cause {
        match self {
            Self::Database(error) => cause(error),
            Self::InvalidRun(_) => Cause::Refusal,
            _ => Cause::Unknown,
        }
    }

    /// Whether a statement hit a unique index.
    pub(crate) fn unique_violation(&self) -> bool {
        matches!(self, Self::Database(sqlx::Error::Database(error)) if error.is_unique_violation())
    }
}

/// Whose doing a failed statement was: the one judgement of Postgres, also for crates that keep tables of their own.
pub fn cause(error: &sqlx::Error) -> Cause {
    use sqlx::Error as E;
    match error {
        E::Io(_) | E::Tls(_) | E::PoolTimedOut | E::PoolClosed | E::WorkerCrashed => Cause::Outage,
        E::Encode(_) => Cause::Refusal,
        E::Database(error) => error.code().map_or(Cause::Unknown, |code| of_code(&code, error.message())),
        _ => Cause::Unknown,
    }
}

fn of_code(code: &str, message: &str) -> Cause {
    // Classes of SQLSTATE. Connection; resources; not in the right state or locked; intervention (shutdown, cancelled,
    // starting); system.
    const AWAY: [&str; 5] = ["08", "53", "55", "57", "58"];
    // Deadlock, serialization failure.
    const CONFLICTS: [&str; 2] = ["40P01", "40001"];
    // Read-only, as after a failover; a session that the server ended for idling in a transaction, or for its length.
    const AWAY_ALONE: [&str; 3] = ["25006", "25P03", "25P04"];
    // Data that fits no type; constraints; limits of the program.
    const REFUSED: [&str; 3] = ["22", "23", "54"];
    // A limit of time, which may be this statement's own fault; another's row was there first, or gone.
    const EITHER: [&str; 4] = ["57014", "23503", "23505", "23P01"];
    let class = code.get(..2).unwrap_or_default();
    // A migration changed a table under a prepared statement: gone with its connection.
    let stale = code == "0A000" && message.starts_with("cached plan");
    if CONFLICTS.contains(&code) {
        Cause::Conflict
    } else if EITHER.contains(&code) {
        Cause::Unknown
    } else if AWAY.contains(&class) || AWAY_ALONE.contains(&code) || stale {
        Cause::Outage
    } else if REFUSED.contains(&class) {
        Cause::Refusal
    } else {
        Cause::Unknown
    }
}

/// A job that lost its lease ends; what becomes of others is the cause's.
impl From<Error> for JobError {
    fn from(error: Error) -> Self {
        match error {
            Error::LeaseLost => Self::Cancel("the lease was lost".to_owned()),
            Error::InvalidRun(message) => Self::Discard(Fault::new(message)),
            other => other.cause().verdict(Fault::from_error(&other)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_state_of_the_server_forbids_is_an_outage_and_what_the_data_forbids_a_refusal() {
        let of = |code| of_code(code, "cached plan must not change result type");
        for away in ["25006", "55P03", "57P01", "57P03", "53100", "08006", "58030", "0A000"] {
            assert_eq!(of(away), Cause::Outage, "{away}");
        }
        for conflict in ["40P01", "40001"] {
            assert_eq!(of(conflict), Cause::Conflict, "{conflict}");
        }
        for refused in ["22P05", "23514", "54000"] {
            assert_eq!(of(refused), Cause::Refusal, "{refused}");
        }
        for unknown in ["42P01", "XX000", "28P01", "57014", "23505", ""] {
            assert_eq!(of(unknown), Cause::Unknown, "{unknown}");
        }
        assert_eq!(of_code("0A000", "COPY is not supported"), Cause::Unknown);
    }
}
