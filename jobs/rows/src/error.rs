use std::{
    io,
    path::{Path, PathBuf},
};

use arrow::{datatypes::DataType, error::ArrowError};
use parquet::errors::ParquetError;
use tidemill_spec::Type;

/// Rows that don't fit what was declared, or bytes that aren't what they should be.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A value of another type than its column's.
    #[error("column `{column}` is {expected}, but one of its values is {got}")]
    WrongType {
        /// The column.
        column: String,
        /// Its declared type.
        expected: Type,
        /// The value, for people.
        got: String,
    },
    /// A column that isn't there.
    #[error("column `{0}` is missing")]
    MissingColumn(String),
    /// An Arrow type that none of the six types stands for.
    #[error("column `{column}` has the type {arrow}, which is none of the types that can be declared")]
    UnknownType {
        /// The column.
        column: String,
        /// Its Arrow type.
        arrow: DataType,
        /// SQL that makes text of it.
        cast: String,
    },
    /// Bytes that aren't an Arrow IPC stream, or one that announces what did not come.
    #[error("not a complete Arrow stream: {0}")]
    Stream(String),
    /// Two columns of one name.
    #[error("two columns are named `{0}`")]
    DoubleColumn(String),
    /// A whole number that doesn't fit 64 bits.
    #[error("column `{column}` holds {value}, which is not an int")]
    OutOfRange {
        /// The column.
        column: String,
        /// The number.
        value: String,
    },
    /// A file can't be written or read.
    #[error("{} can't be written or read", path.as_ref().map_or_else(|| "the file".to_owned(), |path| format!("`{}`", path.display())))]
    Io {
        /// Which, where that is known: the system doesn't say it.
        path: Option<PathBuf>,
        /// Why, as the system said it: its number tells an outage from a refusal.
        source: io::Error,
    },
    /// Arrow refused.
    #[error("the rows do not fit together")]
    Arrow(#[from] ArrowError),
    /// Not the Parquet it should be.
    #[error("the Parquet file can't be written or read")]
    Parquet(#[source] ParquetError),
}

impl From<io::Error> for Error {
    fn from(source: io::Error) -> Self {
        Self::Io { path: None, source }
    }
}

/// What the system said of the file below is no fault of the rows.
impl From<ParquetError> for Error {
    fn from(error: ParquetError) -> Self {
        let ParquetError::External(source) = error else { return Self::Parquet(error) };
        match source.downcast::<io::Error>() {
            Ok(source) if source.raw_os_error().is_some() => (*source).into(),
            Ok(source) => Self::Parquet(ParquetError::External(source)),
            Err(source) => Self::Parquet(ParquetError::External(source)),
        }
    }
}

impl Error {
    /// With the path of the file that can't be written or read, unless it has one.
    #[must_use]
    pub fn of_file(self, file: &Path) -> Self {
        match self {
            Self::Io { path: None, source } => Self::Io { path: Some(file.to_owned()), source },
            other => other,
        }
    }

    /// A column that no declared type stands for.
    pub(crate) fn unknown_type(column: &str, arrow: &DataType) -> Self {
        let cast = if arrow.is_nested() {
            format!("CAST(to_json({column}) AS VARCHAR)")
        } else {
            format!("CAST({column} AS VARCHAR)")
        };
        Self::UnknownType { column: column.to_owned(), arrow: arrow.clone(), cast }
    }
}
