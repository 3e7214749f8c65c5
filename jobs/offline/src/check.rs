//! What only DuckDB can say of a project's SQL: each text is prepared over empty tables, nothing is run.
//!
//! `tidemill check` and `apply` both load a project here, so SQL that can't run is never in force.

mod functions;

use std::{collections::HashSet, io, path::Path};

use arrow::datatypes::{Schema, SchemaRef};
use duckdb::Connection;
use indexmap::IndexMap;
use tidemill_core::Code;
use tidemill_expressions::LIMITS;
use tidemill_rows::{VALID_AT, field, source_schema, type_of, view_schema};
use tidemill_spec::{
    DeclaredSql, Diagnostic, Entity, FeatureView, LoadOptions, Loaded, ObjectKind, ObjectRef, Objects,
    Severity, Source, SqlRole, Type, ViewKind, diagnostic::SourceFile, expr::sql::Expression, load_with,
};

use crate::{
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
    let judge = Judge::open()?;
    let mut found = judge.tables(loaded);
    found.extend(loaded.sql.iter().filter_map(|sql| judge.mistake(sql, &loaded.files)));
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
    fn open() -> Result<Self, duckdb::Error> {
        let connection = Connection::open_in_memory()?;
        let functions = Functions::read(&connection)?;
        connection.execute_batch(LIMITS)?;
        connection.execute_batch(
            "CREATE SCHEMA source; CREATE SCHEMA \"view\"; CREATE SCHEMA dead; CREATE SCHEMA predictions; \
             CREATE SCHEMA prediction_log; \
             SET TimeZone = 'UTC'; SET errors_as_json = true; SET enable_external_access = false",
        )?;
        Ok(Self { connection, functions })
    }

    /// Makes every table that a query may name. What DuckDB doesn't take is a mistake of its object.
    fn tables(&self, loaded: &Loaded) -> Vec<Diagnostic> {
        let mistake = |(object, statements): (ObjectRef, String)| {
            let error = self.connection.execute_batch(&statements).err()?;
            let Refusal { message, rest, .. } = Refusal::of(&error);
            let place = loaded.places.iter().find(|(declared, _)| *declared == object);
            Some(Diagnostic {
                code: Code(380),
                severity: Severity::Error,
                message: format!("DuckDB can't make a table of {} `{}`: {message}", object.kind, object.name),
                labels: place.map(|(_, place)| place.clone()).into_iter().collect(),
                help: rest,
                path: String::new(),
                leak: None,
            })
        };
        tables(&loaded.objects).into_iter().filter_map(mistake).collect()
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
        match ty.element().unwrap_or(ty) {
            exact @ Type::Int => self.exact(&expression, exact, 0),
            exact @ Type::Decimal(digits) => self.exact(&expression, exact, digits.scale()),
            _ => Ok(()),
        }
    }

    /// Refuses what a number, or one in a list, with so many digits after the point would be rounded from. The table `_row`
    /// has the columns.
    fn exact(&self, expression: &Expression, exact: Type, scale: u8) -> Result<(), Mistake> {
        let describe =
            format!("SELECT column_type FROM (DESCRIBE SELECT {} AS value FROM _row)", expression.compiled());
        let ty: String = match self.connection.query_row(&describe, [], |row| row.get(0)) {
            Ok(ty) => ty,
            Err(_) => return Ok(()),
        };
        // Of a list what it holds.
        let ty = ty.split('[').next().unwrap_or_default();
        let digits = ty.strip_prefix("DECIMAL(").and_then(|digits| digits.strip_suffix(')'));
        let after_point = digits.and_then(|digits| digits.rsplit_once(',')?.1.trim().parse::<u8>().ok());
        if !(after_point.is_some_and(|given| given > scale) || ty == "DOUBLE" || ty == "FLOAT") {
            return Ok(());
        }
        let (what, how) = match exact {
            Type::Int => {
                ("an int".to_owned(), "`CAST(floor(…) AS BIGINT)`, `CAST(round(…) AS BIGINT)`".to_owned())
            }
            _ => (format!("a {exact}"), format!("`CAST(round(…, {scale}) AS {})`", exact.duckdb())),
        };
        Err(Mistake {
            code: 481,
            message: format!("this gives a {ty}, which {what} would be rounded from"),
            help: Some(format!("say how: {how}; or declare `type: float`")),
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
        let unknown = |(schema, _): &(String, String)| schema == "predictions" || schema == "prediction_log";
        // What a model's predictions hold is known once it has made some.
        if parsed.iter().flat_map(Parsed::tables).any(|table| unknown(&table)) {
            return Ok(());
        }
        self.connection.prepare(text).map(drop).map_err(|error| refused(Refusal::of(&error)))?;
        match self.double_column(text) {
            None => Ok(()),
            Some(name) => Err(Mistake {
                code: 681,
                message: format!("two columns are named `{name}`"),
                help: Some("give one of them another name: `AS NAME`".to_owned()),
                at: None,
            }),
        }
    }

    /// A name that two columns of a query's result have. What DuckDB can't describe is told when it runs.
    fn double_column(&self, text: &str) -> Option<String> {
        let mut statement = self.connection.prepare(&format!("DESCRIBE {text}")).ok()?;
        let names = statement.query_map([], |row| row.get(0)).ok()?;
        let mut seen: HashSet<String> = HashSet::new();
        names.flatten().find(|name: &String| !seen.insert(name.clone()))
    }
}

/// For each object statements that make its tables, as [`crate::Lake::sql`] names them.
fn tables(objects: &Objects) -> Vec<(ObjectRef, String)> {
    let letters = crate::upload::dead_schema();
    let source = |(name, source): (&String, &Source)| {
        let tables = table("source", name, &source_schema(source)) + &table("dead", name, &letters);
        (ObjectRef::new(ObjectKind::Source, name), tables + &bare("source", name))
    };
    let view = |(name, view): (&String, &FeatureView)| {
        let entity = objects.entities.get(&view.entity)?;
        let columns = match view.kind() {
            ViewKind::Windows | ViewKind::Derived => values_schema(view, entity),
            _ => view_schema(view, entity),
        };
        let tables = table("view", name, &columns) + &bare("view", name);
        Some((ObjectRef::new(ObjectKind::View, name), tables))
    };
    objects.sources.iter().map(source).chain(objects.views.iter().filter_map(view)).collect()
}

/// A column that is there twice was reported where it is declared.
fn table(schema: &str, name: &str, columns: &SchemaRef) -> String {
    let columns: IndexMap<&str, Type> = columns
        .fields()
        .iter()
        .map(|field| (field.name().as_str(), type_of(field.data_type()).unwrap_or(Type::String)))
        .collect();
    let columns = columns.iter().map(|(name, ty)| format!("{} {}", quoted(name), ty.duckdb()));
    let columns = columns.collect::<Vec<_>>().join(", ");
    format!("CREATE TABLE {}.{} ({columns});\n", quoted(schema), quoted(name))
}

/// Sources and views also go by their names alone.
fn bare(schema: &str, name: &str) -> String {
    let name = quoted(name);
    format!("CREATE VIEW IF NOT EXISTS {name} AS FROM {}.{name};\n", quoted(schema))
}

/// What a query sees of a window view or a derived one: its values at a moment, a row for each entity.
fn values_schema(view: &FeatureView, entity: &Entity) -> SchemaRef {
    let keys = entity.keys.iter().map(|(name, ty)| field(name, *ty));
    let features = view.features.iter().map(|(name, feature)| field(name, feature.ty));
    Schema::new(keys.chain(features).chain([field(VALID_AT, Type::Timestamp)]).collect::<Vec<_>>()).into()
}

#[cfg(test)]
mod tests;
