//! Batches as one Arrow IPC stream, between processes.

use arrow::{
    array::RecordBatch,
    datatypes::SchemaRef,
    ipc::{reader::StreamReader, writer::StreamWriter},
};
use bytes::Bytes;

use crate::Error;

/// One stream of batches that share `schema`; it may hold none.
///
/// # Errors
/// A batch of another schema.
pub fn encode(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<Bytes, Error> {
    let mut writer = StreamWriter::try_new(Vec::new(), schema)?;
    for batch in batches {
        writer.write(batch)?;
    }
    Ok(writer.into_inner()?.into())
}

/// Schema and batches of a stream.
///
/// # Errors
/// Bytes that are not a whole stream.
pub fn decode(bytes: &[u8]) -> Result<(SchemaRef, Vec<RecordBatch>), Error> {
    let reader = StreamReader::try_new(bytes, None)?;
    let schema = reader.schema();
    Ok((schema, reader.collect::<Result<_, _>>()?))
}
