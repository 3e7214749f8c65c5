//! Rows of files that people bring: the columns that find features are read as uploads read them, the others are what
//! all their values are.
//!
//! A CSV says nothing of types, and a guess that is wrong changes a value without a word: the key `007` would be a 7,
//! an id beyond 2^53 a float. So text is split as uploads are, declared columns are typed by the same reading that
//! typed the rows they must meet, and of the others one is a number only where each of its values is written as one.

use std::{borrow::Cow, collections::HashMap, fs, path::Path, sync::Arc};

use arrow::{
    array::{ArrayRef, RecordBatch, RecordBatchOptions, StringBuilder},
    datatypes::{DataType, Field, Schema},
};
use indexmap::IndexMap;
use tidemill_core::Fault;
use tidemill_rows::{
    text::{
        csv_fields,
        frame::{Dialect, Framing, frames},
        json_fields,
    },
    type_of,
    value::normal,
};
use tidemill_spec::Type;

use crate::{
    Error, Lake,
    duck::{Failure, Session},
    foreign::{self, Format, format_of},
    sql::{quoted, text},
    upload::text::{WITH_ZONE, as_text, naive, no_text, stored_as, text_of, typed},
};

/// Rows of a file of labels, in its order.
#[derive(Clone, Debug)]
pub struct LabelFile {
    /// All its columns.
    pub rows: RecordBatch,
    /// Some typed timestamp came without a zone and was read as UTC.
    pub naive_timestamps: bool,
}

impl Lake {
    /// The names of the columns of a Parquet, CSV or JSON lines file.
    ///
    /// # Errors
    /// The file can't be read.
    pub async fn file_columns(&self, path: &Path) -> Result<Vec<String>, Error> {
        let file = path.to_path_buf();
        foreign::read(&self.duck, path, move |session| match format_of(&file)? {
            // What it says of itself is enough.
            Format::Parquet => Ok(described(session, &read_parquet(&file))?.into_keys().collect()),
            Format::Csv | Format::Json => Ok(columns_of(session, &file)?.into_keys().collect()),
        })
        .await
    }

    /// Rows of a Parquet, CSV or JSON lines file with some of its columns in declared types.
    ///
    /// # Errors
    /// The file can't be read, or a value isn't of its column's type.
    pub async fn label_file(&self, path: &Path, types: &IndexMap<String, Type>) -> Result<LabelFile, Error> {
        let (file, types) = (path.to_path_buf(), types.clone());
        foreign::read(&self.duck, path, move |session| read(session, &file, &types)).await
    }
}

/// Rows of a file, its columns of `types` as declared.
pub(crate) fn read(
    session: &Session,
    path: &Path,
    types: &IndexMap<String, Type>,
) -> Result<LabelFile, Failure> {
    let columns = columns_of(session, path)?;
    let (mut selected, mut naives) = (Vec::new(), vec!["false".to_owned()]);
    for (name, column) in &columns {
        let wanted = types.get(name).copied().unwrap_or(Type::String);
        let text = as_text(&quoted(name), &column.ty, wanted);
        let stored = types.get(name).and_then(|ty| stored_as(&quoted(name), &column.ty, *ty));
        let value = match (types.get(name), stored) {
            (Some(ty), Some(value)) => {
                refuse_other_types(session, name, *ty, (&quoted(name), &text), &value)?;
                if *ty == Type::Timestamp && column.ty != WITH_ZONE {
                    naives.push(format!("{} IS NOT NULL", quoted(name)));
                }
                value
            }
            (Some(ty), None) => {
                let (text, value) = (text_of(&text, *ty), typed(&text_of(&text, *ty), *ty));
                refuse_other_types(session, name, *ty, (&text, &text), &value)?;
                if *ty == Type::Timestamp {
                    naives.push(naive(&text, &value));
                }
                value
            }
            (None, _) if column.written => typed(&text, written_as(session, name, column.quoted)?),
            (None, _) => quoted(name),
        };
        selected.push(format!("{value} AS {}", quoted(name)));
    }
    if selected.is_empty() {
        return Err(unreadable("it has no columns", None).into());
    }
    let rows = session.query(&format!("SELECT {} FROM _file ORDER BY rowid", selected.join(", ")))?;
    let naive = session.count(&format!("SELECT count(*) FROM _file WHERE {}", naives.join(" OR ")))?;
    Ok(LabelFile { rows: in_declared_types(&rows)?, naive_timestamps: naive > 0 })
}

/// Columns in the types that can be declared; others as they are.
fn in_declared_types(rows: &RecordBatch) -> Result<RecordBatch, tidemill_rows::Error> {
    let schema = rows.schema();
    let columns = schema.fields().iter().zip(rows.columns()).map(|(field, array)| {
        let array =
            type_of(array.data_type()).map_or_else(|| Ok(Arc::clone(array)), |ty| normal(array, ty))?;
        Ok((field.name().clone(), array, true))
    });
    let columns = columns.collect::<Result<Vec<_>, tidemill_rows::Error>>()?;
    Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
}

