//! Rows of one entity, wherever files hold them, at every version.
//!
//! A file that holds some is written again without them, and the new one stands for it at every version and in every range
//! of commits that read the old one. So no version is left that has the rows, and no other row changes its place. The old
//! file is deleted at once, by whoever swapped it: a reader that has it in hand fails, and reads the new one when it tries
//! again.

use sqlx::PgConnection;
use tidemill_rows::{Row, SEQ, rows_of};
use tidemill_spec::{Digits, Type, Value};

use crate::{
    Error, Lake, LakeFile, Staged, Table, manifest,
    scan::{Types, as_stored},
    sql::{quoted, text},
};

/// The part of a name that all tables of dead letters begin with.
const DEAD: &str = "dead/";
/// Where dead letters have the row that was refused.
const RAW: &str = "raw";

/// Which entity is looked for: all values of its key.
#[derive(Clone, Debug, PartialEq)]
pub struct Sought {
    /// Key columns with their values.
    pub key: Vec<(String, Value)>,
    /// What files call these columns where a row was refused, in the order of `key`; the column's own name is looked for,
    /// too.
    pub in_files: Vec<Vec<String>>,
}

/// A file that holds rows of an entity.
#[derive(Clone, Debug, PartialEq)]
pub struct Holding {
    /// The file.
    pub file: LakeFile,
    /// The newest version reads it.
    pub live: bool,
    /// How many rows of the entity it holds.
    pub rows: i64,
    /// The same by the ordinal of the upload that they came with, where rows name it.
    pub by_upload: Vec<(i64, i64)>,
}

impl Lake {
    /// Every table that was ever published to, by name.
    pub async fn tables(&self) -> Result<Vec<Table>, Error> {
        manifest::tables(&self.pool).await
    }

    /// Files of a table, whatever version reads them, in the order of their commits; and whether the newest does.
    pub async fn files_ever(&self, table: &Table) -> Result<Vec<(LakeFile, bool)>, Error> {
        manifest::files_ever(&self.pool, table).await
    }

    /// How many rows of an entity a file of a table holds; none where it holds none.
    pub async fn holding(
        &self,
        table: &Table,
        (file, live): (LakeFile, bool),
        sought: &Sought,
    ) -> Result<Option<Holding>, Error> {
        let types = self.types(&file.path).await?;
        let Some(condition) = condition(table, &types, sought) else { return Ok(None) };
        let ordinal = if types.contains_key(SEQ) { format!("{SEQ} >> 40") } else { "0".to_owned() };
        let path = self.blobs.fetch(&file.path).await?;
        let statement = format!(
            "SELECT CAST({ordinal} AS BIGINT) AS ordinal, count(*) AS rows FROM read_parquet([{}]) WHERE {condition} GROUP BY 1 ORDER BY 1",
            text(&path.to_string_lossy())
        );
        let doing = format!("looking for an entity in {table}");
        let found = self.duck.run(doing, move |session| session.query(&statement)).await?;
        let number = |row: &Row, name: &str| match row.get(name) {
            Some(Value::Int(number)) => *number,
            _ => 0,
        };
        let by_upload: Vec<(i64, i64)> =
            rows_of(&found)?.iter().map(|row| (number(row, "ordinal"), number(row, "rows"))).collect();
        let rows = by_upload.iter().map(|(_, rows)| rows).sum();
        Ok((rows > 0).then_some(Holding { file, live, rows, by_upload }))
    }

    /// How many rows of an entity a file has that is no table's.
    pub async fn rows_of_entity(&self, path: &str, sought: &Sought) -> Result<i64, Error> {
        let file = LakeFile {
            path: path.to_owned(),
            first_commit: 0,
            last_commit: 0,
            rows: 0,
            size_bytes: 0,
            valid_at: None,
            created_at: None,
            timed_by: None,
        };
        let holding = self.holding(&Table::from(path.to_owned()), (file, true), sought).await?;
        Ok(holding.map_or(0, |holding| holding.rows))
    }

