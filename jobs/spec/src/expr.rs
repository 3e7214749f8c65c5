//! The two expression languages of the YAML: DuckDB SQL over rows, CEL in `${{ }}` of pipelines.

pub mod cel;
mod limits;
pub mod sql;
