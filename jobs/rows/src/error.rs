use arrow::{datatypes::DataType, error::ArrowError};
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
    /// A file can't be written.
    #[error("the file can't be written")]
    Io(#[from] std::io::Error),
    /// Arrow refused.
    #[error("the rows do not fit together")]
    Arrow(#[from] ArrowError),
    /// Not the Parquet it should be.
    #[error("the Parquet file can't be written or read")]
    Parquet(#[from] ::parquet::errors::ParquetError),
}

impl Error {
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
