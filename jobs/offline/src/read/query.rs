//! A query of a person or a step: in a database of its own that can read nothing but the tables that it names.

use std::fmt::Write as _;

use arrow::array::RecordBatch;
use tidemill_core::{Fault, Time};
use tidemill_rows::{Declared, Row, VALID_AT, rows_of, source_schema};
use tidemill_spec::{Objects, ViewKind, diagnostic::closest};

use crate::{
    CommitRange, Error, Lake, Table, Version, View,
    duck::Failure,
    parsed::Parsed,
    scan::Scan,
    sql::{self, quoted},
};

/// What a query gave.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Queried {
    /// Rows in all.
    pub rows: u64,
    /// The first of them.
    pub first: Option<Row>,
}

/// A table that a query may name.
struct Offered<'a> {
    schema: &'static str,
    name: &'a str,
    table: Table,
    /// Also by its name alone.
    bare: bool,
}

/// What makes the tables of a query.
struct Tables {
    script: String,
    /// Values of window views and derived ones, each to be `_values_N` before the script runs.
    values: Vec<RecordBatch>,
}

impl Lake {
    /// Runs a query over the lake as of a version, without rows that become known after a moment: tables `source.NAME`,
    /// `view.NAME` (`views`: which versions; of window views and derived ones the values at the moment), `dead.NAME`, `predictions.MODEL`,
    /// `prediction_log.MODEL`;
    /// sources and views also by their bare names. Its rows are given to `take` batch by batch, in declared types, and
    /// are never all in memory; `take` gets one batch at least.
    ///
    /// # Errors
    /// The query is none or names a table that isn't there, a column has no declared type, two have one name, it
    /// takes longer than it may, or `take` fails.
    pub async fn sql(
        &self,
        query: &str,
        objects: &Objects,
        views: &[View],
        as_of: (Version, Time),
        mut take: impl FnMut(&RecordBatch) -> Result<(), Error> + Send + 'static,
    ) -> Result<Queried, Error> {
        let Tables { script, values } = self.tables_of(query, objects, views, as_of).await?;
        let query = query.to_owned();
        self.duck
            .apart("running a query", move |session| {
                for (place, values) in values.iter().enumerate() {
                    session.load(&format!("_values_{place}"), values)?;
                }
                session.execute(&script)?;
                let mut queried = Queried::default();
                let streamed = session.stream(
                    &query,
                    |schema| {
                        let declared = Declared::of(schema)?;
                        take(&RecordBatch::new_empty(declared.schema().clone()))?;
                        Ok((declared, take))
                    },
                    |(declared, take), batch| {
                        let batch = declared.batch(&batch)?;
                        if queried.rows == 0 && batch.num_rows() > 0 {
                            queried.first = rows_of(&batch.slice(0, 1))?.pop();
                        }
                        queried.rows += batch.num_rows() as u64;
                        Ok(take(&batch)?)
                    },
                );
                streamed.map_err(|failure| match failure {
                    Failure::Duck(error) => Failure::Other(Error::UsersQuery(error)),
                    other @ Failure::Other(_) => other,
                })?;
                Ok(queried)
            })
            .await
    }

