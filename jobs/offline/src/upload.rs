//! Digests one chunk of a file: every row is typed and judged by one DuckDB statement, whatever the format.
//!
//! Text formats come in as a batch of text columns, already split into rows by `ingest`; Parquet is read in place
//! and turned into text first, so that the three formats can't disagree. Nothing is dropped: a row goes either to
//! [`Digest::rows`] or, with its reason, to [`Digest::dead`].

mod reading;
pub(crate) mod text;

use std::{
    collections::HashMap,
    fmt::Write as _,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use arrow::{
    array::{
        Array, ArrayRef, AsArray as _, BooleanArray, Int64Array, RecordBatch, StringArray,
        TimestampMicrosecondArray,
    },
    compute,
    datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimestampMicrosecondType},
    error::ArrowError,
};
use duckdb::{Connection, Params, Statement};
use tidemill_core::Time;
use tidemill_rows::{CREATED_AT, DELETED, SEQ, VALID_AT, arrow_type};
use tidemill_spec::{Column, Source, Type};

use crate::{
    Error, Lake, Table,
    error::words,
    sql::{self, fill, quoted},
};
use reading::Reading;
use text::{as_text, infinite, nan, no_text, typed};

/// What a chunk's rows are read from.
#[derive(Clone, Debug)]
pub enum ChunkInput {
    /// Rows split from a CSV: `_row` and `_line` (int64), then the source's columns (text), each present, in its order.
    Csv(RecordBatch),
    /// Rows split from lines of JSON, likewise.
    Json(RecordBatch),
    /// Rows of a Parquet file.
    Parquet {
        /// The local file.
        path: PathBuf,
        /// Rows, from 0.
        rows: Range<u64>,
        /// The file's column for each of the source's, in its order; those without one are null.
        columns: Vec<Option<String>>,
        /// What it has beyond them.
        extra: Vec<String>,
    },
}

/// What is written into every row of an upload, or of a batch of a stream.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    /// The data clock at acceptance.
    pub created_at: Time,
    /// The `seq` of row 0; row n has n more.
    pub first_seq: i64,
}

impl Stamp {
    /// Of an upload: `seq` is ordinal · 2^40 + row.
    pub fn of_upload(created_at: Time, ordinal: i64) -> Self {
        Self { created_at, first_seq: ordinal << 40 }
    }

    /// Of a batch of a stream, whose rows are numbered by [`StreamPlace::row`]: `seq` is 2^62 and that number, where no
    /// upload's is.
    pub fn of_stream(created_at: Time) -> Self {
        Self { created_at, first_seq: 1 << 62 }
    }

    /// The `seq` of a row.
    pub fn seq(&self, row: i64) -> i64 {
        self.first_seq + row
    }
}

/// Where a record of a source's stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamPlace {
    /// Which of the topics that the source has read it is, of those with this partition; up to 63.
    pub generation: i16,
    /// The partition; up to 4,095.
    pub partition: i32,
    /// The offset; below 2^44.
    pub offset: i64,
}

impl StreamPlace {
    /// Bits of the number that are the offset.
    const OFFSET: u32 = 44;
    /// Bits of the number that are the partition.
    const PARTITION: u32 = 12;

    /// Its number among all records of the source: generation · 2^56 + partition · 2^44 + offset. In the order of offsets.
    pub fn row(self) -> i64 {
        let of = (i64::from(self.generation) << Self::PARTITION) + i64::from(self.partition);
        (of << Self::OFFSET) + self.offset
    }

    /// The place that has this number.
    pub fn of_row(row: i64) -> Self {
        let of = row >> Self::OFFSET;
        let (generation, partition) = (of >> Self::PARTITION, of & ((1 << Self::PARTITION) - 1));
        Self {
            generation: i16::try_from(generation).unwrap_or(i16::MAX),
            partition: i32::try_from(partition).unwrap_or(i32::MAX),
            offset: row & ((1 << Self::OFFSET) - 1),
        }
    }

