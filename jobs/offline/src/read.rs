//! Rows as they are: of a table, of an entity, by anyone's SQL.

use std::{ffi::OsStr, fmt::Write as _, path::Path, sync::Arc};

use arrow::{array::RecordBatch, datatypes::Schema};
use tidemill_core::Time;
use tidemill_rows::{CREATED_AT, SEQ, VALID_AT, field, source_schema, type_of, value::normal};
use tidemill_spec::{Objects, Value, ViewKind};

use crate::{
    CommitRange, Error, Lake, LakeOptions, PitRequest, Table, Version, View,
    duck::Duck,
    foreign, manifest,
    sql::{self, quoted},
};

/// Rows of a table to read.
#[derive(Clone, Debug)]
pub struct Read {
    /// The table.
    pub table: Table,
    /// Which commits' rows; [`CommitRange::upto`] a pinned version for all.
    pub commits: CommitRange,
    /// Which of them.
    pub filter: Filter,
    /// Which columns, in this order; `None` for all of the table's.
    pub columns: Option<Vec<String>>,
}

/// Conditions, all of which hold.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// A timestamp column, and its instants `from ≤ t < to`.
    pub between: Option<(String, Time, Time)>,
    /// Columns that equal values; a null equals null.
    pub equal: Vec<(String, Value)>,
    /// The last rows in the total order, at most.
    pub last: Option<u32>,
}

impl Read {
    /// All rows as of a version.
    pub fn all(table: Table, version: Version) -> Self {
        Self { table, commits: CommitRange::upto(version), filter: Filter::default(), columns: None }
    }
}

impl Lake {
    /// Rows of a table in the order `(keys it is sorted by, valid_at, created_at, seq)`; of tables without these
    /// columns, in the files' order. One batch; without columns if nothing was ever published.
    pub async fn read(&self, read: &Read) -> Result<RecordBatch, Error> {
        let scan = self.scan(&read.table, read.commits).await?;
        let Some(rows) = scan.any_rows() else { return Ok(nothing()) };
        let keys = manifest::keys(&self.pool, &read.table).await?.unwrap_or_default();
        let read = read.clone();
        self.duck
            .run(format!("reading {}", read.table), move |session| {
                let columns = session.columns(&rows)?;
                session.query(&statement(&read, &rows, &keys, &columns))
            })
            .await
    }

    /// Stored rows of one entity in a view's table as of a version, oldest first, at most the `last` ones.
    /// `key`: values of the entity's key columns, in declared order.
    pub async fn history(
        &self,
        view: &View,
        key: &[Value],
        version: Version,
        last: u32,
    ) -> Result<RecordBatch, Error> {
        let equal = view.entity.keys.keys().cloned().zip(key.iter().cloned()).collect();
        let filter = Filter { equal, last: Some(last), ..Filter::default() };
        self.read(&Read { filter, ..Read::all(view.table(), version) }).await
    }

    /// The values of a window view at a moment, as of a version: a row for each entity that its source has named by
    /// then, with its keys, its features, and in `valid_at` when the newest row behind them became known; null where
    /// the windows hold none. Sorted by key.
    pub async fn windows_at(&self, view: &View, version: Version, at: Time) -> Result<RecordBatch, Error> {
        let source = view.source()?;
        let scan = self.scan(&Table::source(&source.name), CommitRange::upto(version)).await?;
        let keys = view.keys();
        let statement = format!(
            "SELECT DISTINCT {list} FROM {} WHERE {} ORDER BY {list}",
            scan.rows(&source_schema(source), &format!("{VALID_AT} <= {}", sql::instant(at))),
            sql::present(&keys),
            list = sql::list(&keys),
        );
        let fields = view.entity.keys.iter().map(|(name, ty)| field(name, *ty)).collect::<Vec<_>>();
        let schema = Arc::new(Schema::new(fields));
        let doing = format!("finding the entities of view {}", view.name());
        let entities = self.duck.run(doing, move |session| session.query_as(&statement, &schema)).await?;
        let values = self.point_in_time(&PitRequest::at(view, &entities, version, at)?).await?;
        let kept: Vec<usize> = (0..values.num_columns())
            .filter(|place| values.schema().field(*place).name() != PitRequest::MOMENT)
            .collect();
        Ok(values.project(&kept).map_err(tidemill_rows::Error::from)?)
    }