    /// Writes a file again without the rows of an entity; none if nothing is left. No reader sees it before
    /// [`Self::swap`]. Safe to repeat.
    pub async fn without(
        &self,
        table: &Table,
        file: &LakeFile,
        sought: &Sought,
    ) -> Result<Option<Staged>, Error> {
        let types = self.types(&file.path).await?;
        let condition = condition(table, &types, sought).unwrap_or_else(|| "false".to_owned());
        let path = self.blobs.fetch(&file.path).await?;
        let statement = format!(
            "SELECT * FROM read_parquet([{}]) WHERE NOT coalesce({condition}, false)",
            text(&path.to_string_lossy())
        );
        let doing = format!("writing a file of {table} without an entity");
        let rows = self.duck.run(doing, move |session| session.query(&statement)).await?;
        let rows = as_stored(&rows, &types)?;
        let keys = manifest::keys(&self.pool, table).await?.unwrap_or_default();
        // Files with the same rows left must not become one.
        let key = format!("erase/{}", file.path);
        let staged = self.stage(table, &key, 0, &keys, &rows.schema(), vec![rows]).await?;
        Ok(staged.map(|staged| Staged { timed_by: file.timed_by.clone(), ..staged }))
    }

    /// Lets a file stand for another one at every version, or nothing, when the caller's transaction commits. False if the
    /// other one is not there any more. Who has read the table before can't commit what follows from it any more; so it
    /// holds the table's count until then.
    pub async fn swap(
        &self,
        connection: &mut PgConnection,
        table: &Table,
        file: &LakeFile,
        by: Option<&Staged>,
    ) -> Result<bool, Error> {
        manifest::count_removal(connection, std::slice::from_ref(table)).await?;
        manifest::swap(connection, &file.path, by).await
    }

    /// Deletes a file that no version reads any more, at once. Safe to repeat.
    pub async fn delete_file(&self, path: &str) -> Result<(), Error> {
        Ok(self.blobs.delete_at(path).await?)
    }
}

/// What holds of a row of the entity; none if a file has no such rows, for it lacks a column of the key.
fn condition(table: &Table, types: &Types, sought: &Sought) -> Option<String> {
    if table.as_str().starts_with(DEAD) {
        let names = sought.key.iter().zip(&sought.in_files);
        let of_raw = names.map(|((name, value), in_files)| refused(name, in_files, value));
        return types.contains_key(RAW).then(|| of_raw.collect::<Vec<_>>().join(" AND "));
    }
    let equal = |(name, value): &(String, Value)| {
        let ty = types.get(name)?;
        // In the column's own type, which may be another than is declared now.
        let ty = ty.map_or_else(|| "VARCHAR".to_owned(), Type::duckdb);
        let value = text(&value.to_string());
        Some(format!("CAST({} AS {ty}) = TRY_CAST({value} AS {ty})", quoted(name)))
    };
    Some(sought.key.iter().map(equal).collect::<Option<Vec<_>>>()?.join(" AND "))
}

/// Whether a refused row has a value in a column of the key, whatever the file calls it; of a row that could not even be
/// split, whether the value stands in it as a word.
fn refused(name: &str, in_files: &[String], value: &Value) -> String {
    let ty = type_of(value).duckdb();
    let wanted = text(&value.to_string());
    let mut either: Vec<String> = std::iter::once(name)
        .chain(in_files.iter().map(String::as_str))
        .map(|name| {
            let pointer = format!("/{}", name.replace('~', "~0").replace('/', "~1"));
            let field = format!("json_extract_string({RAW}, {})", text(&pointer));
            format!("coalesce({field} = {wanted} OR TRY_CAST({field} AS {ty}) = TRY_CAST({wanted} AS {ty}), false)")
        })
        .collect();
    either.push(format!(
        "(json_type({RAW}) = 'VARCHAR' AND regexp_matches(json_extract_string({RAW}, '$'), '(^|\\W)' || regexp_escape({wanted}) || '($|\\W)'))"
    ));
    format!("({})", either.join(" OR "))
}

fn type_of(value: &Value) -> Type {
    match value {
        // No key is a list.
        Value::Null | Value::String(_) | Value::List(_) => Type::String,
        Value::Int(_) => Type::Int,
        Value::Float(_) => Type::Float,
        Value::Bool(_) => Type::Bool,
        Value::Date(_) => Type::Date,
        Value::Timestamp(_) => Type::Timestamp,
        Value::Decimal(number) => {
            Digits::new(Digits::PRECISION_MAX, number.scale()).map_or(Type::String, Type::Decimal)
        }
    }
}
