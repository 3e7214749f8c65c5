//! Rows as Arrow: schemas of what is declared, values in and out, IPC and Parquet.
//!
//! Reading order: [`schema`] (which columns a lake table has), [`value`] (one value of an array), [`row`] (rows
//! by name, as JSON and people see them), [`prediction_log`] (what is logged of a prediction), [`ipc`] (between processes), [`parquet`] (files of the lake: sorted,
//! zstd), [`Declared`] (what a query gives), [`out`] and [`csv`] (files that people read), [`text`] (rows of text files,
//! split). A leaf: no I/O, no SQL; what the rows mean is `spec`'s and what is done with them `offline`'s.

pub mod csv;
mod declared;
mod error;
pub mod ipc;
pub mod out;
pub mod parquet;
pub mod prediction_log;
pub mod row;
pub mod schema;
pub mod text;
pub mod value;

pub use declared::Declared;
pub use error::Error;
pub use row::{Row, batch_of, json_rows, rows_of};
pub use schema::{
    CREATED_AT, DELETED, SEQ, VALID_AT, arrow_type, field, source_schema, type_of, view_schema,
};
pub use value::{array, value_at};
