//! Rows that an expression of a view fails on: found by trying each feature for each row, once a statement has failed;
//! where it took too long or too much memory, by halves.

use std::time::Duration;

use arrow::{
    array::{AsArray as _, RecordBatch},
    datatypes::{Int64Type, SchemaRef},
};
use tidemill_rows::parquet::sorted;
use tidemill_spec::{Rule, units::format_duration};

use super::Fails;
use crate::{
    Error, View,
    duck::{Failure, Session},
    error::{may_pass, out_of_memory, words},
    sql::{self, text},
};

/// Rows whose own failure is told in DuckDB's words; of more only the feature is named.
pub(crate) const ROWS_WORDED: usize = 100;

/// Rows that are looked for by halves: each costs some twenty statements that take as long as they may.
const ROWS_HALVED: usize = 20;

/// Input rows that an expression fails on.
#[derive(Clone, Debug)]
pub struct Refused {
    /// As they were read.
    pub rows: RecordBatch,
    /// Why, row by row.
    pub reasons: Vec<String>,
}

/// Rows of a view to compute.
pub(super) struct Computation<E, S> {
    pub(super) view: View,
    /// The relation to read.
    pub(super) input: String,
    /// What a rule is computed by.
    pub(super) expression: E,
    /// The statement for a relation to read, and what becomes of rows that an expression fails on.
    pub(super) statement: S,
    pub(super) schema: SchemaRef,
    /// Longest time that it may take.
    pub(super) limit: Duration,
}

/// Rows by where they stand in the table of those that were tried, and why they fail.
type Failing = Vec<(i64, String)>;

impl<E: Fn(&Rule) -> Option<String>, S: Fn(&str, Fails) -> String> Computation<E, S> {
    /// The rows that the statement gives. A feature is null where its expression fails, and the row it fails on is told; of
    /// a row that takes too long or too much memory all are.
    pub(super) fn run(&self, session: &Session) -> Result<(RecordBatch, Option<Refused>), Failure> {
        let error = match self.rows(session, &self.input, Fails::Statement, self.limit) {
            Err(Failure::Duck(error)) => error,
            rows => return Ok((rows?, None)),
        };
        let slow = session.overdue(&error);
        if !slow && !out_of_memory(&error) && may_pass(&error) {
            return Err(Failure::Duck(error));
        }
        session.execute(&format!("CREATE TEMP TABLE _tried AS SELECT * FROM {}", self.input))?;
        let failing = if slow || out_of_memory(&error) {
            self.found_by_halves(session)?
        } else {
            self.found_by_trying(session)?
        };
        if failing.is_empty() {
            return Err(if slow { self.too_long() } else { Failure::Duck(error) });
        }
        let places: Vec<String> = failing.iter().map(|(place, _)| format!("({place})")).collect();
        session.execute(&format!(
            "CREATE TEMP TABLE _failing AS SELECT _place FROM (VALUES {}) AS _found (_place)",
            places.join(", ")
        ))?;
        let rows = session
            .query("SELECT * FROM _tried SEMI JOIN _failing ON _tried.rowid = _place ORDER BY rowid")?;
        let reasons = failing.into_iter().map(|(_, reason)| reason).collect();
        let computed = if slow || out_of_memory(&error) {
            let of =
                |join: &str| format!("(SELECT * FROM _tried {join} JOIN _failing ON _tried.rowid = _place)");
            let left = self.rows(session, &of("ANTI"), Fails::Statement, self.limit)?;
            let without = self.rows(session, &of("SEMI"), Fails::Row, self.limit)?;
            sorted(&self.schema, &[left, without], &self.view.keys())?
        } else {
            self.rows(session, &self.input, Fails::Feature, self.limit)?
        };
        Ok((computed, Some(Refused { rows, reasons })))
    }

    fn rows(
        &self,
        session: &Session,
        input: &str,
        fails: Fails,
        limit: Duration,
    ) -> Result<RecordBatch, Failure> {
        session.within(limit, || session.query_as(&(self.statement)(input, fails), &self.schema))
    }

