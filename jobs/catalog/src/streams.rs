//! How far the topics of streams are read, who reads which partition, and the batches under way.
//!
//! Holding a partition only saves others the work: what is written of offsets names what it starts from, so two readers
//! that both believe to hold one can do nothing twice. `streams` decides, this module remembers.

use std::time::Duration;

use serde::Serialize;
use sqlx::{FromRow, Row as _};
use tidemill_core::{RunId, Time};
use tidemill_store::Tx;
use uuid::Uuid;

use crate::{Catalog, Error};

/// A topic as a source reads it, on one cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StreamRef {
    /// The source.
    pub source: String,
    /// Kafka's id of the cluster.
    pub cluster: String,
    /// The topic.
    pub topic: String,
}

/// Records of one partition: from an offset to before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct OffsetRange {
    /// The partition.
    pub partition: i32,
    /// Which of the topics that its source has read under this number it is.
    pub generation: i16,
    /// The first offset.
    pub from: i64,
    /// The first offset after it.
    pub to: i64,
}

/// A process that reads a stream.
#[derive(Clone, Debug)]
pub struct Reader {
    /// Its id, drawn at its start.
    pub id: Uuid,
    /// Host and process, for people.
    pub name: String,
    /// How long it is believed to be there without a word.
    pub lease: Duration,
}

/// A partition that a reader holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldPartition {
    /// The partition.
    pub partition: i32,
    /// Which of the topics that its source has read under this number it is.
    pub generation: i16,
    /// The topic was read before the partition was found.
    pub found_later: bool,
    /// The first offset that is not in the lake; none: where reading begins is not known yet.
    pub next_offset: Option<i64>,
    /// The batch under way.
    pub batch: Option<PendingBatch>,
    /// The own time of the last record in the lake.
    pub reached_at: Option<Time>,
}

/// A batch that is being brought into the lake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PendingBatch {
    /// Its id.
    pub id: Uuid,
    /// The first offset after it.
    pub to: i64,
    /// The run that brings it.
    pub run: Option<RunId>,
}

/// What of a partition came into the lake with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionDone {
    /// Which records.
    pub range: OffsetRange,
    /// Valid rows.
    pub rows: i64,
    /// Dead letters.
    pub dead_letters: i64,
    /// The newest event of the rows.
    pub newest_event_at: Option<Time>,
    /// The last record's own time.
    pub reached_at: Option<Time>,
}

/// How far a partition is, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, FromRow)]
pub struct StreamPartition {
    /// Kafka's id of the cluster.
    pub cluster: String,
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The first offset that is not in the lake.
    pub next_offset: Option<i64>,
    /// The offset that the next record will get, as last heard.
    pub high_offset: Option<i64>,
    /// The last record's own time.
    pub reached_at: Option<Time>,
    /// When its last batch was committed, real time.
    pub moved_at: Option<Time>,
    /// Rows of it in the lake.
    pub rows: i64,
    /// Dead letters of it that are left.
    pub dead_letters: i64,
    /// Its newest event.
    pub newest_event_at: Option<Time>,
    /// The run of the batch under way.
    #[sqlx(try_from = "RunColumn")]
    pub run: Option<RunId>,
    /// Who reads it.
    pub reader: Option<String>,
    /// That reader's id.
    pub holder: Option<Uuid>,
}

/// A run as a column has it.
#[derive(sqlx::Type)]
#[sqlx(transparent)]
struct RunColumn(Option<Uuid>);

impl From<RunColumn> for Option<RunId> {
    fn from(RunColumn(id): RunColumn) -> Self {
        id.map(RunId::from)
    }
}

/// Who reads a stream now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, FromRow)]
pub struct StreamReader {
    /// Host and process.
    pub name: String,
    /// The topic.
    pub topic: String,
    /// Why nothing comes, if it doesn't.
    pub fault: Option<String>,
}

/// Records that Kafka no longer had when they were to be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, FromRow)]
pub struct StreamGap {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The first offset that is missing.
    pub from_offset: i64,
    /// The first offset after it that is there.
    pub to_offset: i64,
    /// `retention` has passed, the partition was `truncated`, or the `topic made anew`.
    pub reason: String,
    /// When it was found, real time.
    pub found_at: Time,
}

