//! Rows as CSV: a line of column names, then a line for each row; null is empty.

use arrow::array::RecordBatch;

use crate::Error;

/// The bytes of a CSV file.
///
/// # Errors
/// A column of lists, structs or maps.
pub fn write(rows: &RecordBatch) -> Result<Vec<u8>, Error> {
    let mut writer = arrow::csv::Writer::new(Vec::new());
    writer.write(rows)?;
    Ok(writer.into_inner())
}
