use tidemill_core::{Cause, Code, Fault, JobError};

/// What can go wrong in the lake.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The manifest can't be reached or refused.
    #[error("the lake's manifest in Postgres failed")]
    Manifest(#[from] sqlx::Error),
    /// Its tables can't be migrated.
    #[error("the lake's tables can't be migrated")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// The object store can't be reached, or a file is gone.
    #[error("the lake's files can't be reached")]
    Files(#[from] tidemill_blobs::Error),
    /// Rows don't fit their schema.
    #[error("rows do not fit the lake")]
    Rows(#[from] tidemill_rows::Error),
    /// DuckDB refused a statement of ours, or couldn't run it.
    #[error("DuckDB failed while {doing}")]
    Query {
        /// What it was doing, e.g. `joining view aircraft_delay`.
        doing: String,
        /// DuckDB's own words.
        #[source]
        source: duckdb::Error,
    },
    /// A request that can't be answered, whoever asks again.
    #[error("{0}")]
    Invalid(Fault),
    /// A thread of ours died.
    #[error("a query was interrupted")]
    Interrupted(#[from] tokio::task::JoinError),
}

impl Error {
    /// A request that can't be answered.
    pub(crate) fn invalid(code: u16, message: impl Into<String>) -> Self {
        Self::Invalid(Fault::coded(code, message))
    }

    /// What people read of it.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Invalid(fault) => fault.clone(),
            Self::Query { source, .. } => Fault::coded(601, format!("{self}: {}", words(source))),
            Self::Rows(_) => Fault { code: Some(Code(609)), ..Fault::from_error(self) }
                .hint("leave the column out, or give it a type that is declared or that the format holds"),
            _ => Fault::from_error(self),
        }
    }
}

/// What is wrong with the request itself goes to dead letter; a server or disk that is away is waited for;
/// everything else may go better next time.
impl From<Error> for JobError {
    fn from(error: Error) -> Self {
        match error {
            Error::Invalid(_) | Error::Rows(_) => Self::Discard(error.fault()),
            Error::Query { ref source, .. } if is_users_fault(source) => Self::Discard(error.fault()),
            Error::Query { ref source, .. } if is_full(source) => Self::Unavailable(error.fault()),
            Error::Manifest(ref source) => tidemill_store::cause(source).verdict(error.fault()),
            Error::Files(ref source) if source.cause() == Cause::Outage => Self::Unavailable(error.fault()),
            _ => Self::Retry(error.fault()),
        }
    }
}

/// DuckDB's own words, without the statement of ours that it quotes.
pub(crate) fn words(error: &duckdb::Error) -> String {
    let text = match error {
        duckdb::Error::DuckDBFailure(_, Some(text)) => text.clone(),
        other => other.to_string(),
    };
    text.split("\nLINE ").next().unwrap_or_default().trim().replace('\n', " ")
}

/// A disk without space, whoever fills it.
fn is_full(error: &duckdb::Error) -> bool {
    error.to_string().contains("No space left on device")
}

/// Conversion, binder and similar errors come from declared SQL meeting rows: repeating won't help.
pub(crate) fn is_users_fault(error: &duckdb::Error) -> bool {
    let text = error.to_string();
    ["Conversion Error", "Binder Error", "Invalid Input Error", "Out of Range Error", "Catalog Error"]
        .iter()
        .any(|kind| text.contains(kind))
}
