//! Rows by name, for whatever handles a few of them: replies, JSON, tests.

use arrow::{
    array::{ArrayRef, RecordBatch, RecordBatchOptions},
    datatypes::SchemaRef,
};
use indexmap::IndexMap;
use tidemill_spec::Value;

use crate::{
    Error,
    schema::type_of,
    value::{array, normal, value_at},
};

/// One row: column to value, in the schema's order.
pub type Row = IndexMap<String, Value>;

/// All rows of a batch.
///
/// # Errors
/// [`Error::UnknownType`] for a column that no declared type stands for.
pub fn rows_of(batch: &RecordBatch) -> Result<Vec<Row>, Error> {
    let columns = columns_of(batch)?;
    let row_at = |row| columns.iter().map(|(name, array)| (name.clone(), value_at(array, row))).collect();
    Ok((0..batch.num_rows()).map(row_at).collect())
}

/// A batch of `schema` from rows; a column that a row lacks is null.
///
/// # Errors
/// A value of another type, or a null where the schema allows none.
pub fn batch_of(schema: &SchemaRef, rows: &[Row]) -> Result<RecordBatch, Error> {
    let arrays: Result<Vec<ArrayRef>, Error> = schema
        .fields()
        .iter()
        .map(|field| {
            let ty = type_of(field.data_type())
                .ok_or_else(|| Error::unknown_type(field.name(), field.data_type()))?;
            array(field.name(), ty, rows.iter().map(|row| row.get(field.name()).unwrap_or(&Value::Null)))
        })
        .collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    Ok(RecordBatch::try_new_with_options(schema.clone(), arrays?, &options)?)
}

/// All rows as JSON objects, by the rules of [`Value::to_json`].
///
/// # Errors
/// [`Error::UnknownType`] for a column that no declared type stands for.
pub fn json_rows(batch: &RecordBatch) -> Result<Vec<serde_json::Map<String, serde_json::Value>>, Error> {
    let columns = columns_of(batch)?;
    let row_at =
        |row| columns.iter().map(|(name, array)| (name.clone(), value_at(array, row).to_json())).collect();
    Ok((0..batch.num_rows()).map(row_at).collect())
}

/// A column by name.
///
/// # Errors
/// [`Error::MissingColumn`].
pub fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, Error> {
    batch.column_by_name(name).ok_or_else(|| Error::MissingColumn(name.to_owned()))
}

fn columns_of(batch: &RecordBatch) -> Result<Vec<(String, ArrayRef)>, Error> {
    let schema = batch.schema();
    let columns = schema.fields().iter().zip(batch.columns());
    columns
        .map(|(field, array)| {
            let ty = type_of(array.data_type())
                .ok_or_else(|| Error::unknown_type(field.name(), array.data_type()))?;
            Ok((field.name().clone(), normal(array, ty)?))
        })
        .collect()
}
