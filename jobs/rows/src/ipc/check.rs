//! The lengths that a stream announces, against the bytes that came.
//!
//! Arrow allocates what a message says before it reads it, and an allocation that fails ends the process. So every
//! length is looked at first: of messages, of buffers within a message's body, of rows.

use arrow::ipc::{Message, MessageHeader, RecordBatch, Schema, root_as_message};

use crate::Error;

/// Four bytes before a message's length, since version 0.15 of the format.
const CONTINUATION: [u8; 4] = [0xff; 4];
/// Fields of a schema, nested ones too: a small message can name the same field a million times.
const FIELDS_MAX: usize = 16_384;
/// Columns of nulls have rows without bytes: so many are taken.
const ROWS_WITHOUT_BYTES_MAX: usize = 65_536;

/// Whether every length of the stream fits what came.
pub(super) fn lengths(stream: &[u8]) -> Result<(), Error> {
    let mut left = stream;
    while let Some(metadata) = metadata(&mut left)? {
        let message = root_as_message(metadata)
            .map_err(|error| refused(format!("a message is not readable: {error}")))?;
        let body = take(&mut left, message.bodyLength(), "a message's body")?;
        one(&message, body.len())?;
    }
    Ok(())
}

/// The next message's description; `None` at the stream's end.
fn metadata<'a>(left: &mut &'a [u8]) -> Result<Option<&'a [u8]>, Error> {
    let Some(mut word) = left.split_off(..4) else { return Ok(None) };
    if word == CONTINUATION {
        word = take(left, 4, "a message's length")?;
    }
    let length = word.try_into().map_or(0, i32::from_le_bytes);
    if length == 0 {
        return Ok(None);
    }
    take(left, i64::from(length), "a message").map(Some)
}

fn one(message: &Message<'_>, body: usize) -> Result<(), Error> {
    match message.header_type() {
        MessageHeader::Schema => message.header_as_schema().map_or(Ok(()), fields),
        MessageHeader::RecordBatch => {
            message.header_as_record_batch().map_or(Ok(()), |rows| batch(rows, body))
        }
        MessageHeader::DictionaryBatch => {
            let values = message.header_as_dictionary_batch().and_then(|batch| batch.data());
            values.map_or(Ok(()), |values| batch(values, body))
        }
        _ => Ok(()),
    }
}

fn fields(schema: Schema<'_>) -> Result<(), Error> {
    let mut open: Vec<_> = schema.fields().into_iter().flatten().collect();
    let mut count = open.len();
    while let Some(field) = open.pop() {
        let children = field.children().into_iter().flatten();
        open.extend(children);
        count += 1;
        if count.max(open.len()) > FIELDS_MAX {
            return Err(refused(format!("it has more than {FIELDS_MAX} fields")));
        }
    }
    Ok(())
}

fn batch(batch: RecordBatch<'_>, body: usize) -> Result<(), Error> {
    if batch.compression().is_some() {
        return Err(refused("it is compressed; write it without compression".to_owned()));
    }
    // A row of the narrowest column is a bit.
    let rows_max = body.saturating_mul(8).max(ROWS_WITHOUT_BYTES_MAX);
    let fits = |rows: i64| usize::try_from(rows).is_ok_and(|rows| rows <= rows_max);
    let nodes = || batch.nodes().into_iter().flatten();
    if !fits(batch.length()) || nodes().any(|node| !fits(node.length()) || !fits(node.null_count())) {
        return Err(refused(format!("it announces more rows than {body} bytes hold")));
    }
    let inside = |offset: i64, length: i64| {
        let end = usize::try_from(offset).ok().zip(usize::try_from(length).ok());
        end.and_then(|(offset, length)| offset.checked_add(length)).is_some_and(|end| end <= body)
    };
    let buffers = batch.buffers().map_or(0, |buffers| buffers.len());
    if batch.buffers().into_iter().flatten().any(|buffer| !inside(buffer.offset(), buffer.length())) {
        return Err(refused("a column lies outside of its message".to_owned()));
    }
    let mut counts = batch.variadicBufferCounts().into_iter().flatten();
    if counts.any(|count| usize::try_from(count).is_ok_and(|count| count > buffers) || count < 0) {
        return Err(refused("a column has more parts than its message".to_owned()));
    }
    Ok(())
}

/// The next `length` bytes.
fn take<'a>(left: &mut &'a [u8], length: i64, what: &str) -> Result<&'a [u8], Error> {
    let here = left.len();
    let taken = usize::try_from(length).ok().and_then(|length| left.split_off(..length));
    taken.ok_or_else(|| refused(format!("{what} is {length} bytes long, and {here} are here")))
}

fn refused(why: String) -> Error {
    Error::Stream(why)
}