/// Why records are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapReason {
    /// Kafka no longer keeps them.
    Retention,
    /// The end of the partition was cut off: a broker lost what it had acknowledged.
    Truncated,
    /// The topic was deleted and made anew: its offsets began again.
    TopicAnew,
}

impl GapReason {
    /// The words that SQL and output use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retention => "retention",
            Self::Truncated => "truncated",
            Self::TopicAnew => "topic made anew",
        }
    }
}

impl Catalog {
    /// Writes down the partitions that a topic has. Safe to repeat.
    pub async fn discover_partitions(&self, stream: &StreamRef, partitions: i32) -> Result<(), Error> {
        of(include_str!("../queries/stream/discover.sql"), stream)
            .bind(partitions)
            .execute(self.pool())
            .await?;
        Ok(())
    }

    /// Says that a reader is there, gives it its fair share of a stream's partitions, and returns those that it holds.
    /// `ends`: what it has heard of the ends of partitions; `fault`: what keeps it. Safe to repeat: say it more often than
    /// the lease is long.
    pub async fn share_partitions(
        &self,
        reader: &Reader,
        stream: &StreamRef,
        ends: &[(i32, i64)],
        fault: Option<&str>,
    ) -> Result<Vec<HeldPartition>, Error> {
        let mut tx = self.store().begin().await?;
        let lease = reader.lease.as_secs_f64();
        lock(&mut tx, stream).await?;
        sqlx::query(include_str!("../queries/stream/present.sql"))
            .bind(reader.id)
            .bind(&stream.source)
            .bind(&stream.cluster)
            .bind(&stream.topic)
            .bind(&reader.name)
            .bind(lease)
            .bind(fault)
            .execute(tx.conn())
            .await?;
        let (partitions, highs): (Vec<i32>, Vec<i64>) = ends.iter().copied().unzip();
        of(include_str!("../queries/stream/heard.sql"), stream)
            .bind(partitions)
            .bind(highs)
            .execute(tx.conn())
            .await?;
        let share: i32 =
            of(include_str!("../queries/stream/share.sql"), stream).fetch_one(tx.conn()).await?.try_get(0)?;
        for statement in
            [include_str!("../queries/stream/renew.sql"), include_str!("../queries/stream/take.sql")]
        {
            of(statement, stream).bind(reader.id).bind(share).bind(lease).execute(tx.conn()).await?;
        }
        let held = of(include_str!("../queries/stream/held.sql"), stream)
            .bind(reader.id)
            .fetch_all(tx.conn())
            .await?;
        tx.commit().await?;
        held.iter()
            .map(|row| {
                let (batch, to): (Option<Uuid>, Option<i64>) =
                    (row.try_get("batch")?, row.try_get("batch_to")?);
                let run = row.try_get::<Option<Uuid>, _>("run")?.map(RunId::from);
                Ok(HeldPartition {
                    partition: row.try_get("partition")?,
                    generation: row.try_get("generation")?,
                    found_later: row.try_get("found_later")?,
                    reached_at: row.try_get("reached_at")?,
                    next_offset: row.try_get("next_offset")?,
                    batch: batch.zip(to).map(|(id, to)| PendingBatch { id, to, run }),
                })
            })
            .collect()
    }

    /// Lets go of all that a reader holds of a source's stream: it goes.
    pub async fn leave_stream(&self, reader: Uuid, source: &str) -> Result<(), Error> {
        let mut tx = self.store().begin().await?;
        lock_source(&mut tx, source).await?;
        let leave = sqlx::query(include_str!("../queries/stream/leave.sql")).bind(reader).bind(source);
        leave.execute(tx.conn()).await?;
        Ok(tx.commit().await?)
    }

    /// Fixes where reading of partitions begins, unless it is known. Safe to repeat.
    pub async fn start_partitions(&self, stream: &StreamRef, begins: &[(i32, i64)]) -> Result<(), Error> {
        let (partitions, offsets): (Vec<i32>, Vec<i64>) = begins.iter().copied().unzip();
        let mut tx = self.store().begin().await?;
        lock(&mut tx, stream).await?;
        of(include_str!("../queries/stream/start.sql"), stream)
            .bind(partitions)
            .bind(offsets)
            .execute(tx.conn())
            .await?;
        Ok(tx.commit().await?)
    }

