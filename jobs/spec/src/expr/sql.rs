//! DuckDB expressions over one row: which columns they read.

/// The text is not one expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct InvalidSql {
    /// What is wrong.
    pub message: String,
    /// Where, in characters from 0, if known.
    pub offset: Option<usize>,
}

/// The columns that an expression reads, each once, in the order of their first use; lower case as DuckDB
/// compares them, unless quoted.
///
/// # Errors
/// It is not a single scalar expression: a query, a subquery, an aggregate or a syntax error.
pub fn columns(_expression: &str) -> Result<Vec<String>, InvalidSql> {
    todo!()
}