    /// A query by a person or a step, in a database of its own that can read nothing but the lake as of `version`, and
    /// no row that becomes known after `at`: tables `source.NAME`, `view.NAME` (`views`: which versions; of window
    /// views the values at `at`), `dead.NAME`, `predictions.MODEL`; sources and views also by their bare names.
    pub async fn sql(
        &self,
        query: &str,
        objects: &Objects,
        views: &[View],
        version: Version,
        at: Time,
    ) -> Result<RecordBatch, Error> {
        let known = format!("{VALID_AT} <= {}", sql::instant(at));
        let mut windows: Vec<(String, RecordBatch)> = Vec::new();
        for view in views.iter().filter(|view| view.kind() == ViewKind::Windows) {
            // What nobody asks for isn't computed.
            if mentions(query, view.name()) {
                windows.push((view.name().to_owned(), self.windows_at(view, version, at).await?));
            }
        }
        let mut tables: Vec<(&str, &str, Table)> = Vec::new();
        tables.extend(objects.sources.keys().map(|name| ("source", name.as_str(), Table::source(name))));
        let rows = views.iter().filter(|view| view.kind() != ViewKind::Windows);
        tables.extend(rows.map(|view| ("view", view.name(), view.table())));
        tables.extend(objects.sources.keys().map(|name| ("dead", name.as_str(), Table::dead(name))));
        tables.extend(
            objects.models.keys().map(|name| ("predictions", name.as_str(), Table::predictions(name))),
        );
        let mut script = String::new();
        let mut paths = Vec::new();
        for (schema, name, table) in tables {
            let scan = self.scan(&table, CommitRange::upto(version)).await?;
            let declared = match schema {
                "source" => objects.sources.get(name).map(source_schema),
                "view" => views.iter().find(|view| view.name() == name).map(View::schema),
                _ => None,
            };
            let Some(rows) = declared.map(|schema| scan.rows(&schema, &known)).or_else(|| scan.any_rows())
            else {
                continue;
            };
            let _ =
                writeln!(script, "CREATE VIEW {}.{} AS SELECT * FROM {rows};", quoted(schema), quoted(name));
            if matches!(schema, "source" | "view") {
                let _ = writeln!(
                    script,
                    "CREATE VIEW {name} AS FROM {}.{name};",
                    quoted(schema),
                    name = quoted(name)
                );
            }
            paths.extend(scan.paths().cloned());
        }
        let paths: Vec<String> = paths.iter().map(|path| sql::text(&path.to_string_lossy())).collect();
        let _ = writeln!(
            script,
            "SET allowed_paths = [{}]; SET enable_external_access = false;",
            paths.join(", ")
        );
        script.push_str("SET lock_configuration = true;");
        let query = query.to_owned();
        self.duck
            .apart("running the query", move |session| {
                for (place, (name, values)) in windows.iter().enumerate() {
                    session.load(&format!("_windows_{place}"), values)?;
                    script.insert_str(0, &window_view(name, place));
                }
                session.execute(&format!("{SCHEMAS}{script}"))?;
                session.query(&query)
            })
            .await
    }
}

const SCHEMAS: &str =
    "CREATE SCHEMA source; CREATE SCHEMA \"view\"; CREATE SCHEMA dead; CREATE SCHEMA predictions;\n";

/// A window view by its names, over the table that holds its values.
fn window_view(name: &str, place: usize) -> String {
    let name = quoted(name);
    format!(
        "CREATE VIEW \"view\".{name} AS FROM _windows_{place};\nCREATE VIEW {name} AS FROM \"view\".{name};\n"
    )
}

/// Whether a query may name a table: the name stands in it as a word, in whatever case.
fn mentions(query: &str, name: &str) -> bool {
    let words = query.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
    words.into_iter().any(|word| word.eq_ignore_ascii_case(name))
}

