use arrow::{datatypes::DataType, error::ArrowError};
use tidemill_spec::Type;

/// Rows that don't fit what was declared, or bytes that aren't what they should be.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A value of another type than its column's.
    #[error("column `{column}` is {expected}, but a value of it is {got}")]
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
    #[error("column `{column}` has the type {arrow}, which no declared type stands for")]
    UnknownType {
        /// The column.
        column: String,
        /// Its Arrow type.
        arrow: DataType,
    },
    /// Bytes that aren't an Arrow IPC stream, or one that announces what did not come.
    #[error("not a whole Arrow stream: {0}")]
    Stream(String),
    /// Arrow refused.
    #[error("the rows do not fit together")]
    Arrow(#[from] ArrowError),
    /// Not the Parquet it should be.
    #[error("the Parquet file can't be written or read")]
    Parquet(#[from] ::parquet::errors::ParquetError),
}