/// A key that can't be read would be a null, and a null finds nothing: silence about a typing error. `found`: what is there
/// and not null, and its text.
fn refuse_other_types(
    session: &Session,
    name: &str,
    ty: Type,
    (found, text): (&str, &str),
    value: &str,
) -> Result<(), Failure> {
    let bad = if ty == Type::String { no_text(text) } else { format!("{value} IS NULL") };
    let wrong = session.query(&format!(
        "SELECT rowid + 1 AS row, left({text}, 40) AS found FROM _file \
         WHERE {found} IS NOT NULL AND {bad} ORDER BY rowid LIMIT 1"
    ))?;
    let wrong = tidemill_rows::rows_of(&wrong)?;
    let Some(wrong) = wrong.first() else { return Ok(()) };
    let found = wrong["found"].to_string().replace('\0', "\\0");
    let message = format!("`{name}` should be {ty}, but is `{found}` in row {}", wrong["row"]);
    Err(Error::invalid(609, message).into())
}

/// What all values of a column of text are written as; text where they differ, or where a number would come out
/// otherwise than it was written: `007`, an int beyond 2^53 among decimals. `quoted`: one of them was text in JSON.
fn written_as(session: &Session, name: &str, quoted_text: bool) -> Result<Type, Failure> {
    let name = quoted(name);
    let all = |condition: String| format!("coalesce(bool_and({condition}), false)");
    let value = |ty| format!("{} IS NOT NULL", typed(&name, ty));
    let int = format!("regexp_full_match({name}, '-?(0|[1-9]\\d*)')");
    let exact = format!("abs(TRY_CAST({name} AS BIGINT)) < 9007199254740992");
    let decimal = format!("regexp_full_match({name}, '-?(0|[1-9]\\d*)(\\.\\d+)?([eE][+-]?\\d+)?')");
    let candidates = [
        (Type::Int, format!("{int} AND {}", value(Type::Int))),
        (Type::Float, format!("{decimal} AND (NOT {int} OR {exact}) AND {}", value(Type::Float))),
        (Type::Bool, format!("lower({name}) IN ('true', 'false')")),
        (
            Type::Date,
            format!("regexp_full_match({name}, '\\d{{4}}-\\d\\d-\\d\\d') AND {}", value(Type::Date)),
        ),
        (Type::Timestamp, value(Type::Timestamp)),
    ];
    for (ty, condition) in candidates {
        let number = !matches!(ty, Type::Date | Type::Timestamp);
        if quoted_text && number {
            continue;
        }
        let given = format!("SELECT CAST({} AS BIGINT) FROM _file WHERE {name} IS NOT NULL", all(condition));
        if session.count(&given)? == 1 {
            return Ok(ty);
        }
    }
    Ok(Type::String)
}

/// A column of `_file`.
struct Column {
    /// Its type in DuckDB.
    ty: String,
    /// Whether it is text that may stand for something else.
    written: bool,
    /// Whether some of it was text in JSON.
    quoted: bool,
}

/// Makes the table `_file` of a file, and says which columns it has, in its order.
fn columns_of(session: &Session, path: &Path) -> Result<IndexMap<String, Column>, Failure> {
    let table = match format_of(path)? {
        Format::Parquet => {
            session.execute(&format!("CREATE OR REPLACE TEMP TABLE _file AS FROM {}", read_parquet(path)))?;
            return described(session, "_file");
        }
        Format::Csv => csv_table(&read_bytes(path)?)?,
        Format::Json => json_table(&read_bytes(path)?)?,
    };
    table.names_differ()?;
    session.execute("DROP TABLE IF EXISTS _file")?;
    session.load("_file", &table.batch()?)?;
    let columns = table
        .columns
        .into_iter()
        .map(|(name, (_, quoted))| (name, Column { ty: "VARCHAR".to_owned(), written: true, quoted }));
    Ok(columns.collect())
}

fn read_parquet(path: &Path) -> String {
    format!("read_parquet({})", text(&path.to_string_lossy()))
}

/// The columns of a relation of a Parquet file.
fn described(session: &Session, relation: &str) -> Result<IndexMap<String, Column>, Failure> {
    let columns =
        session.query(&format!("SELECT column_name, column_type FROM (DESCRIBE FROM {relation})"))?;
    let column = |row: tidemill_rows::Row| {
        let ty = row["column_type"].to_string();
        (row["column_name"].to_string(), Column { ty, written: false, quoted: false })
    };
    Ok(tidemill_rows::rows_of(&columns)?.into_iter().map(column).collect())
}

fn read_bytes(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|error| unreadable(&error.to_string(), None))
}

