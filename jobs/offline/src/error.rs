use std::time::Duration;

use tidemill_core::{Cause, Code, Fault, JobError};
use tidemill_spec::units::format_duration;

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
    /// DuckDB refused a user's query, or couldn't run it.
    #[error("the query can't be run")]
    UsersQuery(#[source] duckdb::Error),
    /// Features that are computed when they are asked can't be.
    #[error("{of} can't be computed")]
    Expressions {
        /// Which: of a view, or of a model.
        of: String,
        /// Why.
        source: tidemill_expressions::Error,
    },
    /// SQL of a user that went on for longer than it may.
    #[error("{doing} took longer than {}", format_duration(*.limit))]
    TooLong {
        /// What it was doing.
        doing: String,
        /// How long it may.
        limit: Duration,
    },
    /// Nobody waits for the work any more.
    #[error("the work was stopped")]
    Stopped,
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
            Self::Expressions { source: tidemill_expressions::Error::Duck(source), .. } => {
                Fault::coded(601, format!("{self}: {}", words(source)))
            }
            Self::Query { source, .. } => Fault::coded(601, format!("{self}: {}", words(source))),
            Self::UsersQuery(source) => {
                let fault = Fault::coded(601, format!("{self}: {}", words(source)));
                match place(source) {
                    Some(place) => fault.detail(place),
                    None => fault,
                }
            }
            Self::Rows(error @ tidemill_rows::Error::Io { .. }) => Fault::from_error(error),
            Self::Rows(error) => {
                let message = || error.to_string();
                match error {
                    tidemill_rows::Error::DoubleColumn(_) => {
                        Fault::coded(681, message()).hint("give one of them another name: `AS NAME`")
                    }
                    tidemill_rows::Error::OutOfRange { column, .. } => Fault::coded(681, message()).hint(format!(
                        "ints have 64 bits: `CAST({column} AS DOUBLE) AS {column}`, or AS VARCHAR to keep every digit"
                    )),
                    tidemill_rows::Error::UnknownType { column, cast, .. } => {
                        Fault::coded(681, message()).hint(format!("convert it: `{cast} AS {column}`"))
                    }
                    _ => Fault { code: Some(Code(609)), ..Fault::from_error(self) }
                        .hint("leave the column out, or convert it to a declared type or to one that the format can hold"),
                }
            }
            Self::TooLong { .. } => Fault::coded(680, self.to_string())
                .hint("make the query cheaper, or split it; `tidemill explain TM0680` says how"),
            _ => Fault::from_error(self),
        }
    }
}

/// What is wrong with the request itself goes to dead letter; a server or disk that is away is waited for;
/// everything else may go better next time.
impl From<Error> for JobError {
    fn from(error: Error) -> Self {
        match error {
            Error::Rows(tidemill_rows::Error::Io { ref source, .. }) => {
                Cause::of_io(source).verdict(error.fault())
            }
            Error::Invalid(_) | Error::Rows(_) | Error::TooLong { .. } => Self::Discard(error.fault()),
            Error::Query { ref source, .. }
            | Error::UsersQuery(ref source)
            | Error::Expressions { source: tidemill_expressions::Error::Duck(ref source), .. }
                if !may_pass(source) =>
            {
                Self::Discard(error.fault())
            }
            Error::Query { ref source, .. } if is_full(source) => Self::Unavailable(error.fault()),
            Error::Manifest(ref source) => tidemill_store::cause(source).verdict(error.fault()),
            Error::Files(ref source) if source.cause() == Cause::Outage => Self::Unavailable(error.fault()),
            _ => Self::Retry(error.fault()),
        }
    }
}

/// DuckDB's own words, without the statement that it quotes.
pub(crate) fn words(error: &duckdb::Error) -> String {
    let text = text(error);
    let words = text.split("\nLINE ").next().unwrap_or_default().trim().replace('\n', " ");
    // How a limit of ours is said: by a cast that fails.
    match words.split_once("Could not convert string '`").and_then(|(_, limit)| limit.rsplit_once("' to INT"))
    {
        Some((limit, _)) => format!("`{limit}"),
        None => words,
    }
}

/// A disk without space, whoever fills it.
fn is_full(error: &duckdb::Error) -> bool {
    text(error).contains("No space left on device")
}

/// The line of a user's own query that DuckDB points at.
fn place(error: &duckdb::Error) -> Option<String> {
    let text = text(error);
    text.find("\nLINE ").map(|at| text[at + 1..].trim_end().to_owned())
}

fn text(error: &duckdb::Error) -> String {
    match error {
        duckdb::Error::DuckDBFailure(_, Some(text)) => text.clone(),
        other => other.to_string(),
    }
}

/// What depends on the moment: the machine's memory, disk and files, or on who stopped it. Everything else comes from
/// declared SQL meeting rows, and repeating won't help.
pub(crate) fn may_pass(error: &duckdb::Error) -> bool {
    let text = text(error);
    let kinds = ["IO Error", "HTTP Error", "FATAL Error", "INTERNAL Error"];
    out_of_memory(error) || interrupted(error) || kinds.iter().any(|kind| text.contains(kind))
}

/// Somebody stopped it.
pub(crate) fn interrupted(error: &duckdb::Error) -> bool {
    text(error).contains("INTERRUPT Error")
}

/// What a statement asks for is more than there is: it may be one row's doing.
pub(crate) fn out_of_memory(error: &duckdb::Error) -> bool {
    text(error).contains("Out of Memory Error")
}
