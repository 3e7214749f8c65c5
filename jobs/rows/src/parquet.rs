//! Files of the lake: one sorted, zstd-compressed Parquet file from Arrow, and back.
//!
//! The same rows give the same bytes whatever order they come in, as long as no two share keys and order.

use std::fs::File;

use arrow::{
    array::{Array as _, AsArray as _, RecordBatch},
    compute::{SortColumn, concat_batches, lexsort_to_indices, max, min, take_record_batch},
    datatypes::{SchemaRef, TimestampMicrosecondType},
};
use bytes::Bytes;
use parquet::{
    arrow::{
        ArrowWriter,
        arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder},
    },
    basic::{Compression, ZstdLevel},
    file::properties::{EnabledStatistics, WriterProperties},
};
use tidemill_core::Time;

use crate::{
    Error,
    row::column,
    schema::{CREATED_AT, SEQ, VALID_AT},
};

/// Rows of a row group: small enough that a few entities of a large file are found without reading all of it.
const ROW_GROUP_ROWS: usize = 65_536;

/// All rows sorted by `keys`, then by the total order; columns of these that the schema lacks are left out.
///
/// # Errors
/// Batches of different schemas.
pub fn sorted(schema: &SchemaRef, batches: &[RecordBatch], keys: &[String]) -> Result<RecordBatch, Error> {
    let batch = concat_batches(schema, batches)?;
    let order = keys.iter().map(String::as_str).chain([VALID_AT, CREATED_AT, SEQ]);
    let columns: Vec<SortColumn> = order
        .filter_map(|name| batch.column_by_name(name))
        .map(|values| SortColumn { values: values.clone(), options: None })
        .collect();
    if columns.is_empty() || batch.num_rows() < 2 {
        return Ok(batch);
    }
    Ok(take_record_batch(&batch, &lexsort_to_indices(&columns, None)?)?)
}

/// The bytes of a Parquet file.
///
/// # Errors
/// A column that Parquet can't hold.
pub fn write(batch: &RecordBatch) -> Result<Bytes, Error> {
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties()))?;
    writer.write(batch)?;
    Ok(writer.into_inner()?.into())
}

/// How every Parquet file of ours is written.
pub(crate) fn properties() -> WriterProperties {
    WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .build()
}

/// All rows of a Parquet file.
///
/// # Errors
/// Not a Parquet file.
pub fn read(bytes: Bytes) -> Result<RecordBatch, Error> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes)?.build()?;
    let schema = arrow::array::RecordBatchReader::schema(&reader);
    let batches: Vec<RecordBatch> = reader.collect::<Result<_, _>>()?;
    Ok(concat_batches(&schema, &batches)?)
}

/// The rows of a Parquet file given to `take` batch by batch, after a batch without rows that says the columns. Returns how
/// many rows there are.
///
/// # Errors
/// Not a Parquet file, or `take` fails.
pub fn read_each<E: From<Error>>(
    file: File,
    mut take: impl FnMut(&RecordBatch) -> Result<(), E>,
) -> Result<u64, E> {
    let reader =
        ParquetRecordBatchReaderBuilder::try_new(file).and_then(ParquetRecordBatchReaderBuilder::build);
    let reader = reader.map_err(Error::from)?;
    take(&RecordBatch::new_empty(arrow::array::RecordBatchReader::schema(&reader)))?;
    let mut count = 0;
    for batch in reader {
        let batch = batch.map_err(Error::from)?;
        count += batch.num_rows() as u64;
        take(&batch)?;
    }
    Ok(count)
}

/// The columns of a Parquet file, from its footer alone.
///
/// # Errors
/// Not a Parquet file, or it can't be read.
pub fn schema(file: &File) -> Result<SchemaRef, Error> {
    Ok(ArrowReaderMetadata::load(file, ArrowReaderOptions::default())?.schema().clone())
}

/// Least and greatest instant of a column; `None` without rows.
///
/// # Errors
/// [`Error::MissingColumn`].
pub fn time_range(batch: &RecordBatch, name: &str) -> Result<Option<(Time, Time)>, Error> {
    let array = column(batch, name)?;
    let Some(times) = array.as_primitive_opt::<TimestampMicrosecondType>() else {
        return Err(Error::unknown_type(name, array.data_type()));
    };
    let at = |micros: Option<i64>| micros.and_then(Time::from_timestamp_micros);
    Ok(at(min(times)).zip(at(max(times))))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::Schema;
    use tidemill_spec::{Type, Value};

    use super::*;
    use crate::{Row, batch_of, field, ipc, rows_of, schema::system_fields};

    fn batch(rows: &[(&str, i64, i64)]) -> RecordBatch {
        let mut fields = vec![field("k", Type::String)];
        fields.extend(system_fields());
        let rows: Vec<Row> = rows
            .iter()
            .map(|(key, at, seq)| {
                let at = Value::Timestamp(Time::from_timestamp_micros(*at).unwrap());
                Row::from([
                    ("k".to_owned(), Value::String((*key).to_owned())),
                    ("valid_at".to_owned(), at.clone()),
                    ("created_at".to_owned(), at),
                    ("seq".to_owned(), Value::Int(*seq)),
                    ("deleted".to_owned(), Value::Bool(false)),
                ])
            })
            .collect();
        batch_of(&Arc::new(Schema::new(fields)), &rows).unwrap()
    }

    #[test]
    fn the_order_in_which_rows_come_does_not_change_the_file() {
        let rows = [("b", 1, 1), ("a", 2, 2), ("a", 1, 4), ("a", 1, 3)];
        let mut reversed = rows;
        reversed.reverse();
        let keys = ["k".to_owned()];
        let files = [batch(&rows), batch(&reversed)]
            .map(|batch| write(&sorted(&batch.schema(), &[batch], &keys).unwrap()).unwrap());
        assert_eq!(files[0], files[1]);
    }

    #[test]
    fn parquet_and_ipc_give_back_what_they_were_given() {
        let batch = batch(&[("a", 1, 1), ("b", 5, 2)]);
        let rows = rows_of(&batch).unwrap();
        assert_eq!(rows_of(&read(write(&batch).unwrap()).unwrap()).unwrap(), rows);
        let (schema, batches) =
            ipc::decode(&ipc::encode(&batch.schema(), std::slice::from_ref(&batch)).unwrap()).unwrap();
        assert_eq!((schema, batches), (batch.schema(), vec![batch.clone()]));
        let range = time_range(&batch, "valid_at").unwrap().unwrap();
        assert_eq!((range.0.timestamp_micros(), range.1.timestamp_micros()), (1, 5));
    }
}