/// Rows of a file, without a lake: Parquet, CSV or JSON lines, by its name's end. Naive instants are UTC. A CSV says
/// nothing of types: its columns are text, the first line is their names. Of JSON all rows have a say in the types.
pub async fn read_file(path: &Path) -> Result<RecordBatch, Error> {
    let file = sql::text(&path.to_string_lossy());
    let reader = match format_of(path)? {
        Format::Parquet => format!("read_parquet({file})"),
        // Nothing of the dialect is guessed either: a line that lacks a column would make it another one.
        Format::Csv => {
            let column = |name: &String| format!("{}: 'VARCHAR'", sql::text(name));
            let columns: Vec<String> = foreign::header(path)?.iter().map(column).collect();
            format!(
                "read_csv({file}, auto_detect = false, header = true, delim = ',', quote = '\"', escape = '\"', columns = {{{}}})",
                columns.join(", ")
            )
        }
        Format::Json => format!("read_json({file}, sample_size = -1)"),
    };
    let statement = format!("SELECT * FROM {reader}");
    let duck = Duck::open(&LakeOptions::default())?;
    let rows = foreign::read(&duck, path, move |session| session.query(&statement)).await?;
    declared_types(&rows)
}

/// How a file is written.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Format {
    Parquet,
    Csv,
    Json,
}

impl Format {
    /// As people call it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Parquet => "Parquet",
            Self::Csv => "CSV",
            Self::Json => "JSON lines",
        }
    }
}

/// By the end of its name.
pub(crate) fn format_of(path: &Path) -> Result<Format, Error> {
    match path.extension().and_then(OsStr::to_str) {
        Some("parquet" | "pq") => Ok(Format::Parquet),
        Some("csv") => Ok(Format::Csv),
        Some("jsonl" | "ndjson" | "json") => Ok(Format::Json),
        _ => {
            let message = format!("`{}` is neither .parquet, .csv nor .jsonl", path.display());
            Err(Error::invalid(608, message))
        }
    }
}

fn nothing() -> RecordBatch {
    RecordBatch::new_empty(Arc::new(Schema::empty()))
}

fn statement(read: &Read, rows: &str, keys: &[String], columns: &[String]) -> String {
    let known = |name: &&str| columns.iter().any(|column| column == name);
    let order: Vec<&str> = [VALID_AT, CREATED_AT, SEQ].into_iter().filter(known).collect();
    let directed = |direction: &str| {
        let order: Vec<String> = order.iter().map(|name| format!("{}{direction}", quoted(name))).collect();
        order.join(", ")
    };
    let selected = read.columns.as_ref().map_or("*".to_owned(), sql::list);
    let mut statement = format!("SELECT {selected} FROM {rows} WHERE {}", condition(&read.filter));
    if let Some(last) = read.filter.last
        && !order.is_empty()
    {
        // Which rows are the last is decided before they are put in order.
        let newest = format!(
            "FROM {rows} WHERE {} ORDER BY {} LIMIT {last}",
            condition(&read.filter),
            directed(" DESC")
        );
        statement = format!("SELECT {selected} FROM (SELECT * {newest})");
    }
    let sorted: Vec<String> = keys.iter().map(|key| quoted(key)).filter(|_| !order.is_empty()).collect();
    let sorted = sorted.into_iter().chain(order.iter().map(|name| quoted(name))).collect::<Vec<_>>();
    if sorted.is_empty() { statement } else { format!("{statement} ORDER BY {}", sorted.join(", ")) }
}

fn condition(filter: &Filter) -> String {
    let mut conditions = vec!["true".to_owned()];
    if let Some((column, from, to)) = &filter.between {
        let column = quoted(column);
        conditions.push(format!("{column} >= {} AND {column} < {}", sql::instant(*from), sql::instant(*to)));
    }
    conditions.extend(filter.equal.iter().map(|(name, value)| {
        let value = if value.is_null() { "NULL".to_owned() } else { sql::text(&value.to_string()) };
        // Compared in the column's own type, so that `2013-06-01` meets a date.
        format!("{name} IS NOT DISTINCT FROM {value}", name = quoted(name))
    }));
    conditions.join(" AND ")
}

/// Columns in the types that can be declared; others as they are.
fn declared_types(batch: &RecordBatch) -> Result<RecordBatch, Error> {
    let columns = batch
        .schema()
        .fields()
        .iter()
        .zip(batch.columns())
        .map(|(field, array)| {
            let array =
                type_of(array.data_type()).map_or_else(|| Ok(Arc::clone(array)), |ty| normal(array, ty))?;
            Ok((field.name().clone(), array, true))
        })
        .collect::<Result<Vec<_>, tidemill_rows::Error>>()?;
    if columns.is_empty() {
        return Ok(batch.clone());
    }
    Ok(RecordBatch::try_from_iter_with_nullable(columns).map_err(tidemill_rows::Error::from)?)
}