    /// Fixes a batch of what a reader holds; returns its moment on the data clock, which is `now` or that of an earlier batch.
    /// `None` where not all of it is there to be cut: nothing may be committed then.
    pub async fn cut_batch(
        &self,
        tx: &mut Tx,
        reader: Uuid,
        stream: &StreamRef,
        (batch, ranges): (Uuid, &[OffsetRange]),
        now: Time,
    ) -> Result<Option<Time>, Error> {
        lock(tx, stream).await?;
        let cut = of_ranges(of(include_str!("../queries/stream/cut.sql"), stream).bind(reader), ranges)
            .bind(batch)
            .bind(now)
            .fetch_all(tx.conn())
            .await?;
        if cut.len() != ranges.len() {
            return Ok(None);
        }
        Ok(cut.first().map(|row| row.try_get(0)).transpose()?)
    }

    /// Makes what a reader holds of a batch whose run is over a batch of its own; returns its ranges, and its moment.
    pub async fn cut_again(
        &self,
        tx: &mut Tx,
        reader: Uuid,
        stream: &StreamRef,
        (old, batch): (Uuid, Uuid),
    ) -> Result<(Vec<OffsetRange>, Option<Time>), Error> {
        lock(tx, stream).await?;
        let cut = of(include_str!("../queries/stream/again.sql"), stream)
            .bind(old)
            .bind(reader)
            .bind(batch)
            .fetch_all(tx.conn())
            .await?;
        let (mut ranges, mut created_at) = (Vec::new(), None);
        for row in cut {
            ranges.push(OffsetRange {
                partition: row.try_get("partition")?,
                generation: row.try_get("generation")?,
                from: row.try_get("next_offset")?,
                to: row.try_get("batch_to")?,
            });
            created_at = created_at.max(row.try_get("created_at")?);
        }
        ranges.sort_unstable_by_key(|range| range.partition);
        Ok((ranges, created_at))
    }

    /// Notes the run that brings a batch.
    pub async fn set_batch_run(&self, tx: &mut Tx, batch: Uuid, run: RunId) -> Result<(), Error> {
        let set = sqlx::query(include_str!("../queries/stream/set_run.sql")).bind(batch).bind(run.as_uuid());
        set.execute(tx.conn()).await?;
        Ok(())
    }

    /// Moves the partitions of a batch that is in the lake. False where one of them is elsewhere by now: nothing may be
    /// committed then.
    pub async fn finish_batch(
        &self,
        tx: &mut Tx,
        stream: &StreamRef,
        batch: Uuid,
        done: &[PartitionDone],
    ) -> Result<bool, Error> {
        lock(tx, stream).await?;
        let ranges: Vec<OffsetRange> = done.iter().map(|done| done.range).collect();
        let finished =
            of_ranges(of(include_str!("../queries/stream/finish.sql"), stream).bind(batch), &ranges)
                .bind(done.iter().map(|done| done.rows).collect::<Vec<_>>())
                .bind(done.iter().map(|done| done.dead_letters).collect::<Vec<_>>())
                .bind(done.iter().map(|done| done.newest_event_at).collect::<Vec<_>>())
                .bind(done.iter().map(|done| done.reached_at).collect::<Vec<_>>())
                .execute(tx.conn())
                .await?;
        Ok(usize::try_from(finished.rows_affected()).is_ok_and(|rows| rows == done.len()))
    }

    /// Goes on behind records that Kafka doesn't have any more, and remembers that they are missing. Safe to repeat.
    pub async fn skip_gap(
        &self,
        stream: &StreamRef,
        gap: OffsetRange,
        reason: GapReason,
    ) -> Result<(), Error> {
        of(include_str!("../queries/stream/skip.sql"), stream)
            .bind(gap.partition)
            .bind(gap.from)
            .bind(gap.to)
            .bind(reason.as_str())
            .bind(gap.to < gap.from)
            .execute(self.pool())
            .await?;
        Ok(())
    }

    /// Remembers that records are missing, of a batch that goes without them.
    pub async fn note_gap(
        &self,
        tx: &mut Tx,
        stream: &StreamRef,
        gap: OffsetRange,
        reason: GapReason,
    ) -> Result<(), Error> {
        of(include_str!("../queries/stream/note_gap.sql"), stream)
            .bind(gap.partition)
            .bind(gap.from)
            .bind(gap.to)
            .bind(reason.as_str())
            .execute(tx.conn())
            .await?;
        Ok(())
    }

