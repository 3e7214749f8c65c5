//! Rows that an expression of a view fails on: found by trying each feature for each row, once a statement has failed.

use arrow::{
    array::{AsArray as _, RecordBatch},
    datatypes::{Int64Type, SchemaRef},
};
use tidemill_spec::Rule;

use super::Fails;
use crate::{
    View,
    duck::{Failure, Session},
    error::{is_users_fault, words},
    sql::{self, text},
};

/// Rows whose own failure is told in DuckDB's words; of more only the feature is named.
const ROWS_WORDED: usize = 100;

/// Input rows that an expression fails on.
#[derive(Clone, Debug)]
pub struct Refused {
    /// As they were read.
    pub rows: RecordBatch,
    /// Why, row by row.
    pub reasons: Vec<String>,
}

/// The rows of `statement`, which is made for a relation to read; a feature is null where its expression fails, and
/// the row it fails on is told. `expression`: of a rule, as the statement computes it.
pub(super) fn query_or_refuse(
    session: &Session,
    view: &View,
    input: &str,
    expression: impl Fn(&Rule) -> Option<String>,
    statement: impl Fn(&str, Fails) -> String,
    schema: &SchemaRef,
) -> Result<(RecordBatch, Option<Refused>), Failure> {
    let error = match session.query_as(&statement(input, Fails::Statement), schema) {
        Err(Failure::Duck(error)) if is_users_fault(&error) => error,
        rows => return Ok((rows?, None)),
    };
    // A struct of a null is no null: what `TRY` makes of a failure is.
    let tried = view.definition.features.iter().filter_map(|(name, feature)| {
        let expression = expression(&feature.rule)?;
        let value = format!("CAST(({expression}) AS {})", feature.ty.duckdb());
        Some(format!("CASE WHEN TRY({{'value': {value}}}) IS NULL THEN {} END", text(&format!("`{name}`"))))
    });
    let failing = tried.collect::<Vec<_>>().join(", ");
    if failing.is_empty() {
        return Err(Failure::Duck(error));
    }
    session.execute(&format!(
        "CREATE TEMP TABLE _tried AS SELECT *, concat_ws(', ', {failing}) AS _failing FROM {input}"
    ))?;
    let rows =
        session.query("SELECT * EXCLUDE (_failing) FROM _tried WHERE _failing <> '' ORDER BY rowid")?;
    if rows.num_rows() == 0 {
        return Err(Failure::Duck(error));
    }
    let places =
        session.query("SELECT rowid AS place, _failing FROM _tried WHERE _failing <> '' ORDER BY rowid")?;
    let (ids, names) = (places["place"].as_primitive::<Int64Type>(), places["_failing"].as_string::<i32>());
    let reason = |index: usize| {
        let one = format!("(SELECT * EXCLUDE (_failing) FROM _tried WHERE rowid = {})", ids.value(index));
        let failed =
            (index < ROWS_WORDED).then(|| session.query(&statement(&one, Fails::Statement)).err()).flatten();
        let said = match &failed {
            Some(Failure::Duck(error)) => words(error),
            _ => "it can't be computed from this row".to_owned(),
        };
        format!("feature {}: {said}", names.value(index))
    };
    let reasons = (0..rows.num_rows()).map(reason).collect();
    let computed = session.query_as(&statement(input, Fails::Feature), schema)?;
    Ok((computed, Some(Refused { rows, reasons })))
}

/// The input of a row view: source rows with all their keys, of one part.
pub(super) fn of_part(rows: &str, keys: &[String], part: (u32, u32)) -> String {
    format!("(SELECT * FROM {rows} WHERE {} AND {})", sql::present(keys), sql::part(keys, part))
}
