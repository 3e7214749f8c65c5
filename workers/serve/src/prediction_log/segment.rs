//! A file of frames, one after another: what came whole is read, whatever the end of the file looks like.
//!
//! A frame is its length, the CRC-32 of its content, and the content: whose rows they are, and the rows as one Arrow stream.
//! Whoever is killed while it writes leaves half a frame; that half is cut off, and nothing before it is lost.

use arrow::array::RecordBatch;
use serde::{Deserialize, Serialize};
use tidemill_rows::ipc;

/// Length and checksum.
const HEAD_BYTES: usize = 8;

/// Whose rows a frame has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Owner {
    pub(super) model: String,
    /// None where no version could take the request.
    pub(super) version: Option<u32>,
}

/// One frame.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Frame {
    pub(super) owner: Owner,
    pub(super) rows: RecordBatch,
}

/// What a file holds.
#[derive(Debug, Default)]
pub(super) struct Frames {
    pub(super) frames: Vec<Frame>,
    /// Bytes at the end that are no whole frame.
    pub(super) torn_bytes: usize,
}

/// The bytes of a frame.
///
/// # Errors
/// Rows that can't be an Arrow stream.
pub(super) fn encode(frame: &Frame) -> anyhow::Result<Vec<u8>> {
    let owner = serde_json::to_vec(&frame.owner)?;
    let rows = ipc::encode(&frame.rows.schema(), std::slice::from_ref(&frame.rows))?;
    let mut bytes = vec![0; HEAD_BYTES];
    bytes.extend(u32::try_from(owner.len())?.to_le_bytes());
    bytes.extend(owner);
    bytes.extend(rows);
    let content = &bytes[HEAD_BYTES..];
    let (length, checksum) = (u32::try_from(content.len())?, crc32fast::hash(content));
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    bytes[4..HEAD_BYTES].copy_from_slice(&checksum.to_le_bytes());
    Ok(bytes)
}

/// The whole frames of a file.
///
/// # Errors
/// A whole frame that can't be read: it was written by another release.
pub(super) fn decode(mut bytes: &[u8]) -> anyhow::Result<Frames> {
    let mut frames = Vec::new();
    while let Some((content, rest)) = whole(bytes) {
        frames.push(frame(content)?);
        bytes = rest;
    }
    Ok(Frames { frames, torn_bytes: bytes.len() })
}

/// The content of the first frame, if it is whole, and what follows it.
fn whole(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = word(bytes)?;
    let (checksum, rest) = word(rest)?;
    let (content, rest) = rest.split_at_checked(length as usize)?;
    (crc32fast::hash(content) == checksum).then_some((content, rest))
}

fn frame(content: &[u8]) -> anyhow::Result<Frame> {
    let short = || anyhow::anyhow!("a frame without an owner");
    let (length, rest) = word(content).ok_or_else(short)?;
    let (owner, rows) = rest.split_at_checked(length as usize).ok_or_else(short)?;
    let (_, batches) = ipc::decode(rows)?;
    let rows = batches.into_iter().next().ok_or_else(|| anyhow::anyhow!("a frame without rows"))?;
    Ok(Frame { owner: serde_json::from_slice(owner)?, rows })
}

fn word(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (word, rest) = bytes.split_first_chunk()?;
    Some((u32::from_le_bytes(*word), rest))
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use arrow::array::Int64Array;

    use super::*;

    pub(crate) fn some(model: &str, numbers: &[i64]) -> Frame {
        let numbers = Arc::new(Int64Array::from(numbers.to_vec()));
        let owner = Owner { model: model.to_owned(), version: Some(1) };
        Frame { owner, rows: RecordBatch::try_from_iter([("seq", numbers as _)]).unwrap() }
    }

    #[test]
    fn wherever_a_file_is_cut_the_whole_frames_before_are_read() {
        let written = [some("late", &[1, 2]), some("churn", &[3])];
        let parts: Vec<Vec<u8>> = written.iter().map(|frame| encode(frame).unwrap()).collect();
        let file = parts.concat();
        for cut in 0..=file.len() {
            let read = decode(&file[..cut]).unwrap();
            let whole = usize::from(cut >= parts[0].len()) + usize::from(cut == file.len());
            assert_eq!(read.frames, written[..whole]);
            let kept: usize = parts[..whole].iter().map(Vec::len).sum();
            assert_eq!(read.torn_bytes, cut - kept);
        }
    }

    #[test]
    fn a_frame_with_a_wrong_byte_ends_the_file() {
        let parts = [encode(&some("late", &[1])).unwrap(), encode(&some("late", &[2])).unwrap()];
        for at in 0..parts[1].len() {
            let mut file = parts.concat();
            file[parts[0].len() + at] ^= 0x55;
            let read = decode(&file).unwrap();
            assert_eq!((read.frames.len(), read.torn_bytes), (1, parts[1].len()), "byte {at}");
        }
    }
}