    /// How far each partition that a source reads is.
    pub async fn stream_partitions(&self, source: &str) -> Result<Vec<StreamPartition>, Error> {
        let rows = sqlx::query_as(include_str!("../queries/stream/partitions.sql")).bind(source);
        Ok(rows.fetch_all(self.pool()).await?)
    }

    /// Who reads a source's stream now.
    pub async fn stream_readers(&self, source: &str) -> Result<Vec<StreamReader>, Error> {
        let rows = sqlx::query_as(include_str!("../queries/stream/readers.sql")).bind(source);
        Ok(rows.fetch_all(self.pool()).await?)
    }

    /// What is missing of a source's stream, newest first.
    pub async fn stream_gaps(&self, source: &str, limit: u32) -> Result<Vec<StreamGap>, Error> {
        let rows = sqlx::query_as(include_str!("../queries/stream/gaps.sql")).bind(source);
        Ok(rows.bind(i64::from(limit)).fetch_all(self.pool()).await?)
    }

    /// Dead letters of a stream became rows: so many of each partition.
    pub async fn replay_stream(
        &self,
        tx: &mut Tx,
        stream: &StreamRef,
        rows: &[(i32, i64)],
    ) -> Result<(), Error> {
        lock(tx, stream).await?;
        let (partitions, rows): (Vec<i32>, Vec<i64>) = rows.iter().copied().unzip();
        let revived = of(include_str!("../queries/stream/replayed.sql"), stream).bind(partitions).bind(rows);
        revived.execute(tx.conn()).await?;
        Ok(())
    }

    /// The rows that a source's stream brought are taken away; what is read goes on where it is.
    pub async fn empty_stream(&self, tx: &mut Tx, source: &str) -> Result<(), Error> {
        lock_source(tx, source).await?;
        sqlx::query(include_str!("../queries/stream/emptied.sql")).bind(source).execute(tx.conn()).await?;
        Ok(())
    }

    /// Notes that rows which partitions brought were erased: partition, generation, and how many.
    pub async fn erase_stream_rows(
        &self,
        tx: &mut Tx,
        source: &str,
        erased: &[(i32, i16, i64)],
    ) -> Result<(), Error> {
        lock_source(tx, source).await?;
        sqlx::query(include_str!("../queries/stream/erased.sql"))
            .bind(source)
            .bind(erased.iter().map(|(partition, _, _)| *partition).collect::<Vec<_>>())
            .bind(erased.iter().map(|(_, generation, _)| *generation).collect::<Vec<_>>())
            .bind(erased.iter().map(|(_, _, rows)| *rows).collect::<Vec<_>>())
            .execute(tx.conn())
            .await?;
        Ok(())
    }

    /// Forgets the stream of a source that is gone.
    pub async fn forget_stream(&self, tx: &mut Tx, source: &str) -> Result<(), Error> {
        lock_source(tx, source).await?;
        sqlx::query(include_str!("../queries/stream/forget.sql")).bind(source).execute(tx.conn()).await?;
        Ok(())
    }
}

async fn lock(tx: &mut Tx, stream: &StreamRef) -> Result<(), Error> {
    of(include_str!("../queries/stream/lock.sql"), stream).execute(tx.conn()).await?;
    Ok(())
}

async fn lock_source(tx: &mut Tx, source: &str) -> Result<(), Error> {
    sqlx::query(include_str!("../queries/stream/lock_source.sql")).bind(source).execute(tx.conn()).await?;
    Ok(())
}

type Statement<'s> = sqlx::query::Query<'s, sqlx::Postgres, sqlx::postgres::PgArguments>;

fn of<'s>(statement: &'static str, stream: &'s StreamRef) -> Statement<'s> {
    sqlx::query(statement).bind(&stream.source).bind(&stream.cluster).bind(&stream.topic)
}

fn of_ranges<'s>(statement: Statement<'s>, ranges: &[OffsetRange]) -> Statement<'s> {
    statement
        .bind(ranges.iter().map(|range| range.partition).collect::<Vec<_>>())
        .bind(ranges.iter().map(|range| range.from).collect::<Vec<_>>())
        .bind(ranges.iter().map(|range| range.to).collect::<Vec<_>>())
}
