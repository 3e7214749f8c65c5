//! `ingest.batch`: the records of a batch become rows, and their offsets are behind us, in one transaction.
//!
//! Safe to repeat: what is in the batch, and its moment, was fixed when it was cut; what is staged is named by the batch; its
//! partitions move only from where it begins. Run by the gateway that cut it, which has its records; another reads them again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;
use tidemill_catalog::{Catalog, Edge, GapReason, Node, OffsetRange, PartitionDone, StreamRef};
use tidemill_core::{Fault, JobError, Kind, Time};
use tidemill_ingest::{BatchStamp, Ingest, Origin, Record, StagedRecords};
use tidemill_runtime::{Context, Job, Outcome, job_new};
use tidemill_spec::{Source, Stream};
use tidemill_store::NewJob;
use uuid::Uuid;

use crate::{
    Error, KafkaOptions,
    client::{Refetched, refetch},
    held::Held,
};

/// Kind of [`IngestBatch`].
pub const INGEST_BATCH: Kind = Kind::new("ingest.batch");

/// Brings a batch of a stream into the lake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IngestBatch {
    /// Its id, drawn when it was cut.
    pub batch: Uuid,
    /// The source.
    pub source: String,
    /// Kafka's id of the cluster.
    pub cluster: String,
    /// The topic.
    pub topic: String,
    /// What it covers, by partition.
    pub ranges: Vec<OffsetRange>,
    /// Its moment on the data clock: `created_at` of its rows.
    pub created_at: Time,
    /// Its moment in real time.
    pub cut_at: Time,
}

impl IngestBatch {
    /// The job.
    pub(crate) fn job(&self) -> NewJob {
        job_new(INGEST_BATCH, self)
    }

    fn stream(&self) -> StreamRef {
        let (source, cluster, topic) = (self.source.clone(), self.cluster.clone(), self.topic.clone());
        StreamRef { source, cluster, topic }
    }

    /// Why records of a range are missing: all of it, or its first ones.
    fn why_missing(&self, gap: &OffsetRange) -> GapReason {
        if self.ranges.contains(gap) { GapReason::Truncated } else { GapReason::Retention }
    }

    fn stamp(&self) -> BatchStamp {
        BatchStamp {
            key: self.batch.to_string(),
            origin: Origin::Topic { cluster: self.cluster.clone(), topic: self.topic.clone() },
            created_at: self.created_at,
            cut_at: self.cut_at,
        }
    }
}

/// The job.
#[derive(Debug)]
pub struct BatchJob {
    ingest: Ingest,
    catalog: Catalog,
    options: KafkaOptions,
    held: Held,
}

impl BatchJob {
    pub(crate) fn new(ingest: Ingest, catalog: Catalog, options: KafkaOptions, held: Held) -> Self {
        Self { ingest, catalog, options, held }
    }

    async fn records(&self, args: &IngestBatch) -> Result<Refetched, Error> {
        match self.held.get(args.batch) {
            Some(records) => Ok(Refetched { records: records.to_vec(), missing: Vec::new() }),
            None => refetch(&self.options, (&args.cluster, &args.topic), &args.ranges).await,
        }
    }

    /// The source as it is declared now.
    async fn declared(&self, args: &IngestBatch) -> Result<(Source, Stream), JobError> {
        let mut objects = self.catalog.objects().await.map_err(Error::from)?;
        let source = objects.sources.swap_remove(&args.source);
        let stream = source.as_ref().and_then(|source| source.stream.clone());
        source.zip(stream).filter(|(_, stream)| stream.topic == args.topic).ok_or_else(|| {
            let IngestBatch { source, topic, .. } = args;
            let message = format!("source `{source}` no longer declares the stream of topic `{topic}`");
            JobError::Discard(
                Fault::coded(521, message)
                    .hint("the records stay in Kafka; once the source declares it again, they are read"),
            )
        })
    }
}

impl Job for BatchJob {
    type Args = IngestBatch;
    type Checkpoint = ();
    const KIND: Kind = INGEST_BATCH;

    async fn run(&self, args: &IngestBatch, cx: &mut Context<()>) -> Result<Outcome, JobError> {
        let (source, stream) = self.declared(args).await?;
        let Refetched { records, missing } = self.records(args).await?;
        let counted = Counted::of(&records);
        let stamp = args.stamp();
        let staged =
            self.ingest.stage_records((&source, &stream), records, &stamp).await.map_err(Error::from)?;
        cx.log(format!("{} rows, {} dead letters", staged.rows, staged.dead.len()));
        if let Some(ignored) = &staged.ignored {
            cx.log(ignored);
        }

        let mut tx = cx.begin().await?;
        // A view that is declared from now on is computed after this commit, and sees its rows without being asked.
        self.catalog.hold_objects(&mut tx).await.map_err(Error::from)?;
        self.ingest.publish_records(&mut tx, &args.source, &stamp, &staged).await.map_err(Error::from)?;
        let of = args.stream();
        let done = counted.done(&args.ranges, &staged);
        if !self.catalog.finish_batch(&mut tx, &of, args.batch, &done).await.map_err(Error::from)? {
            cx.log("another run has brought these records, or will");
            return Ok(Outcome::Completed(json!({ "rows": 0, "dead_letters": 0, "overtaken": true })));
        }
        for gap in &missing {
            tracing::error!(source = args.source, topic = args.topic, ?gap, "records are missing in Kafka");
            self.catalog.note_gap(&mut tx, &of, *gap, args.why_missing(gap)).await.map_err(Error::from)?;
        }
        let edge = Edge::new(Node::Topic(args.topic.clone()), Node::Source(args.source.clone()));
        self.catalog.lineage(&mut tx, &[edge]).await.map_err(Error::from)?;
        if staged.rows > 0 {
            self.ingest.update_features(&mut tx, &args.source).await.map_err(Error::from)?;
        }
        let outputs = json!({ "rows": staged.rows, "dead_letters": staged.dead.len(), "missing": missing });
        let outcome = cx.commit(tx, outputs).await?;
        self.held.finish(args.batch);
        Ok(outcome)
    }
}

/// Records of a batch by partition: how many, and the last one's own time.
struct Counted(BTreeMap<i32, (i64, Option<Time>)>);

impl Counted {
    fn of(records: &[Record]) -> Self {
        let mut of = BTreeMap::<i32, (i64, Option<Time>)>::new();
        for record in records {
            let (count, reached_at) = of.entry(record.partition).or_default();
            *count += 1;
            *reached_at = record.at.or(*reached_at);
        }
        Self(of)
    }

    /// What came of each partition. The newest event is that of the whole batch.
    fn done(&self, ranges: &[OffsetRange], staged: &StagedRecords) -> Vec<PartitionDone> {
        let done = |range: &OffsetRange| {
            let (records, reached_at) = self.0.get(&range.partition).copied().unwrap_or_default();
            let dead = staged.dead.iter().filter(|place| place.partition == range.partition).count();
            let dead_letters = i64::try_from(dead).unwrap_or(i64::MAX);
            PartitionDone {
                range: *range,
                rows: records - dead_letters,
                dead_letters,
                newest_event_at: staged.newest_event_at,
                reached_at,
            }
        };
        ranges.iter().map(done).collect()
    }
}
