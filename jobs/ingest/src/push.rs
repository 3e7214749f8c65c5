//! Rows that come in one call: a small upload, known by a key instead of by its content.
//!
//! The same row pushed twice happened twice; the same call repeated, with its key, is one upload. From there on the rows
//! go the way of every file: same limits of a row, same dead letters, same run.

use std::io::Write as _;

use bytes::Bytes;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;
use tidemill_catalog::Format;

use crate::{Accepted, Error, Ingest, Start, accept::Arrival, staging::hex};

/// Longer keys are refused, before they reach an index.
const KEY_BYTES_MAX: usize = 200;

/// Rows for a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// The source.
    pub source: String,
    /// A JSON array of objects, or JSON lines.
    pub rows: Bytes,
    /// A repeat with the same key is the same upload.
    pub key: String,
}

/// What became of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// The upload and the run that ingests it.
    pub accepted: Accepted,
    /// Rows in the call, good or bad.
    pub rows: u64,
}

impl Ingest {
    /// Accepts rows; durable when this returns. Safe to repeat under the same key.
    ///
    /// # Errors
    /// When there are too many rows, they are not JSON, the first has other columns than the source, or the key was used
    /// for other rows: then nothing is kept of them. A bad row is no error: it is a dead letter.
    pub async fn push(&self, push: &Push) -> Result<Pushed, Error> {
        let source = self.source(&push.source).await?;
        if push.key.is_empty() || push.key.len() > KEY_BYTES_MAX || push.key.contains('\0') {
            return Err(Error::PushKey(format!("a key of a push is 1 to {KEY_BYTES_MAX} characters")));
        }
        let limits = self.limits();
        if push.rows.len() > limits.push_bytes {
            let (bytes, most) = (push.rows.len(), limits.push_bytes);
            return Err(Error::PushLimit(format!("the rows have {bytes} bytes, but a push takes {most}")));
        }
        let lines = lines(&push.rows)?;
        let rows = lines.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).count();
        if rows == 0 {
            return Err(Error::Rows("there are none".to_owned()));
        }
        if rows > limits.push_rows {
            return Err(Error::PushLimit(format!(
                "there are {rows} rows, but a push takes {}",
                limits.push_rows
            )));
        }
        let rows = rows as u64;
        let sha256 = hex(&Sha256::digest(&lines));
        if let Some(accepted) = self.find_push(push, &sha256).await? {
            return Ok(Pushed { accepted, rows });
        }
        let mut file = NamedTempFile::new()?;
        file.write_all(&lines)?;
        let arrival = Arrival {
            source,
            format: Format::Jsonl,
            sha256: sha256.clone(),
            size_bytes: lines.len() as u64,
            file_name: "pushed rows".to_owned(),
            repeat_of: None,
            push_key: Some(push.key.clone()),
        };
        let accepted = match self.take(arrival, file.path(), Start::Run).await.map_err(Error::of_rows)? {
            Some(accepted) => Some(accepted),
            // The same call arrived twice in the same moment.
            None => self.find_push(push, &sha256).await?,
        };
        let accepted = accepted.ok_or_else(|| Error::Mismatch("the upload vanished".to_owned()))?;
        Ok(Pushed { accepted, rows })
    }

    async fn find_push(&self, push: &Push, sha256: &str) -> Result<Option<Accepted>, Error> {
        match self.catalog().find_push(&push.source, &push.key).await? {
            None => Ok(None),
            Some((upload, run, known)) if known == sha256 => {
                Ok(Some(Accepted { upload, run, duplicate: true }))
            }
            Some(_) => Err(Error::PushKey(format!("the key `{}` was used for other rows", push.key))),
        }
    }
}

/// One row a line, each as it was written. What is neither an array nor one object is taken for lines already: a broken
/// one becomes a dead letter, as in a file.
fn lines(rows: &[u8]) -> Result<Vec<u8>, Error> {
    let unreadable = |error: serde_json::Error| Error::Rows(error.to_string());
    let values: Vec<&RawValue> = if rows.trim_ascii_start().starts_with(b"[") {
        serde_json::from_slice(rows).map_err(unreadable)?
    } else if let Ok(one) = serde_json::from_slice(rows) {
        vec![one]
    } else {
        return Ok(rows.to_vec());
    };
    let mut lines = Vec::with_capacity(rows.len() + 1);
    for value in values {
        // Between its tokens JSON may have line ends, within a text it has none.
        lines.extend(value.get().bytes().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte }));
        lines.push(b'\n');
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn values(lines: &[u8]) -> Vec<Value> {
        let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
    }

    proptest! {
        #[test]
        fn an_array_is_the_same_rows_as_lines_however_it_is_laid_out(
            texts in prop::collection::vec(any::<String>(), 1..6),
            pretty in any::<bool>(),
        ) {
            let rows: Vec<Value> = texts.iter().map(|text| json!({ "a": text, "b": [1, { "c": null }] })).collect();
            let array = if pretty { serde_json::to_vec_pretty(&rows) } else { serde_json::to_vec(&rows) };
            prop_assert_eq!(values(&lines(&array.unwrap()).unwrap()), rows.clone());
            let text: String = rows.iter().map(|row| format!("{row}\n")).collect();
            prop_assert_eq!(values(&lines(text.as_bytes()).unwrap()), rows);
        }
    }

    #[test]
    fn numbers_keep_the_digits_that_they_were_written_with() {
        let text = br#"[{"price": 1.10, "id": 123456789012345678901234567890}]"#;
        assert_eq!(lines(text).unwrap(), b"{\"price\": 1.10, \"id\": 123456789012345678901234567890}\n");
    }

    #[test]
    fn an_array_that_is_cut_off_is_refused_and_a_broken_line_is_left_to_be_a_dead_letter() {
        assert!(matches!(lines(br#"[{"a": 1}, {"a""#), Err(Error::Rows(_))));
        assert_eq!(lines(b"{\"a\": 1}\n{\"a\"\n").unwrap(), b"{\"a\": 1}\n{\"a\"\n");
    }
}