    /// Generation and partition of rows of which [`seq`](Stamp::seq) `>> 40` is this; none where it is an upload's ordinal.
    pub fn of_ordinal(ordinal: i64) -> Option<Self> {
        let row = (ordinal << 40).checked_sub(1 << 62).filter(|row| *row >= 0)?;
        Some(Self { offset: 0, ..Self::of_row(row) })
    }
}

/// A digested chunk.
#[derive(Clone, Debug)]
pub struct Digest {
    /// Valid rows: the source's columns, `valid_at`, `created_at`, `seq`, `deleted`.
    pub rows: RecordBatch,
    /// Bad rows, in the file's order.
    pub dead: Vec<DeadRow>,
    /// Some timestamp came without a zone and was read as UTC.
    pub naive_timestamps: bool,
    /// The newest event time of the valid rows.
    pub newest_event_at: Option<Time>,
}

/// A row that could not be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadRow {
    /// Data row in the file, from 0; of a stream, the record's [number](StreamPlace::row).
    pub row: i64,
    /// Line in a text file, from 1.
    pub line: Option<i64>,
    /// The first column that is bad; none where the row can't be split into columns.
    pub column: Option<String>,
    /// What is wrong, all of it.
    pub reason: String,
    /// The row as JSON: an object, or text where it can't be split into columns.
    pub raw: String,
}

/// Types and judges the rows of a chunk.
///
/// # Errors
/// When DuckDB can't read the file; never because of a row.
pub fn digest(
    connection: &Connection,
    input: ChunkInput,
    source: &Source,
    stamp: Stamp,
) -> Result<Digest, duckdb::Error> {
    let statement = statement(&input, source, &types_of(connection, &input)?);
    let judged = match input {
        ChunkInput::Csv(batch) | ChunkInput::Json(batch) => {
            let table = text_table(source);
            connection.execute_batch(&text_table_sql(source))?;
            connection.appender(&table)?.append_record_batch(batch)?;
            // A file of a few rows takes longer to plan than to read, and the next one has the same plan.
            let judged = collect(&mut *connection.prepare_cached(&statement)?, [])?;
            connection.execute_batch(&format!("TRUNCATE {table}"))?;
            judged
        }
        ChunkInput::Parquet { path, rows, .. } => {
            let place = duckdb::params![path.to_string_lossy(), rows.start, rows.end];
            collect(&mut connection.prepare(&statement)?, place)?
        }
    };
    split(&judged, source, stamp).map_err(arrow_failed)
}

fn collect(prepared: &mut Statement<'_>, parameters: impl Params) -> Result<RecordBatch, duckdb::Error> {
    let batches: Vec<RecordBatch> = prepared.query_arrow(parameters)?.collect();
    let schema = batches.first().map_or_else(|| prepared.schema(), RecordBatch::schema);
    compute::concat_batches(&schema, &batches).map_err(arrow_failed)
}

/// A dead letter as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// What it came with: the upload, or the topic.
    pub origin: String,
    /// The data clock when that was accepted.
    pub created_at: Time,
    /// The row.
    pub row: DeadRow,
}

impl Lake {
    /// [`digest`] on a connection of the lake's.
    pub async fn digest(&self, input: ChunkInput, source: Source, stamp: Stamp) -> Result<Digest, Error> {
        let doing = format!("digesting a chunk for source `{}`", source.name);
        self.duck
            .run_kept(doing, move |session| Ok(digest(session.connection()?, input, &source, stamp)?))
            .await
    }

    /// Dead letters of a source that are left, with what they came from and when they were accepted: newest first, then in
    /// the order of their rows.
    pub async fn dead_letters(&self, source: &str, limit: u32) -> Result<Vec<Letter>, Error> {
        let files = self.files(&Table::dead(source), self.head().await?).await?;
        if files.is_empty() {
            return Ok(Vec::new());
        }
        let mut paths = Vec::new();
        for file in files {
            paths.push(sql::text(&self.blobs.fetch(&file.path).await?.to_string_lossy()));
        }
        let holes = [("files", &*paths.join(", ")), ("limit", &*limit.to_string())];
        let sql = fill(include_str!("../queries/upload/dead_letters.sql"), &holes);
        let letters = self.duck.run(format!("reading dead letters of `{source}`"), move |session| {
            let mut statement = session.connection()?.prepare(&sql)?;
            let letter = |row: &duckdb::Row<'_>| {
                let dead = DeadRow {
                    row: row.get(1)?,
                    line: row.get(2)?,
                    column: row.get(3)?,
                    reason: row.get(4)?,
                    raw: row.get(5)?,
                };
                let created_at = Time::from_timestamp_micros(row.get(6)?).unwrap_or_default();
                Ok(Letter { origin: row.get(0)?, created_at, row: dead })
            };
            Ok(statement.query_map([], letter)?.collect::<Result<Vec<_>, duckdb::Error>>()?)
        });
        letters.await
    }
}

