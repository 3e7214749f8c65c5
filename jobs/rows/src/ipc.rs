//! Batches as one Arrow IPC stream, between processes.
//!
//! A stream may come from anybody: what it says of its own lengths is checked against what came ([`check`]) before
//! anything is allocated by it.

mod check;

use std::panic::{AssertUnwindSafe, catch_unwind};

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

/// Schema and batches of a stream, whoever wrote it. Takes memory in proportion to `bytes`.
///
/// # Errors
/// Bytes that are not a whole stream, or one whose lengths don't fit what came.
pub fn decode(bytes: &[u8]) -> Result<(SchemaRef, Vec<RecordBatch>), Error> {
    check::lengths(bytes)?;
    // Arrow panics on some streams that are whole but make no sense, e.g. a width of a type that there isn't.
    catch_unwind(AssertUnwindSafe(|| read(bytes)))
        .unwrap_or_else(|_| Err(Error::Stream("its parts contradict each other".to_owned())))
}

fn read(bytes: &[u8]) -> Result<(SchemaRef, Vec<RecordBatch>), Error> {
    let reader = StreamReader::try_new(bytes, None)?;
    let schema = reader.schema();
    Ok((schema, reader.collect::<Result<_, _>>()?))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, DictionaryArray, Float64Array, StringArray, StringViewArray};
    use arrow::datatypes::Int8Type;
    use proptest::prelude::*;

    use super::*;

    fn stream() -> Vec<u8> {
        let names: DictionaryArray<Int8Type> = vec![Some("a"), None, Some("b")].into_iter().collect();
        let columns: [(&str, ArrayRef); 4] = [
            ("key", Arc::new(StringArray::from(vec!["x", "y", "z"]))),
            ("value", Arc::new(Float64Array::from(vec![Some(1.0), None, Some(3.0)]))),
            ("name", Arc::new(names)),
            (
                "view",
                Arc::new(StringViewArray::from(vec!["short", "a text that is not kept in the view", ""])),
            ),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        encode(&batch.schema(), &[batch.clone(), batch]).unwrap().to_vec()
    }

    #[test]
    fn a_stream_of_several_kinds_of_columns_is_read() {
        assert_eq!(decode(&stream()).unwrap().1.iter().map(RecordBatch::num_rows).sum::<usize>(), 6);
    }

    #[test]
    fn every_stream_with_one_wrong_byte_is_read_or_refused() {
        let stream = stream();
        let mut refused = 0;
        for at in 0..stream.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut broken = stream.clone();
                broken[at] ^= flip;
                refused += u32::from(decode(&broken).is_err());
            }
        }
        assert!(refused > 100, "{refused}");
    }

    #[test]
    fn a_length_that_was_never_sent_is_refused_before_it_is_allocated() {
        let stream = stream();
        for cut in 0..stream.len() - 8 {
            // What is left of a batch is not a batch; what ends between two messages is a stream.
            let _ = decode(&stream[..cut]);
        }
        let mut long = stream.clone();
        long[4..8].copy_from_slice(&i32::MAX.to_le_bytes());
        let error = decode(&long).unwrap_err().to_string();
        assert!(error.contains("2147483647 bytes") && error.contains("are here"), "{error}");
    }

    proptest! {
        #[test]
        fn words_at_their_limits_anywhere_do_no_harm(
            at in 0..stream().len() - 8,
            word in prop::sample::select(vec![0, 1, -1, i64::MAX, i64::MIN, i64::from(i32::MAX), 1 << 52]),
        ) {
            let mut broken = stream();
            broken[at..at + 8].copy_from_slice(&word.to_le_bytes());
            let _ = decode(&broken);
        }

        #[test]
        fn any_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
        }
    }
}
