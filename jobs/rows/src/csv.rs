//! Rows as CSV that an upload reads back as it was: a line of column names, then a line for each row; nothing is null,
//! quoted nothing is empty text.

use std::io::Write;

use arrow::{
    array::{ArrayRef, RecordBatch},
    datatypes::SchemaRef,
};
use tidemill_spec::Value;

use crate::{
    Error,
    schema::type_of,
    value::{normal, value_at},
};

/// The bytes of a CSV file.
///
/// # Errors
/// A column of structs or maps, or of lists of lists.
pub fn write(batch: &RecordBatch) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    header(&mut bytes, &batch.schema())?;
    rows(&mut bytes, batch)?;
    Ok(bytes)
}

/// The line of names.
pub(crate) fn header(file: &mut impl Write, schema: &SchemaRef) -> Result<(), Error> {
    let names: Vec<String> = schema.fields().iter().map(|field| cell(field.name())).collect();
    Ok(writeln!(file, "{}", names.join(","))?)
}

/// A line for each row.
pub(crate) fn rows(file: &mut impl Write, batch: &RecordBatch) -> Result<(), Error> {
    let schema = batch.schema();
    let columns = schema.fields().iter().zip(batch.columns()).map(|(field, array)| {
        let ty = type_of(array.data_type());
        let ty = ty.ok_or_else(|| Error::unknown_type(field.name(), array.data_type()))?;
        normal(array, ty)
    });
    let columns: Vec<ArrayRef> = columns.collect::<Result<_, _>>()?;
    let mut line = String::new();
    for row in 0..batch.num_rows() {
        line.clear();
        for (index, array) in columns.iter().enumerate() {
            if index > 0 {
                line.push(',');
            }
            match value_at(array, row) {
                // A line without anything is no row.
                Value::Null if columns.len() == 1 => line.push_str("\"\""),
                Value::Null => {}
                Value::String(text) => line.push_str(&cell(&text)),
                // All digits that tell it from its neighbours.
                Value::Float(number) => line.extend([format!("{number:?}")]),
                list @ Value::List(_) => line.push_str(&cell(&list.to_string())),
                other => line.push_str(&other.to_string()),
            }
        }
        writeln!(file, "{line}")?;
    }
    Ok(())
}

/// Text as a cell: in quotes where it could be read as something else.
fn cell(text: &str) -> String {
    let plain = !text.is_empty() && !text.contains([',', '"', '\n', '\r', '\u{feff}']);
    if plain { text.to_owned() } else { format!("\"{}\"", text.replace('"', "\"\"")) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float64Array, StringArray};

    use super::*;

    #[test]
    fn nothing_is_null_and_quoted_nothing_is_empty_text() {
        let texts = StringArray::from(vec![Some("a,\"b\"\r\n"), Some(""), None, Some("NULL")]);
        let floats = Float64Array::from(vec![Some(0.1), Some(1e300), None, Some(-0.0)]);
        let batch =
            RecordBatch::try_from_iter([("t,1", Arc::new(texts) as ArrayRef), ("f", Arc::new(floats) as _)]);
        let batch = batch.unwrap();
        let text = String::from_utf8(write(&batch).unwrap()).unwrap();
        assert_eq!(text, "\"t,1\",f\n\"a,\"\"b\"\"\r\n\",0.1\n\"\",1e300\n,\nNULL,-0.0\n");
    }
}
