//! Label rows that people bring as a file: the columns that find features are read as uploads read them, the others
//! are kept as they are.
//!
//! A CSV says nothing of types. Guessed ones would make the key `007` a 7, so these columns are taken as text and typed
//! as declared, by the same reading that typed the rows they must meet.

use std::path::Path;

use arrow::array::{ArrayRef, RecordBatch};
use indexmap::IndexMap;
use tidemill_rows::value::normal;
use tidemill_spec::Type;

use crate::{
    Error, Lake,
    duck::{Failure, Session},
    foreign,
    read::{Format, format_of},
    sql::{quoted, text},
    upload::text::{as_text, naive, text_of, typed},
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
    pub async fn file_columns(&self, path: &Path) -> Result<Vec<String>, Error> {
        let reader = reader(format_of(path)?, path, &[]);
        foreign::read(&self.duck, path, move |session| session.columns(&reader)).await
    }

    /// Rows of a Parquet, CSV or JSON lines file with some of its columns in declared types.
    ///
    /// # Errors
    /// A value that isn't of its column's type.
    pub async fn label_file(&self, path: &Path, types: &IndexMap<String, Type>) -> Result<LabelFile, Error> {
        let (format, file, types) = (format_of(path)?, path.to_path_buf(), types.clone());
        foreign::read(&self.duck, path, move |session| {
            let named: Vec<(String, String)> = match format {
                Format::Parquet => Vec::new(),
                Format::Csv => types.keys().map(|name| (name.clone(), "VARCHAR".to_owned())).collect(),
                Format::Json => json_types(session, &file, &types)?,
            };
            let reader = reader(format, &file, &named);
            session.execute(&format!("CREATE TEMP TABLE _file AS SELECT * FROM {reader}"))?;
            read(session, &types)
        })
        .await
    }
}

fn read(session: &Session, types: &IndexMap<String, Type>) -> Result<LabelFile, Failure> {
    let (mut replaced, mut naives) = (Vec::new(), vec!["false".to_owned()]);
    for (name, ty) in types {
        let column = as_text(&quoted(name));
        let (text, value) = (text_of(&column, *ty), typed(&text_of(&column, *ty), *ty));
        refuse_other_types(session, name, *ty, &text, &value)?;
        if *ty == Type::Timestamp {
            naives.push(naive(&text, &value));
        }
        replaced.push(format!("{value} AS {}", quoted(name)));
    }
    let replaced =
        if replaced.is_empty() { String::new() } else { format!("REPLACE ({})", replaced.join(", ")) };
    let rows = session.query(&format!("SELECT * {replaced} FROM _file ORDER BY rowid"))?;
    let schema = rows.schema();
    let columns = schema.fields().iter().zip(rows.columns()).map(|(field, array)| {
        let array: ArrayRef = types.get(field.name()).map_or(Ok(array.clone()), |ty| normal(array, *ty))?;
        Ok((field.name().clone(), array, true))
    });
    let columns = columns.collect::<Result<Vec<_>, tidemill_rows::Error>>()?;
    let naive = session.count(&format!("SELECT count(*) FROM _file WHERE {}", naives.join(" OR ")))?;
    Ok(LabelFile {
        rows: RecordBatch::try_from_iter_with_nullable(columns).map_err(tidemill_rows::Error::from)?,
        naive_timestamps: naive > 0,
    })
}

/// A key that can't be read would be a null, and a null finds nothing: silence about a typing error.
fn refuse_other_types(
    session: &Session,
    name: &str,
    ty: Type,
    text: &str,
    value: &str,
) -> Result<(), Failure> {
    let wrong = session.query(&format!(
        "SELECT rowid + 1 AS row, left({text}, 40) AS found FROM _file \
         WHERE {text} IS NOT NULL AND {value} IS NULL ORDER BY rowid LIMIT 1"
    ))?;
    let wrong = tidemill_rows::rows_of(&wrong)?;
    let Some(wrong) = wrong.first() else { return Ok(()) };
    let message = format!("`{name}` should be {ty}, but is `{}` in row {}", wrong["found"], wrong["row"]);
    Err(Error::invalid(609, message).into())
}

/// Every column of a JSON lines file with its type, those of `types` as text.
fn json_types(
    session: &Session,
    path: &Path,
    types: &IndexMap<String, Type>,
) -> Result<Vec<(String, String)>, Failure> {
    let described = session.query(&format!(
        "SELECT column_name, column_type FROM (DESCRIBE SELECT * FROM {})",
        reader(Format::Json, path, &[])
    ))?;
    let column = |row: tidemill_rows::Row| {
        let name = row["column_name"].to_string();
        let ty =
            if types.contains_key(&name) { "VARCHAR".to_owned() } else { row["column_type"].to_string() };
        (name, ty)
    };
    Ok(tidemill_rows::rows_of(&described)?.into_iter().map(column).collect())
}

/// The whole file is looked at before a type is guessed, and what `types` names is not guessed at all.
fn reader(format: Format, path: &Path, types: &[(String, String)]) -> String {
    let path = text(&path.to_string_lossy());
    let types: Vec<String> = types.iter().map(|(name, ty)| format!("{}: {}", text(name), text(ty))).collect();
    let given = |option: &str| {
        if types.is_empty() { String::new() } else { format!(", {option} = {{{}}}", types.join(", ")) }
    };
    match format {
        Format::Parquet => format!("read_parquet({path})"),
        Format::Csv => format!(
            "read_csv({path}, header = true, delim = ',', quote = '\"', escape = '\"', sample_size = -1, \
             allow_quoted_nulls = false{})",
            given("types")
        ),
        Format::Json => {
            format!("read_json({path}, format = 'newline_delimited', sample_size = -1{})", given("columns"))
        }
    }
}