/// What a Parquet file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outline {
    /// Its columns, in its order.
    pub columns: Vec<String>,
    /// Rows of each of its row groups, in its order.
    pub row_groups: Vec<u64>,
}

/// Reads what a Parquet file says of itself.
///
/// # Errors
/// When it isn't one: DuckDB's words on it.
pub fn parquet_outline(path: &Path) -> Result<Outline, String> {
    outline(path).map_err(|error| words(&error).replace(&*path.to_string_lossy(), "the file"))
}

fn outline(path: &Path) -> Result<Outline, duckdb::Error> {
    let connection = Connection::open_in_memory()?;
    let path = path.to_string_lossy();
    let columns = connection
        .prepare("SELECT column_name FROM (DESCRIBE SELECT * FROM read_parquet(?))")?
        .query_map([&path], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let row_groups = connection
        .prepare(
            "SELECT any_value(row_group_num_rows) FROM parquet_metadata(?) GROUP BY row_group_id ORDER BY row_group_id",
        )?
        .query_map([&path], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    Ok(Outline { columns, row_groups })
}

/// Files of this machine that a path or glob names, by name.
pub fn files_of(pattern: &str) -> Result<Vec<String>, duckdb::Error> {
    Connection::open_in_memory()?
        .prepare("SELECT file FROM glob(?) ORDER BY file")?
        .query_map([pattern], |row| row.get(0))?
        .collect()
}

/// Dead letters as rows of their lake table; `origin` is the upload, or the topic. `told_at` (real time) orders what is said
/// of one row; `deleted` takes it back.
pub fn dead_batch(
    origin: &str,
    stamp: Stamp,
    dead: &[DeadRow],
    told_at: Time,
    deleted: bool,
) -> Result<RecordBatch, ArrowError> {
    let numbers = |of: &dyn Fn(&DeadRow) -> Option<i64>| -> ArrayRef {
        Arc::new(dead.iter().map(of).collect::<Int64Array>())
    };
    let texts = |of: &dyn Fn(&DeadRow) -> Option<String>| -> ArrayRef {
        Arc::new(dead.iter().map(of).collect::<StringArray>())
    };
    let instants = |at: Time| -> ArrayRef {
        Arc::new(
            TimestampMicrosecondArray::from(vec![at.timestamp_micros(); dead.len()]).with_timezone("UTC"),
        )
    };
    let columns = vec![
        texts(&|_| Some(origin.to_owned())),
        numbers(&|letter| Some(letter.row)),
        numbers(&|letter| letter.line),
        texts(&|letter| letter.column.clone()),
        texts(&|letter| Some(letter.reason.clone())),
        texts(&|letter| Some(letter.raw.clone())),
        instants(stamp.created_at),
        instants(told_at),
        numbers(&|letter| Some(stamp.seq(letter.row))),
        Arc::new(BooleanArray::from(vec![deleted; dead.len()])),
    ];
    RecordBatch::try_new(dead_schema(), columns)
}

/// The columns of a table of dead letters.
pub(crate) fn dead_schema() -> SchemaRef {
    let letter = [
        ("upload", Type::String),
        ("row", Type::Int),
        ("line", Type::Int),
        ("column", Type::String),
        ("reason", Type::String),
        ("raw", Type::String),
    ];
    let system =
        [(VALID_AT, Type::Timestamp), (CREATED_AT, Type::Timestamp), (SEQ, Type::Int), (DELETED, Type::Bool)];
    let fields = letter.map(|(name, ty)| Field::new(name, arrow_type(ty), true)).into_iter();
    let system = system.map(|(name, ty)| Field::new(name, arrow_type(ty), false));
    Schema::new(fields.chain(system).collect::<Vec<_>>()).into()
}

#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` gives")]
fn arrow_failed(error: ArrowError) -> duckdb::Error {
    duckdb::Error::ArrowTypeToDuckdbType(error.to_string(), DataType::Null)
}

/// Types in DuckDB of the columns of a Parquet file, by name; of text there is nothing to ask.
fn types_of(connection: &Connection, input: &ChunkInput) -> Result<HashMap<String, String>, duckdb::Error> {
    let ChunkInput::Parquet { path, .. } = input else { return Ok(HashMap::new()) };
    connection
        .prepare("SELECT column_name, column_type FROM (DESCRIBE SELECT * FROM read_parquet(?))")?
        .query_map([path.to_string_lossy()], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

fn statement(input: &ChunkInput, source: &Source, types: &HashMap<String, String>) -> String {
    let columns = || source.columns.iter();
    let csv = matches!(input, ChunkInput::Csv(_)).then_some(&source.csv);
    let list = |of: &dyn Fn(&str, &Column) -> String| {
        columns().map(|(name, column)| of(name, column)).collect::<Vec<_>>().join(",\n    ")
    };
    let timestamps = columns().filter(|(_, column)| column.ty == Type::Timestamp);
    let naive = timestamps.map(|(name, column)| Reading { column, csv }.naive(&read(name), &quoted(name)));
    let firsts =
        list(&|name, _| format!("CASE WHEN {} IS NOT NULL THEN {} END", fault(name), sql::text(name)));
    let texts = list(&|name, column| {
        let text = quoted(name);
        format!("{text} AS {}, {} AS {}", raw(name), Reading { column, csv }.text(&text), read(name))
    });
    let deleted = source.deleted.as_deref().map(|name| format!("coalesce({}, false)", quoted(name)));
    fill(
        include_str!("../queries/upload/digest.sql"),
        &[
            ("input", &input_sql(input, source, types)),
            ("texts", &texts),
            (
                "typed",
                &list(&|name, column| {
                    format!("{} AS {}", Reading { column, csv }.value(&read(name)), quoted(name))
                }),
            ),
            (
                "faults",
                &list(&|name, column| {
                    format!("{} AS {}", judged(name, Reading { column, csv }, source), fault(name))
                }),
            ),
            ("columns", &list(&|name, _| quoted(name))),
            ("event", &quoted(&source.event_time)),
            ("available", &quoted(&source.available_time)),
            ("deleted", deleted.as_deref().unwrap_or("false")),
            ("naive", &naive.fold("false".to_owned(), |all, one| all + " OR " + &one)),
            ("first", &format!("coalesce({firsts}, NULL)")),
            ("reasons", &list(&|name, _| fault(name))),
            ("raw", &list(&|name, _| format!("{}, {}", sql::text(name), raw(name)))),
        ],
    )
}

/// The temporary table for rows of text: one for all sources with so many columns.
fn text_table(source: &Source) -> String {
    format!("text_of_{}", source.columns.len())
}

fn text_table_sql(source: &Source) -> String {
    let columns: String = (0..source.columns.len()).map(|place| format!(", c{place} VARCHAR")).collect();
    format!("CREATE TEMP TABLE IF NOT EXISTS {} (_row BIGINT, _line BIGINT{columns})", text_table(source))
}

/// Every column of the source as text, with its place in the file.
fn input_sql(input: &ChunkInput, source: &Source, types: &HashMap<String, String>) -> String {
    match input {
        ChunkInput::Csv(_) | ChunkInput::Json(_) => {
            let names = source.columns.keys().enumerate();
            let columns: String =
                names.map(|(place, name)| format!(", c{place} AS {}", quoted(name))).collect();
            format!("SELECT _row, _line{columns} FROM {}", text_table(source))
        }
        ChunkInput::Parquet { columns, extra, .. } => {
            let mut sql = "SELECT file_row_number AS _row, NULL::BIGINT AS _line".to_owned();
            for ((name, column), in_file) in source.columns.iter().zip(columns) {
                let found = in_file.as_ref().and_then(|in_file| Some((in_file, types.get(in_file)?)));
                let value = match found {
                    Some((in_file, ty)) => as_text(&quoted(in_file), ty, column.ty),
                    None if source.kept() == Some(name) => extra_sql(extra, types),
                    None => "NULL::VARCHAR".to_owned(),
                };
                let _ = write!(sql, ",\n        {value} AS {}", quoted(name));
            }
            sql + "\n    FROM read_parquet(?, file_row_number = true)\n    WHERE file_row_number >= ? AND file_row_number < ?"
        }
    }
}

/// What a row has beyond the declared columns, as the text of a JSON object in the order of names; null where it has
/// nothing.
fn extra_sql(extra: &[String], types: &HashMap<String, String>) -> String {
    let entries = extra.iter().map(|name| {
        let column = quoted(name);
        let there = match types.get(name).map(String::as_str) {
            // JSON has no other floats.
            Some("FLOAT" | "DOUBLE") => format!("coalesce(isfinite({column}), false)"),
            _ => format!("{column} IS NOT NULL"),
        };
        format!("{{'name': {}, 'value': CASE WHEN {there} THEN to_json({column}) END}}", sql::text(name))
    });
    let entries = entries.collect::<Vec<_>>().join(", ");
    if entries.is_empty() {
        return "NULL::VARCHAR".to_owned();
    }
    format!(
        "nullif(CAST(to_json(map_from_entries(list_filter([{entries}], lambda of: of.value IS NOT NULL))) AS VARCHAR), '{{}}')"
    )
}

/// What is wrong with a column of a row, as text; null: nothing.
fn judged(name: &str, reading: Reading<'_>, source: &Source) -> String {
    let column = reading.column;
    let (text, value) = (read(name), quoted(name));
    let written = format!("left(trim({}), 40)", raw(name));
    let words = |words: &str| sql::text(&format!("{} {words}", column.told(name)));
    let mut cases = Vec::new();
    if column.ty == Type::String {
        let reason = words("is not valid text: it holds a NUL character, or bytes that are not UTF-8");
        cases.push(format!("WHEN {} THEN {reason}", no_text(&text)));
    }
    let not_finite = words("is not a finite number: ");
    if column.ty.is_number() {
        // What is no number is missing, where something may be: tables that hold a null write ints as floats.
        let missing = if column.nullable { "NULL".to_owned() } else { format!("{not_finite} || {written}") };
        cases.push(format!("WHEN {} THEN {missing}", nan(&text)));
    }
    if matches!(column.ty, Type::Float | Type::Decimal(_)) {
        cases.push(format!("WHEN {} THEN {not_finite} || {written}", infinite(&text)));
    }
    if column.ty != Type::String {
        let reason = words(&format!("should be {}, but is `", column.ty));
        let other =
            format!("{reason} || {written} || '`'{}", reading.advice(&format!("trim({})", raw(name))));
        let reason = match column.ty {
            Type::List { of, length: Some(length) } => {
                let count = format!("len({})", typed(&text, Type::List { of, length: None }));
                let reason = words(&format!("should be {}, but has ", column.ty));
                format!(
                    "CASE WHEN {count} <> {length} THEN {reason} || {count} || ' values' ELSE {other} END"
                )
            }
            _ => other,
        };
        cases.push(format!("WHEN {text} IS NOT NULL AND {value} IS NULL THEN {reason}"));
    }
    if !column.nullable || source.is_time(name) {
        // Where keys name rows, a deletion says which one is gone, and when: that must be there, the rest need not.
        let named = !source.unique.is_empty();
        let gone = source.deleted.as_deref().filter(|_| named && !source.names_a_row(name));
        let unless =
            gone.map_or_else(String::new, |gone| format!(" AND NOT coalesce({}, false)", quoted(gone)));
        cases.push(format!("WHEN {value} IS NULL{unless} THEN {}", words("is null")));
    }
    for (bound, operator, side) in
        [(&column.min, '<', "below the minimum"), (&column.max, '>', "above the maximum")]
    {
        if let Some(bound) = bound {
            let limit = format!("CAST({} AS {})", sql::text(&bound.to_string()), column.ty.duckdb());
            let reason = words(&format!("is {side} {bound}: "));
            cases.push(format!("WHEN {value} {operator} {limit} THEN {reason} || {written}"));
        }
    }
    if cases.is_empty() { "NULL::VARCHAR".to_owned() } else { format!("CASE {} END", cases.join(" ")) }
}

/// A column as it was written.
fn raw(name: &str) -> String {
    quoted(&format!("_raw {name}"))
}

/// A column as the text that is read as a value.
fn read(name: &str) -> String {
    quoted(&format!("_text {name}"))
}

fn fault(name: &str) -> String {
    quoted(&format!("_fault {name}"))
}

/// Parts good rows from bad ones and stamps the good.
fn split(batch: &RecordBatch, source: &Source, stamp: Stamp) -> Result<Digest, ArrowError> {
    let column = |name: &str| {
        batch.column_by_name(name).ok_or_else(|| ArrowError::SchemaError(format!("no column {name}")))
    };
    let reasons = column("_column")?;
    let good: BooleanArray = (0..batch.num_rows()).map(|row| Some(reasons.is_null(row))).collect();
    let kept = |name: &str, ty: &DataType| -> Result<ArrayRef, ArrowError> {
        compute::filter(&compute::cast(column(name)?, ty)?, &good)
    };
    let instant = DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, Some("UTC".into()));

    let mut fields = Vec::new();
    let mut arrays = Vec::new();
    for (name, declared) in &source.columns {
        let array = kept(name, &arrow_type(declared.ty))?;
        fields.push(Field::new(name, array.data_type().clone(), true));
        arrays.push(array);
    }
    let rows = kept("_row", &DataType::Int64)?;
    let seqs = Int64Array::from_iter_values(
        rows.as_primitive::<Int64Type>().values().iter().map(|row| stamp.seq(*row)),
    );
    // What a row's own column says of it, where one is declared, is read from there (`scan.rs`).
    let created = vec![stamp.created_at.timestamp_micros(); rows.len()];
    let created = Arc::new(TimestampMicrosecondArray::from(created).with_timezone("UTC"));
    let system: [(&str, ArrayRef); 4] = [
        ("valid_at", kept("_available", &instant)?),
        ("created_at", created),
        ("seq", Arc::new(seqs)),
        ("deleted", kept("_deleted", &DataType::Boolean)?),
    ];
    for (name, array) in system {
        fields.push(Field::new(name, array.data_type().clone(), false));
        arrays.push(array);
    }
    let events = kept("_event", &instant)?;
    let newest = compute::max(events.as_primitive::<TimestampMicrosecondType>());
    let naive = compute::cast(column("_naive")?, &DataType::Boolean)?;
    Ok(Digest {
        rows: RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?,
        dead: dead_rows(batch)?,
        naive_timestamps: compute::max_boolean(naive.as_boolean()).unwrap_or(false),
        newest_event_at: newest.and_then(Time::from_timestamp_micros),
    })
}

fn dead_rows(batch: &RecordBatch) -> Result<Vec<DeadRow>, ArrowError> {
    let numbers = |name: &str| -> Result<Int64Array, ArrowError> {
        Ok(compute::cast(&batch[name], &DataType::Int64)?.as_primitive::<Int64Type>().clone())
    };
    let texts = |name: &str| -> Result<StringArray, ArrowError> {
        Ok(compute::cast(&batch[name], &DataType::Utf8)?.as_string::<i32>().clone())
    };
    let (rows, lines) = (numbers("_row")?, numbers("_line")?);
    let (columns, reasons, raw) = (texts("_column")?, texts("_reason")?, texts("_raw")?);
    Ok((0..batch.num_rows())
        .filter(|row| columns.is_valid(*row))
        .map(|row| DeadRow {
            row: rows.value(row),
            line: lines.is_valid(row).then(|| lines.value(row)),
            column: Some(columns.value(row).to_owned()),
            reason: reasons.value(row).to_owned(),
            raw: raw.value(row).to_owned(),
        })
        .collect())
}

#[cfg(test)]
mod tests;
