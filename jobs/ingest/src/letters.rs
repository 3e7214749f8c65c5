//! Dead letters: rows that could not be taken, and where they came from.

use std::{fmt, str::FromStr};

use serde::Serialize;
use serde_json::Value as Json;
use tidemill_core::UploadId;
use tidemill_offline::upload::{DeadRow, Letter, StreamPlace};

use crate::{Error, Ingest};

/// What a row came with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A file, or a push.
    Upload(UploadId),
    /// A topic of a cluster of Kafka.
    Topic {
        /// Kafka's id of the cluster.
        cluster: String,
        /// The topic.
        topic: String,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Upload(id) => write!(f, "{id}"),
            Self::Topic { cluster, topic } => write!(f, "kafka/{cluster}/{topic}"),
        }
    }
}

impl FromStr for Origin {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if let Some((cluster, topic)) = text.strip_prefix("kafka/").and_then(|rest| rest.rsplit_once('/')) {
            return Ok(Self::Topic { cluster: cluster.to_owned(), topic: topic.to_owned() });
        }
        let unknown =
            |_| Error::Mismatch(format!("`{text}` in the dead letters is neither upload nor topic"));
        text.parse().map(Self::Upload).map_err(unknown)
    }
}

/// A row that could not be taken, as people read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeadLetter {
    /// Where it is.
    #[serde(flatten)]
    pub place: Place,
    /// The first column that is bad.
    pub column: Option<String>,
    /// What is wrong, all of it.
    pub reason: String,
    /// The row.
    pub raw: Json,
}

/// Where a dead letter is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Place {
    /// A row of a file.
    File {
        /// The upload.
        upload: UploadId,
        /// Data row, from 1.
        row: i64,
        /// Line in a text file, from 1.
        line: Option<i64>,
    },
    /// A record of a stream.
    Record {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The offset.
        offset: i64,
    },
}

impl DeadLetter {
    fn of(origin: Origin, row: DeadRow) -> Self {
        let place = match origin {
            Origin::Upload(upload) => Place::File { upload, row: row.row + 1, line: row.line },
            Origin::Topic { topic, .. } => {
                let StreamPlace { partition, offset, .. } = StreamPlace::of_row(row.row);
                Place::Record { topic, partition, offset }
            }
        };
        let raw = serde_json::from_str(&row.raw).unwrap_or(Json::String(row.raw));
        Self { place, column: row.column, reason: row.reason, raw }
    }
}

impl Ingest {
    /// Dead letters of a source that are left, the newest first, those of one file or topic in its order; at most `limit`.
    pub async fn dead_letters(&self, source: &str, limit: u32) -> Result<Vec<DeadLetter>, Error> {
        let letters = self.letters(source, limit).await?;
        Ok(letters.into_iter().map(|(origin, letter)| DeadLetter::of(origin, letter.row)).collect())
    }

    pub(crate) async fn letters(&self, source: &str, limit: u32) -> Result<Vec<(Origin, Letter)>, Error> {
        let letters = self.lake().dead_letters(source, limit).await?;
        letters.into_iter().map(|letter| Ok((letter.origin.parse()?, letter))).collect()
    }
}