/// Columns of text by name, and whether some of it was text in JSON.
#[derive(Default)]
struct TextTable {
    columns: IndexMap<String, (StringBuilder, bool)>,
    rows: usize,
}

impl TextTable {
    /// SQL doesn't tell names apart by case.
    fn names_differ(&self) -> Result<(), Error> {
        let mut seen: HashMap<String, &str> = HashMap::new();
        for name in self.columns.keys() {
            if let Some(other) = seen.insert(name.to_ascii_lowercase(), name) {
                let why = format!("columns `{other}` and `{name}` differ by case alone");
                return Err(unreadable(&why, Some("give one of them another name")));
            }
        }
        Ok(())
    }

    fn batch(&self) -> Result<RecordBatch, Error> {
        let fields: Vec<Field> =
            self.columns.keys().map(|name| Field::new(name, DataType::Utf8, true)).collect();
        let arrays: Vec<ArrayRef> =
            self.columns.values().map(|(texts, _)| Arc::new(texts.finish_cloned()) as ArrayRef).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)
            .map_err(|error| tidemill_rows::Error::from(error).into())
    }
}

fn csv_table(bytes: &[u8]) -> Result<TextTable, Error> {
    let bytes = bytes.strip_prefix(tidemill_rows::text::BYTE_ORDER_MARK).unwrap_or(bytes);
    let dialect = Dialect::default();
    let mut table = TextTable::default();
    let mut line = 1;
    for (at, frame) in frames(bytes, Framing::Csv(dialect)) {
        let content = &bytes[at..at + frame.content];
        let place = format!("line {line}");
        line += frame.lines;
        if content.is_empty() {
            continue;
        }
        if let Some(why) = frame.broken {
            return Err(unreadable(&format!("{place}: {why}"), None));
        }
        let row = std::str::from_utf8(content);
        let row = row.map_err(|_| unreadable(&format!("{place} is not UTF-8"), None))?;
        let fields = csv_fields(row, dialect);
        if table.columns.is_empty() {
            header(&fields, &mut table)?;
            continue;
        }
        if fields.len() != table.columns.len() {
            let why = format!("{place} has {} fields, the header has {}", fields.len(), table.columns.len());
            return Err(unreadable(&why, Some("put a field that holds a comma between double quotes")));
        }
        for ((texts, _), field) in table.columns.values_mut().zip(fields) {
            texts.append_option(field);
        }
        table.rows += 1;
    }
    if table.columns.is_empty() {
        return Err(unreadable("it is empty: it has no header", None));
    }
    Ok(table)
}

fn header(fields: &[Option<Cow<'_, str>>], table: &mut TextTable) -> Result<(), Error> {
    for name in fields {
        let name = name.as_deref().unwrap_or_default().trim().to_owned();
        let other = [(';', "semicolons"), ('\t', "tabs"), ('|', "bars")];
        if let Some((_, called)) = other.iter().find(|(mark, _)| fields.len() == 1 && name.contains(*mark)) {
            let why = format!("its header `{name}` is one field, which looks like several between {called}");
            return Err(unreadable(&why, Some("put commas between the fields")));
        }
        if table.columns.insert(name.clone(), (StringBuilder::new(), false)).is_some() {
            return Err(unreadable(&format!("column `{name}` occurs twice"), None));
        }
    }
    Ok(())
}

fn json_table(bytes: &[u8]) -> Result<TextTable, Error> {
    let mut table = TextTable::default();
    let mut lines: u64 = 1;
    for (at, frame) in frames(bytes, Framing::Lines) {
        let content = &bytes[at..at + frame.content];
        let line = lines;
        lines += frame.lines;
        if content.trim_ascii().is_empty() {
            continue;
        }
        let fields = json_fields(content)
            .map_err(|why| unreadable(&format!("line {line} is not a JSON object: {why}"), None))?;
        for name in fields.keys().filter(|name| !table.columns.contains_key(*name)).collect::<Vec<_>>() {
            // Rows before have nothing of it.
            let mut texts = StringBuilder::new();
            (0..table.rows).for_each(|_| texts.append_null());
            table.columns.insert(name.clone(), (texts, false));
        }
        for (name, (texts, quoted)) in &mut table.columns {
            let cell = fields.get(name).and_then(Option::as_ref);
            *quoted |= cell.is_some_and(|cell| cell.quoted);
            texts.append_option(cell.map(|cell| &cell.text));
        }
        table.rows += 1;
    }
    if table.columns.is_empty() {
        return Err(unreadable("it is empty", None));
    }
    Ok(table)
}

fn unreadable(why: &str, hint: Option<&str>) -> Error {
    let fault = Fault::coded(503, format!("the file can't be read: {why}"));
    Error::Invalid(match hint {
        Some(hint) => fault.hint(hint),
        None => fault,
    })
}
