//! What only DuckDB can say of a project's SQL: each text is prepared over empty tables, nothing is run.
//!
//! `tidemill check` and `apply` both load a project here, so SQL that can't run is never in force.

mod functions;

use std::{fmt::Write as _, io, path::Path};

use arrow::datatypes::{Schema, SchemaRef};
use duckdb::Connection;
use indexmap::IndexMap;
use tidemill_rows::{VALID_AT, field, source_schema, type_of, view_schema};
use tidemill_spec::{
    DeclaredSql, Diagnostic, Entity, FeatureView, LoadOptions, Loaded, Objects, SqlRole, Type, ViewKind,
    diagnostic::SourceFile, expr::sql::Expression, load_with,
};

use crate::{
    duck,
    parsed::{Parsed, Refusal},
    sql::quoted,
};
use functions::Functions;

/// Loads a project as [`load_with`] does, and has DuckDB prepare its SQL.
///
/// # Errors
/// The folder can't be read, or DuckDB doesn't start.
pub fn load_project(folder: &Path, options: &LoadOptions) -> io::Result<Loaded> {
    prepared(load_with(folder, options)?)
}

/// A loaded project with the mistakes that DuckDB finds in its SQL.
///
/// # Errors
/// DuckDB doesn't start.
pub fn prepared(mut loaded: Loaded) -> io::Result<Loaded> {
    prepare(&mut loaded).map_err(io::Error::other)?;
    Ok(loaded)
}

fn prepare(loaded: &mut Loaded) -> Result<(), duckdb::Error> {
    if loaded.sql.is_empty() {
        return Ok(());
    }
    let judge = Judge::open(&loaded.objects)?;
    let found = loaded.sql.iter().filter_map(|sql| judge.mistake(sql, &loaded.files)).collect();
    loaded.add(found);
    Ok(())
}

/// A database with every table of the project, all of them empty.
struct Judge {
    connection: Connection,
    functions: Functions,
}

/// What a mistake is called: code and message before DuckDB's.
struct Mistake {
    code: u16,
    message: String,
    help: Option<String>,
    /// In characters of the text.
    at: Option<usize>,
}

impl Judge {
    fn open(objects: &Objects) -> Result<Self, duckdb::Error> {
        let connection = Connection::open_in_memory()?;
        let functions = Functions::read(&connection)?;
        connection.execute_batch(duck::LIMITS)?;
        connection.execute_batch(&tables(objects))?;
        connection.execute_batch(
            "SET TimeZone = 'UTC'; SET errors_as_json = true; SET enable_external_access = false",
        )?;
        Ok(Self { connection, functions })
    }

    fn mistake(&self, sql: &DeclaredSql, files: &[SourceFile]) -> Option<Diagnostic> {
        let judged = match &sql.role {
            SqlRole::Expression { columns, ty, repeatable } => {
                self.expression(&sql.text, columns, *ty, *repeatable)
            }
            SqlRole::Query => self.query(&sql.text),
        };
        let Mistake { code, message, help, at } = judged.err()?;
        Some(sql.mistake(code, message, help, at, files))
    }

    fn expression(
        &self,
        text: &str,
        columns: &IndexMap<String, Type>,
        ty: Type,
        repeatable: bool,
    ) -> Result<(), Mistake> {
        // What can't even be taken apart was reported when the project was read.
        let Ok(expression) = Expression::parse(text) else { return Ok(()) };
        let before = "SELECT CAST(";
        let statement = |rest: &str| format!("{before}{}{rest}", expression.compiled());
        let place = |at: Option<usize>| {
            at.and_then(|at| at.checked_sub(before.len())).map(|at| expression.offset_of(at))
        };
        let refused = |refusal: Refusal| Mistake {
            code: 380,
            message: format!("DuckDB can't compute this: {}", refusal.message),
            help: refusal.rest,
            at: place(refusal.at),
        };
        let typed = format!(" AS {}) FROM _row", ty.duckdb());
        let parsed = Parsed::parse(&self.connection, &statement(&typed)).map_err(refused)?;
        for call in parsed.iter().flat_map(Parsed::calls) {
            self.functions.judge(&self.connection, &call, repeatable).map_err(|(code, message, help)| {
                Mistake { code, message, help: Some(help), at: place(call.at) }
            })?;
        }
        let columns: Vec<String> =
            columns.iter().map(|(name, ty)| format!("{} {}", quoted(name), ty.duckdb())).collect();
        let columns = if columns.is_empty() { "_nothing BOOLEAN".to_owned() } else { columns.join(", ") };
        self.connection
            .execute_batch(&format!("CREATE OR REPLACE TEMP TABLE _row ({columns})"))
            .and_then(|()| self.connection.prepare(&statement(&typed)).map(drop))
            .map_err(|error| refused(Refusal::of(&error)))?;
        if ty == Type::Int { self.whole(&expression) } else { Ok(()) }
    }

