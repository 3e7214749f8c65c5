//! Why a file is not taken, or not ingested now.

use tidemill_catalog::Format;
use tidemill_core::{Cause, Fault, JobError, UploadId};

/// What can go wrong with a file. A bad row is no error: it is a dead letter.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The columns are not the source's.
    #[error("{whose} columns are not those of source `{source_name}`: {}", wrong.join("; "))]
    Columns {
        /// Whose: the file's, or the rows'.
        whose: &'static str,
        /// The source.
        source_name: String,
        /// Each difference, in words.
        wrong: Vec<String>,
        /// The source's columns, as messages name them.
        declared: Vec<String>,
    },
    /// No such source is declared.
    #[error("there is no source `{name}`")]
    UnknownSource {
        /// What was asked for.
        name: String,
        /// What may have been meant.
        near: Option<String>,
    },
    /// The file isn't what its format says.
    #[error("the file can't be read as {format}: {reason}")]
    Unreadable {
        /// What it should be.
        format: Format,
        /// Why it isn't.
        reason: String,
    },
    /// The file doesn't fit its source, but would fit another declaration, or is another kind of file.
    #[error("the file does not fit source `{source_name}`: it looks like {what}")]
    Looks {
        /// The source.
        source_name: String,
        /// What it looks like.
        what: String,
        /// What to declare or do.
        remedy: String,
        /// What is wrong with it as it is declared now.
        #[source]
        error: Box<Error>,
        /// What will be wrong with it still, then.
        left: Option<Box<Error>>,
    },
    /// No such format.
    #[error("`{0}` is not a file format")]
    UnknownFormat(String),
    /// More than is allowed.
    #[error("{0}")]
    Limit(String),
    /// More than one push takes.
    #[error("{0}")]
    PushLimit(String),
    /// A key that can't be used for a push.
    #[error("{0}")]
    PushKey(String),
    /// What was pushed can't be read.
    #[error("the rows can't be read: {0}")]
    Rows(String),
    /// A row without an end.
    #[error("the row at byte {offset} is longer than {max} bytes")]
    LongRow {
        /// Where it begins.
        offset: u64,
        /// How long a row may be.
        max: usize,
    },
    /// The bytes aren't those that were announced.
    #[error("{0}")]
    Mismatch(String),
    /// A path of an `ingest` step that leads to no file.
    #[error("{0}")]
    NoFile(String),
    /// One of the files that a path of an `ingest` step leads to.
    #[error("`{path}`: {error}")]
    File {
        /// Where it is.
        path: String,
        /// What is wrong with it.
        #[source]
        error: Box<Error>,
    },
    /// There is no such upload.
    #[error("there is no upload {0}")]
    NoUpload(UploadId),
    /// A local file could not be read or written.
    #[error("file")]
    Io(#[from] std::io::Error),
    /// The object store failed.
    #[error("object store")]
    Blobs(#[from] tidemill_blobs::Error),
    /// The catalog failed.
    #[error("catalog")]
    Catalog(#[from] tidemill_catalog::Error),
    /// The engine failed.
    #[error("engine")]
    Store(#[from] tidemill_store::Error),
    /// The lake failed.
    #[error("lake")]
    Lake(#[from] tidemill_offline::Error),
    /// Columns could not be built.
    #[error("columns")]
    Arrow(#[from] arrow::error::ArrowError),
}

impl Error {
    /// Whose columns are wrong where rows were pushed.
    const OF_ROWS: &str = "the rows'";

    /// The same where there is no file: what is told of one's looks says nothing of rows that were pushed.
    pub(crate) fn of_rows(self) -> Self {
        match self {
            Self::Looks { error, .. } => error.of_rows(),
            Self::Columns { source_name, wrong, declared, .. } => {
                Self::Columns { whose: Self::OF_ROWS, source_name, wrong, declared }
            }
            other => other,
        }
    }

    /// What a person is told, where the fault is the file's or the request's; none where the platform failed.
    pub fn fault(&self) -> Option<Fault> {
        let message = self.to_string();
        Some(match self {
            Self::Columns { whose, declared, source_name, .. } => {
                let (what, again) = if *whose == Self::OF_ROWS { ("rows call", "push") } else { ("file calls", "upload") };
                Fault::coded(501, message)
                    .detail(format!("columns of `{source_name}` are {}", declared.join(", ")))
                    .hint(format!("declare what the {what} a column, as in `order_id: {{ from: \"Order ID\", type: string }}`, `tidemill apply`, then {again} again"))
            }
            Self::UnknownSource { near, .. } => Fault::coded(502, message).hint(match near {
                Some(near) => format!("did you mean `{near}`?"),
                None => "see `tidemill sources list`; a new source is declared in YAML and applied first"
                    .to_owned(),
            }),
            Self::Unreadable { .. } => {
                Fault::coded(503, message).hint(
                    "a CSV begins with a line of column names; if the file has another format, name it: --format csv|parquet|jsonl",
                )
            }
            Self::Looks { error, left, remedy, .. } => {
                let left = left.as_ref().map(ToString::to_string);
                Fault { message, detail: left, ..error.fault()? }.hint(remedy)
            }
            Self::UnknownFormat(_) => Fault::coded(503, message).hint("formats are csv, parquet and jsonl"),
            Self::Limit(_) | Self::LongRow { .. } => Fault::coded(504, message).hint("split the file"),
            Self::PushLimit(_) => Fault::coded(504, message)
                .hint("push them in several calls, or send a file: tidemill sources upload SOURCE FILE"),
            Self::PushKey(_) => Fault::coded(118, message).hint("take a new key for new rows, such as a UUID"),
            Self::Rows(_) => {
                Fault::coded(507, message).hint("send a JSON array of objects, or one JSON object a line")
            }
            Self::Mismatch(_) => Fault::coded(505, message).hint("upload the file again; it starts over"),
            Self::File { error, .. } => Fault { message, ..error.fault()? },
            Self::NoFile(_) => Fault::coded(506, message)
                .hint("the worker looks on its own machine, and for s3:// with the AWS_… variables of its environment"),
            _ => return None,
        })
    }
}

/// A file that is wrong stays wrong; a platform that failed may work next time.
impl From<Error> for JobError {
    fn from(error: Error) -> Self {
        match (error.fault(), error) {
            (Some(fault), _) => Self::Discard(fault),
            (None, Error::Catalog(error)) => error.into(),
            (None, Error::Store(error)) => error.into(),
            (None, Error::Lake(error)) => error.into(),
            (None, Error::Blobs(error)) => error.into(),
            (None, Error::File { error, .. }) => Self::from(*error),
            (None, error @ Error::NoUpload(_)) => Self::discard(error),
            (None, Error::Io(error)) => Cause::of_io(&error).verdict(Fault::from_error(&error)),
            (None, error) => Self::retry(error),
        }
    }
}
