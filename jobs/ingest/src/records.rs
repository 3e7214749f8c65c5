//! Records of a stream: what the jobs of `streams` do with a batch of them, in the same steps as with a chunk of a file.

use bytes::Bytes;
use tidemill_core::Time;
use tidemill_offline::{
    Staged,
    upload::{Stamp, StreamPlace},
};
use tidemill_spec::{Source, Stream};
use tidemill_store::Tx;

use crate::{
    Error, Ingest, Origin,
    intake::{Intake, text_rows},
    split::{self, format_of},
};

/// A record of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The partition.
    pub partition: i32,
    /// Which of the topics that its source has read under this number it is.
    pub generation: i16,
    /// The offset.
    pub offset: i64,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value; none: a tombstone.
    pub value: Option<Bytes>,
    /// Its own time, as its producer or Kafka set it.
    pub at: Option<Time>,
}

impl Record {
    /// Its number among all records of its source.
    pub fn row(&self) -> i64 {
        let Self { partition, generation, offset, .. } = *self;
        StreamPlace { generation, partition, offset }.row()
    }

    /// Bytes that it holds.
    pub fn size(&self) -> usize {
        self.key.as_ref().map_or(0, Bytes::len) + self.value.as_ref().map_or(0, Bytes::len)
    }
}

/// What a batch is taken with; fixed when it was cut, so that a repeat stages the same.
#[derive(Clone, Debug)]
pub struct BatchStamp {
    /// Names what is staged and published.
    pub key: String,
    /// The topic.
    pub origin: Origin,
    /// Its moment on the data clock.
    pub created_at: Time,
    /// Its moment in real time.
    pub cut_at: Time,
}

/// A batch, staged unseen.
#[derive(Clone, Debug, PartialEq)]
pub struct StagedRecords {
    /// Valid rows.
    pub rows: u64,
    /// Records that could not be taken.
    pub dead: Vec<StreamPlace>,
    /// The newest event.
    pub newest_event_at: Option<Time>,
    /// Some timestamp came without a zone and was read as UTC.
    pub naive_timestamps: bool,
    /// What was not declared and ignored, in words; none where there was nothing.
    pub ignored: Option<String>,
    staged: Vec<Staged>,
    staged_dead: Vec<Staged>,
}

impl Ingest {
    /// Types and judges records and stages what came out. Safe to repeat: files are named by the batch.
    ///
    /// # Errors
    /// When the platform fails; never because of a record.
    pub async fn stage_records(
        &self,
        (source, stream): (&Source, &Stream),
        records: Vec<Record>,
        batch: &BatchStamp,
    ) -> Result<StagedRecords, Error> {
        let (declared, stream) = (source.clone(), stream.clone());
        let format = format_of(&stream);
        let split = tokio::task::spawn_blocking(move || split::records(&records, &stream, &declared))
            .await
            .map_err(std::io::Error::other)??;
        let stamp = Stamp::of_stream(batch.created_at);
        let intake = Intake { source: source.clone(), origin: batch.origin.clone(), stamp };
        let digest = self.digest(text_rows(format, split.rows), &intake).await?;
        let mut dead = split.dead;
        dead.extend(digest.dead);
        dead.sort_by_key(|letter| letter.row);
        Ok(StagedRecords {
            rows: digest.rows.num_rows() as u64,
            dead: dead.iter().map(|letter| StreamPlace::of_row(letter.row)).collect(),
            newest_event_at: digest.newest_event_at,
            naive_timestamps: digest.naive_timestamps,
            ignored: crate::extra::told(&split.ignored.into_counts()),
            staged: self.stage(&intake, &batch.key, 0, digest.rows).await?,
            staged_dead: self.stage_dead(&intake, &batch.key, 0, &dead, batch.cut_at, false).await?,
        })
    }

    /// Makes a staged batch visible. [`Ingest::update_features`] is to follow, last.
    pub async fn publish_records(
        &self,
        tx: &mut Tx,
        source: &str,
        batch: &BatchStamp,
        staged: &StagedRecords,
    ) -> Result<(), Error> {
        self.publish_files(tx, source, &batch.key, &staged.staged_dead, &staged.staged).await
    }
}