    /// Statements that make the tables which a query names, and lock the database to them.
    async fn tables_of(
        &self,
        query: &str,
        objects: &Objects,
        views: &[View],
        (version, at): (Version, Time),
    ) -> Result<Tables, Error> {
        let text = query.to_owned();
        let parsed = self.duck.run("reading a query", move |session| {
            Parsed::parse(session.connection()?, &text).map_err(|refusal| {
                let fault = Fault::coded(380, format!("DuckDB can't run this query: {}", refusal.message));
                let pointed = refusal.at.map(|at| pointed(&text, at)).unwrap_or_default();
                Failure::Other(Error::Invalid(fault.detail(pointed)))
            })
        });
        let named = parsed.await?.map(|parsed| parsed.tables());
        let offered = offered(objects, views);
        // What can't be taken apart may name any of them.
        let wanted = |of: &&Offered<'_>| {
            named.as_ref().is_none_or(|named| {
                named.iter().any(|(schema, name)| {
                    of.name.eq_ignore_ascii_case(name)
                        && (schema == of.schema || schema.is_empty() && of.bare)
                })
            })
        };
        let mut script =
            "CREATE SCHEMA source; CREATE SCHEMA \"view\"; CREATE SCHEMA dead; CREATE SCHEMA predictions; CREATE SCHEMA prediction_log;\n"
                .to_owned();
        let (mut paths, mut values) = (Vec::new(), Vec::new());
        let mut bare = Vec::new();
        for Offered { schema, name, table, bare: also_bare } in offered.iter().filter(wanted) {
            let view = views.iter().find(|view| *schema == "view" && view.name() == *name);
            let moving = [ViewKind::Windows, ViewKind::Derived];
            let rows = if let Some(view) = view.filter(|view| moving.contains(&view.kind())) {
                values.push(self.values_at(view, version, at).await?);
                format!("_values_{}", values.len() - 1)
            } else {
                let upto = CommitRange::upto(version);
                let scan = match objects.sources.get(*name).filter(|_| *schema == "source") {
                    Some(source) => self.scan_source(source, upto).await?,
                    None => self.scan(table, upto).await?,
                };
                let rows = rows_in(schema, name, objects, views, &scan, at);
                paths.extend(scan.paths().cloned());
                let Some(rows) = rows else { continue };
                rows
            };
            let (schema, quoted_name) = (quoted(schema), quoted(name));
            let _ = writeln!(script, "CREATE VIEW {schema}.{quoted_name} AS SELECT * FROM {rows};");
            // One name of two tables is neither's: the query says which it means.
            if *also_bare {
                if bare.contains(name) {
                    let _ = writeln!(script, "DROP VIEW {quoted_name};");
                } else {
                    let _ = writeln!(script, "CREATE VIEW {quoted_name} AS FROM {schema}.{quoted_name};");
                    bare.push(name);
                }
            }
        }
        unknown_table(named.as_deref().unwrap_or_default(), &offered, query)?;
        let paths: Vec<String> = paths.iter().map(|path| sql::text(&path.to_string_lossy())).collect();
        let _ = writeln!(
            script,
            "SET allowed_paths = [{}]; SET enable_external_access = false; SET lock_configuration = true;",
            paths.join(", ")
        );
        Ok(Tables { script, values })
    }
}

fn offered<'a>(objects: &'a Objects, views: &'a [View]) -> Vec<Offered<'a>> {
    let mut tables = Vec::new();
    let mut offer = |schema, name: &'a str, table, bare| tables.push(Offered { schema, name, table, bare });
    for name in objects.sources.keys() {
        offer("source", name, Table::source(name), true);
    }
    for view in views {
        offer("view", view.name(), view.table(), true);
    }
    for name in objects.sources.keys() {
        offer("dead", name, Table::dead(name), false);
    }
    for name in objects.models.keys() {
        offer("predictions", name, Table::predictions(name), false);
        offer("prediction_log", name, Table::prediction_log(name), false);
    }
    tables
}

/// The rows of a table; `None` where nothing says which columns it has.
fn rows_in(
    schema: &str,
    name: &str,
    objects: &Objects,
    views: &[View],
    scan: &Scan,
    at: Time,
) -> Option<String> {
    let known = format!("{VALID_AT} <= {}", sql::instant(at));
    let declared = match schema {
        "source" => objects.sources.get(name).map(source_schema),
        "view" => views.iter().find(|view| view.name() == name).map(View::schema),
        "dead" => return Some(scan.rows(&crate::upload::dead_schema(), "true")),
        _ => None,
    };
    declared.map(|schema| scan.rows(&schema, &known)).or_else(|| scan.any_rows())
}

/// A name with a schema of ours that has no such table. DuckDB knows only those that were made, so it could not say
/// what there is.
fn unknown_table(named: &[(String, String)], offered: &[Offered<'_>], query: &str) -> Result<(), Error> {
    for (schema, name) in named.iter().filter(|(schema, _)| !schema.is_empty()) {
        let known: Vec<&str> = offered.iter().filter(|of| of.schema == schema).map(|of| of.name).collect();
        if known.iter().any(|known| known.eq_ignore_ascii_case(name)) || schema == "main" || schema == "temp"
        {
            continue;
        }
        let fault = Fault::coded(325, format!("there is no table `{schema}.{name}`"));
        let fault = match query.to_lowercase().find(name.as_str()) {
            Some(at) => fault.detail(pointed(query, at)),
            None => fault,
        };
        let near = closest(name, &known).map(|near| format!("did you mean `{schema}.{near}`?"));
        let hint = near.unwrap_or_else(|| {
            "tables are source.NAME, view.NAME, dead.NAME, predictions.MODEL and prediction_log.MODEL"
                .to_owned()
        });
        return Err(Error::Invalid(fault.hint(hint)));
    }
    Ok(())
}

/// The line of a text that holds a byte, with a caret below it.
fn pointed(text: &str, at: usize) -> String {
    let before = text.get(..at).unwrap_or_default();
    let number = before.matches('\n').count();
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count();
    let line = text.split('\n').nth(number).unwrap_or_default();
    let head = format!("LINE {}: ", number + 1);
    format!("{head}{line}\n{}^", " ".repeat(head.chars().count() + column))
}