    /// Refuses what an int would be rounded from. The table `_row` has the columns.
    fn whole(&self, expression: &Expression) -> Result<(), Mistake> {
        let describe =
            format!("SELECT column_type FROM (DESCRIBE SELECT {} AS value FROM _row)", expression.compiled());
        let ty: String = match self.connection.query_row(&describe, [], |row| row.get(0)) {
            Ok(ty) => ty,
            Err(_) => return Ok(()),
        };
        let fraction = ty.starts_with("DECIMAL(") && !ty.ends_with(",0)");
        if !(fraction || ty == "DOUBLE" || ty == "FLOAT") {
            return Ok(());
        }
        Err(Mistake {
            code: 481,
            message: format!("this gives a {ty}, which an int would be rounded from"),
            help: Some(
                "say how: `CAST(floor(…) AS BIGINT)`, `CAST(round(…) AS BIGINT)`; or declare `type: float`"
                    .to_owned(),
            ),
            at: None,
        })
    }

    /// A query with `${{ }}` is judged when the step runs: only then it is known.
    fn query(&self, text: &str) -> Result<(), Mistake> {
        if text.contains("${{") {
            return Ok(());
        }
        let characters = |bytes: usize| text.char_indices().take_while(|(at, _)| *at < bytes).count();
        let refused = |refusal: Refusal| Mistake {
            code: 380,
            message: format!("DuckDB can't run this query: {}", refusal.message),
            help: refusal.rest,
            at: refusal.at.map(characters),
        };
        let parsed = Parsed::parse(&self.connection, text).map_err(refused)?;
        let unknown = |(schema, _): &(String, String)| schema == "predictions";
        // What a model's predictions hold is known once it has made some.
        if parsed.iter().flat_map(Parsed::tables).any(|table| unknown(&table)) {
            return Ok(());
        }
        self.connection.prepare(text).map(drop).map_err(|error| refused(Refusal::of(&error)))
    }
}

/// Statements that make every table that a query may name, as [`crate::Lake::sql`] names them.
fn tables(objects: &Objects) -> String {
    let mut script = String::from(
        "CREATE SCHEMA source; CREATE SCHEMA \"view\"; CREATE SCHEMA dead; CREATE SCHEMA predictions;\n",
    );
    let mut add = |schema: &str, name: &str, columns: &SchemaRef| {
        let columns = columns.fields().iter().map(|field| {
            let ty = type_of(field.data_type()).map_or("VARCHAR", Type::duckdb);
            format!("{} {ty}", quoted(field.name()))
        });
        let columns = columns.collect::<Vec<_>>().join(", ");
        let _ = writeln!(script, "CREATE TABLE {}.{} ({columns});", quoted(schema), quoted(name));
        if schema != "dead" {
            let _ = writeln!(
                script,
                "CREATE VIEW IF NOT EXISTS {name} AS FROM {}.{name};",
                quoted(schema),
                name = quoted(name)
            );
        }
    };
    let letters = crate::upload::dead_schema();
    for (name, source) in &objects.sources {
        add("source", name, &source_schema(source));
        add("dead", name, &letters);
    }
    for (name, view) in &objects.views {
        let Some(entity) = objects.entities.get(&view.entity) else { continue };
        let columns = match view.kind() {
            ViewKind::Windows => values_schema(view, entity),
            _ => view_schema(view, entity),
        };
        add("view", name, &columns);
    }
    script
}

/// What a query sees of a window view: its values at a moment, a row for each entity.
fn values_schema(view: &FeatureView, entity: &Entity) -> SchemaRef {
    let keys = entity.keys.iter().map(|(name, ty)| field(name, *ty));
    let features = view.features.iter().map(|(name, feature)| field(name, feature.ty));
    Schema::new(keys.chain(features).chain([field(VALID_AT, Type::Timestamp)]).collect::<Vec<_>>()).into()
}

#[cfg(test)]
mod tests;