    fn one(place: i64) -> String {
        format!("(SELECT * FROM _tried WHERE rowid = {place})")
    }

    /// Every row on which a feature fails, by one statement.
    fn found_by_trying(&self, session: &Session) -> Result<Failing, Failure> {
        let tried = self.view.definition.features.iter().filter_map(|(name, feature)| {
            let expression = (self.expression)(&feature.rule)?;
            Some(fails(name, &format!("CAST({expression} AS {})", feature.ty.duckdb())))
        });
        let tried = tried.collect::<Vec<_>>().join(", ");
        if tried.is_empty() {
            return Ok(Vec::new());
        }
        let failing = session.within(self.limit, || {
            session.query(&format!(
                "SELECT place, names FROM \
                 (SELECT rowid AS place, concat_ws(', ', {tried}) AS names FROM _tried) \
                 WHERE names <> '' ORDER BY place"
            ))
        })?;
        let (places, names) =
            (failing["place"].as_primitive::<Int64Type>(), failing["names"].as_string::<i32>());
        let reason = |index: usize| {
            let one = Self::one(places.value(index));
            let failed = (index < ROWS_WORDED)
                .then(|| self.rows(session, &one, Fails::Statement, self.limit).err())
                .flatten();
            reason(names.value(index), failed)
        };
        Ok((0..places.len()).map(|index| (places.value(index), reason(index))).collect())
    }

    /// The rows that take too long or too much memory by themselves, in order. A range that can be computed is left
    /// alone, another is halved.
    fn found_by_halves(&self, session: &Session) -> Result<Failing, Failure> {
        let limit = (self.limit / 60).max(Duration::from_secs(1));
        let mut failing = Failing::new();
        let mut open = vec![(0, session.count("SELECT count(*) FROM _tried")?)];
        while let Some((from, to)) = open.pop() {
            let range = format!("(SELECT * FROM _tried WHERE rowid >= {from} AND rowid < {to})");
            let error = match self.rows(session, &range, Fails::Statement, limit) {
                Ok(_) => continue,
                Err(Failure::Duck(error))
                    if session.overdue(&error) || out_of_memory(&error) || !may_pass(&error) =>
                {
                    error
                }
                Err(other) => return Err(other),
            };
            if to - from > 1 {
                // The first half is looked at first.
                let middle = from + (to - from) / 2;
                open.extend([(middle, to), (from, middle)]);
                continue;
            }
            if failing.len() == ROWS_HALVED {
                return Err(self.too_long());
            }
            let reason = if session.overdue(&error) {
                format!("this row alone takes longer than {}", format_duration(limit))
            } else {
                words(&error)
            };
            failing.push((from, reason));
        }
        Ok(failing)
    }

    fn too_long(&self) -> Failure {
        let doing = format!("computing view {}", self.view.name());
        Failure::Other(Error::TooLong { doing, limit: self.limit })
    }
}

/// The feature's name where its value can't be computed, else null.
pub(crate) fn fails(name: &str, value: &str) -> String {
    // A struct of a null is no null: what `TRY` makes of a failure is.
    format!("CASE WHEN TRY({{'value': {value}}}) IS NULL THEN {} END", text(&format!("`{name}`")))
}

/// Why features can't be computed from a row, in DuckDB's words where it was asked.
pub(crate) fn reason(names: &str, failed: Option<Failure>) -> String {
    let said = match &failed {
        Some(Failure::Duck(error)) => words(error),
        _ => "it can't be computed from this row".to_owned(),
    };
    format!("feature {names}: {said}")
}

/// The input of a row view: source rows with all their keys, of one part.
pub(super) fn of_part(rows: &str, keys: &[String], part: (u32, u32)) -> String {
    format!("(SELECT * FROM {rows} WHERE {} AND {})", sql::present(keys), sql::part(keys, part))
}
