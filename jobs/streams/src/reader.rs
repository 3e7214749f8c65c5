//! One source's stream, read by one gateway: holds its share of the partitions, follows them, cuts batches.
//!
//! Batches of a reader follow one another; what comes meanwhile waits in memory, up to a bound, then in Kafka. A session
//! begins with what the database says and ends with the first thing that goes wrong; the next one begins anew.

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
    time::{Duration, Instant},
};

use chrono::TimeDelta;
use futures::future::join_all;
use rdkafka::{error::KafkaError, types::RDKafkaErrorCode};
use tidemill_catalog::{Catalog, GapReason, HeldPartition, OffsetRange, PendingBatch, StreamRef};
use tidemill_core::{Clock as _, Fault, SystemClock, Time};
use tidemill_runtime::Adopter;
use tidemill_spec::{Start, Stream};
use tidemill_store::{Claimed, Tx};
use tokio::{sync::oneshot, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    Error, KafkaOptions,
    batch::IngestBatch,
    buffer::{Buffer, Cut},
    client::{Client, Next},
    held::Held,
};

/// How often a reader says that it is there, and looks at what it holds.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Silence after which others take what a reader holds.
pub(crate) const LEASE: Duration = Duration::from_secs(4);
/// How often a topic is asked for new partitions.
const TOPIC_EVERY: Duration = Duration::from_secs(5);
/// A batch that takes longer may have failed for good.
const SUSPECT_AFTER: Duration = Duration::from_secs(2);
/// How long a fault is shown without a word: longer than the next try takes to fail.
const FAULT_LEASE: Duration = Duration::from_secs(15);
/// The pause after a session that failed.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Reads one source's stream.
#[derive(Clone, Debug)]
pub(crate) struct Reader {
    pub(crate) catalog: Catalog,
    pub(crate) options: KafkaOptions,
    pub(crate) held: Held,
    pub(crate) adopter: Adopter,
    pub(crate) source: String,
    pub(crate) stream: Stream,
    pub(crate) identity: tidemill_catalog::Reader,
}

impl Reader {
    /// Reads until `shutdown`, then lets go of what it holds.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            let Err(error) = self.session(&shutdown).await else { break };
            let fault = Fault::from_error(&error).message;
            tracing::warn!(
                source = self.source,
                topic = self.stream.topic,
                fault,
                "a stream is not read for now"
            );
            self.tell(&fault).await;
            shutdown.run_until_cancelled(tokio::time::sleep(AGAIN_AFTER)).await;
        }
        if let Err(error) = self.catalog.leave_stream(self.identity.id, &self.source).await {
            // What it holds is anybody's after a while.
            tracing::debug!(source = self.source, %error, "a reader left without a word");
        }
    }

    /// Says what keeps the reader, of whichever cluster; it holds nothing new meanwhile.
    async fn tell(&self, fault: &str) {
        let told = tidemill_catalog::Reader { lease: FAULT_LEASE, ..self.identity.clone() };
        if let Err(error) = self.catalog.share_partitions(&told, &self.of(""), &[], Some(fault)).await {
            tracing::debug!(%error, "nobody could be told");
        }
    }

    async fn session(&self, shutdown: &CancellationToken) -> Result<(), Error> {
        let client = Client::open(&self.options, &format!("tidemill.{}", self.source), &self.stream.topic)?;
        let of = self.of(&client.cluster().await?);
        let mut partitions = client.partitions().await?;
        self.catalog.discover_partitions(&of, partitions).await?;
        let mut asks = pin!(topic_later(client.clone(), TOPIC_EVERY));
        let mut session = Session {
            reader: self,
            buffer: Buffer::new(self.stream.batch),
            client: client.clone(),
            of,
            followed: BTreeMap::new(),
            under_way: None,
            gaps: BTreeSet::new(),
            told: Vec::new(),
            fault: None,
        };
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let due = session.due_in();
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                finished = session.finished() => session.finish(finished)?,
                answer = &mut asks => {
                    let (cluster, counted) = answer?;
                    if cluster != session.of.cluster {
                        return Err(session.lost_sight("its brokers are another cluster's"));
                    }
                    session.fault = None;
                    if counted != partitions {
                        partitions = counted;
                        self.catalog.discover_partitions(&session.of, partitions).await?;
                        looks.reset_immediately();
                    }
                    asks.set(topic_later(session.client.clone(), TOPIC_EVERY));
                }
                _ = looks.tick() => session.look().await?,
                () = tokio::time::sleep(due.unwrap_or_default()), if due.is_some() => session.cut().await?,
                next = client.next(), if session.buffer.has_room() => session.take(next)?,
            }
        }
    }

    fn of(&self, cluster: &str) -> StreamRef {
        let (source, topic) = (self.source.clone(), self.stream.topic.clone());
        StreamRef { source, cluster: cluster.to_owned(), topic }
    }
}

/// The cluster, and how many partitions the topic has, a while from now. What is read goes on meanwhile, and while Kafka is
/// away.
async fn topic_later(client: Client, after: Duration) -> Result<(String, i32), Error> {
    loop {
        tokio::time::sleep(after).await;
        // The answer about the topic brings the cluster's id along.
        let asked = async {
            let partitions = client.partitions().await?;
            Ok((client.cluster().await?, partitions))
        };
        match asked.await {
            Err(Error::NoTopic(topic)) => return Err(Error::NoTopic(topic)),
            Err(error) => tracing::debug!(%error, "a topic was not looked at"),
            Ok(answer) => return Ok(answer),
        }
    }
}

/// From one look at the database to the first thing that goes wrong.
struct Session<'r> {
    reader: &'r Reader,
    client: Client,
    of: StreamRef,
    /// The partitions that are read.
    followed: BTreeMap<i32, Followed>,
    buffer: Buffer,
    under_way: Option<UnderWay>,
    /// Partitions that may not have what is to be read next.
    gaps: BTreeSet<i32>,
    /// How far Kafka was told that we are.
    told: Vec<(i32, i64)>,
    /// What keeps Kafka.
    fault: Option<String>,
}

/// A partition that is read.
#[derive(Clone, Copy)]
struct Followed {
    generation: i16,
    /// The first offset that is not in the lake.
    next: i64,
    /// The own time of the last record that was in the lake when it was looked at.
    reached_at: Option<Time>,
}

/// A batch that is being brought into the lake.
struct UnderWay {
    batch: Uuid,
    ranges: Vec<OffsetRange>,
    since: Instant,
    finished: oneshot::Receiver<()>,
}

impl Session<'_> {
    fn due_in(&self) -> Option<Duration> {
        if self.under_way.is_some() { None } else { self.buffer.due_in(Instant::now()) }
    }

    /// Waits until the batch under way is in the lake, as far as that is known here; for ever if none is.
    async fn finished(&mut self) -> Result<(), oneshot::error::RecvError> {
        match &mut self.under_way {
            Some(under_way) => (&mut under_way.finished).await,
            None => std::future::pending().await,
        }
    }

    fn finish(&mut self, finished: Result<(), oneshot::error::RecvError>) -> Result<(), Error> {
        let Some(under_way) = self.under_way.take() else { return Ok(()) };
        if finished.is_err() {
            return Err(self.lost_sight("its records were dropped"));
        }
        self.passed(&under_way.ranges);
        Ok(())
    }

    /// Records of ranges are in the lake.
    fn passed(&mut self, ranges: &[OffsetRange]) {
        for range in ranges {
            if let Some(followed) = self.followed.get_mut(&range.partition) {
                followed.next = range.to;
            }
        }
    }

    fn take(&mut self, next: Next) -> Result<(), Error> {
        match next {
            Next::Record(record) => self.buffer.push(record, Instant::now()),
            // Of which one isn't told.
            Next::Gap => self.gaps.extend(self.followed.keys()),
            Next::End(_) => {}
            // It will not say so again, though it lasts.
            Next::Fault(error) if refused(&error) => return Err(error.into()),
            Next::Fault(error) => self.fault = Some(error.to_string()),
        }
        Ok(())
    }

    /// Fixes the next batch and has it brought into the lake.
    async fn cut(&mut self) -> Result<(), Error> {
        let Some(Cut { ranges, records }) = self.buffer.cut() else { return Ok(()) };
        let Reader { catalog, held, identity, adopter, .. } = self.reader;
        let (batch, store) = (Uuid::now_v7(), catalog.store());
        let cut_at = SystemClock.now();
        let now = store.data_clock().await?.at(cut_at);
        let mut tx = store.begin().await?;
        let cut = catalog.cut_batch(&mut tx, identity.id, &self.of, (batch, &ranges), now).await?;
        let Some(created_at) = cut else { return Err(self.lost_sight("another reader holds a partition")) };
        let args = self.args(batch, ranges.clone(), created_at, cut_at);
        let job = self.enqueue(tx, &args).await?;
        let finished = held.keep(batch, records);
        adopter.adopt(job);
        self.under_way = Some(UnderWay { batch, ranges, since: Instant::now(), finished });
        Ok(())
    }

    /// Commits a batch that `tx` has fixed, with the job that brings it: that is to be adopted.
    async fn enqueue(&self, mut tx: Tx, args: &IngestBatch) -> Result<Claimed, Error> {
        let Reader { catalog, adopter, .. } = self.reader;
        let job = adopter.enqueue(catalog.store(), &mut tx, args.job()).await?;
        catalog.set_batch_run(&mut tx, args.batch, job.run).await?;
        tx.commit().await?;
        Ok(job)
    }

    fn args(&self, batch: Uuid, ranges: Vec<OffsetRange>, created_at: Time, cut_at: Time) -> IngestBatch {
        let StreamRef { source, cluster, topic } = self.of.clone();
        IngestBatch { batch, source, cluster, topic, ranges, created_at, cut_at }
    }

    /// Says that the reader is there, and brings what it follows in line with what it holds.
    async fn look(&mut self) -> Result<(), Error> {
        let Reader { catalog, identity, .. } = self.reader;
        let share = async |session: &Self| {
            let fault = session.fault.as_deref();
            // Of those that it left the client knows what once held.
            let mut ends = session.client.ends();
            ends.retain(|(partition, _)| session.followed.contains_key(partition));
            catalog.share_partitions(identity, &session.of, &ends, fault).await
        };
        let mut held = share(self).await?;
        let begins = self.begins(&held).await;
        if !begins.is_empty() {
            catalog.start_partitions(&self.of, &begins).await?;
            held = share(self).await?;
        }
        let lost: Vec<i32> = self
            .followed
            .keys()
            .copied()
            .filter(|it| held.iter().all(|held| held.partition != *it))
            .collect();
        for partition in lost {
            self.leave(partition)?;
        }
        for partition in held {
            self.align(partition).await?;
        }
        self.tell();
        self.close_gaps().await
    }

    /// Tells Kafka how far we are, where that has changed.
    fn tell(&mut self) {
        let positions: Vec<_> =
            self.followed.iter().map(|(partition, followed)| (*partition, followed.next)).collect();
        if positions != self.told {
            self.client.tell(&positions);
            self.told = positions;
        }
    }

    /// Where reading of partitions begins that never were read. Of one that has no leader now the next look asks again.
    async fn begins(&mut self, held: &[HeldPartition]) -> Vec<(i32, i64)> {
        let begin = async |held: &HeldPartition| {
            // What is in a partition that the topic got while it was read came after reading began.
            let start = if held.found_later { Start::Earliest } else { self.reader.stream.start };
            (held.partition, self.client.begin(start, held.partition).await)
        };
        let unknown = held.iter().filter(|held| held.next_offset.is_none());
        let mut begins = Vec::new();
        for (partition, begins_at) in join_all(unknown.map(begin)).await {
            match begins_at {
                Ok(offset) => begins.push((partition, offset)),
                Err(error) => self.fault = Some(format!("partition {partition}: {error}")),
            }
        }
        begins
    }

    /// What is known here of a partition that the reader holds, and what the database says, become one.
    async fn align(&mut self, held: HeldPartition) -> Result<(), Error> {
        let Some(next) = held.next_offset else { return Ok(()) };
        let ours = self
            .under_way
            .as_ref()
            .filter(|it| it.ranges.iter().any(|range| range.partition == held.partition));
        match (ours, held.batch) {
            (Some(ours), Some(pending)) if pending.id == ours.batch => self.check_run(pending).await,
            // It was brought in by another gateway, or this one has yet to hear of it.
            (Some(_), None) => {
                self.finish_by(held.partition, next)?;
                self.follow(&held, next)
            }
            (Some(_), Some(_)) => Err(self.lost_sight("another batch is under way")),
            (None, Some(pending)) => self.take_over(held.partition, pending).await,
            (None, None) => self.follow(&held, next),
        }
    }

    /// A batch of ours is under way for long: if its run is over, it will not come.
    async fn check_run(&self, pending: PendingBatch) -> Result<(), Error> {
        let suspect = self.under_way.as_ref().is_some_and(|it| it.since.elapsed() > SUSPECT_AFTER);
        if suspect && self.over(pending).await? {
            self.reader.held.forget(pending.id);
            return Err(self.lost_sight("the run of its batch has ended without it"));
        }
        Ok(())
    }

    /// The database says that a batch of ours is in the lake.
    fn finish_by(&mut self, partition: i32, next: i64) -> Result<(), Error> {
        let Some(under_way) = &self.under_way else { return Ok(()) };
        let range = under_way.ranges.iter().find(|range| range.partition == partition);
        if range.is_some_and(|range| range.to != next) {
            return Err(self.lost_sight("its offsets were moved"));
        }
        if let Some(under_way) = self.under_way.take() {
            self.reader.held.forget(under_way.batch);
            self.passed(&under_way.ranges);
        }
        Ok(())
    }

    fn follow(&mut self, held: &HeldPartition, next: i64) -> Result<(), Error> {
        let HeldPartition { partition, generation, reached_at, .. } = *held;
        match self.followed.get_mut(&partition) {
            Some(known) if (known.generation, known.next) == (generation, next) => {
                known.reached_at = reached_at;
                return Ok(());
            }
            Some(_) => self.leave(partition)?,
            None => {}
        }
        self.client.follow(partition, next)?;
        self.buffer.follow(partition, generation, next);
        self.followed.insert(partition, Followed { generation, next, reached_at });
        Ok(())
    }

    fn leave(&mut self, partition: i32) -> Result<(), Error> {
        self.followed.remove(&partition);
        self.buffer.leave(partition);
        self.client.leave(partition)
    }

    /// A batch of somebody else is under way on a partition that is ours now: it is waited for, unless its run has ended
    /// without it. Then it is brought by a run of ours, with the moment that it had.
    async fn take_over(&mut self, partition: i32, pending: PendingBatch) -> Result<(), Error> {
        if self.followed.contains_key(&partition) {
            self.leave(partition)?;
        }
        if !self.over(pending).await? {
            return Ok(());
        }
        let Reader { catalog, identity, adopter, .. } = self.reader;
        let (batch, store) = (Uuid::now_v7(), catalog.store());
        let mut tx = store.begin().await?;
        let (ranges, created_at) =
            catalog.cut_again(&mut tx, identity.id, &self.of, (pending.id, batch)).await?;
        let Some(created_at) = created_at else { return Ok(()) };
        let args = self.args(batch, ranges, created_at, SystemClock.now());
        adopter.adopt(self.enqueue(tx, &args).await?);
        Ok(())
    }

    /// Whether the run of a batch has ended, while the batch is still under way.
    async fn over(&self, pending: PendingBatch) -> Result<bool, Error> {
        let Some(run) = pending.run else { return Ok(true) };
        match self.reader.catalog.store().run(run).await {
            Ok(page) => Ok(page.run.state.is_final()),
            Err(tidemill_store::Error::NoRun(_)) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    /// Goes on behind what Kafka doesn't have, of each partition once all that was read before is in the lake.
    async fn close_gaps(&mut self) -> Result<(), Error> {
        let suspects = std::mem::take(&mut self.gaps);
        let bounds = join_all(suspects.iter().map(|partition| self.client.bounds(*partition))).await;
        for (partition, bounds) in suspects.into_iter().zip(bounds) {
            let followed = self.followed.get(&partition).copied();
            let Some((followed, at)) = followed.zip(self.buffer.read(partition)) else { continue };
            let (low, high) = match bounds {
                Ok(bounds) => bounds,
                Err(error) => {
                    self.fault = Some(format!("partition {partition}: {error}"));
                    self.gaps.insert(partition);
                    continue;
                }
            };
            if (low..=high).contains(&at) {
                // The library stops at an error, wherever that was: it goes on, and what waits stays.
                self.client.leave(partition)?;
                self.client.follow(partition, at)?;
            } else if followed.next < at || !self.buffer.drained(partition) {
                self.gaps.insert(partition);
            } else {
                let gap = OffsetRange { partition, generation: followed.generation, from: at, to: low };
                let (reason, to) = self.why_gone(&gap, (low, high), followed.reached_at).await?;
                self.skip(OffsetRange { to, ..gap }, reason).await?;
            }
        }
        Ok(())
    }

    /// Why a partition doesn't have what is to be read next, and where it goes on.
    async fn why_gone(
        &self,
        gap: &OffsetRange,
        (low, high): (i64, i64),
        reached_at: Option<Time>,
    ) -> Result<(GapReason, i64), Error> {
        if gap.from < low {
            return Ok((GapReason::Retention, low));
        }
        // Nothing is there, or all of it is later than what was read: another topic's. Else the end was cut off, and what is left
        // was read.
        let anew = match reached_at {
            Some(at) if low < high => {
                let later = at + TimeDelta::milliseconds(1);
                self.client.first_at(gap.partition, later).await? == Some(low)
            }
            _ => true,
        };
        Ok(if anew { (GapReason::TopicAnew, low) } else { (GapReason::Truncated, high) })
    }

    async fn skip(&mut self, gap: OffsetRange, reason: GapReason) -> Result<(), Error> {
        let OffsetRange { partition, from, to, .. } = gap;
        let (source, topic, reason_told) = (&self.of.source, &self.of.topic, reason.as_str());
        tracing::error!(source, topic, partition, from, to, reason_told, "records are missing in Kafka");
        self.reader.catalog.skip_gap(&self.of, gap, reason).await?;
        // The look that follows finds where it goes on.
        self.leave(partition)
    }

    fn lost_sight(&self, why: &str) -> Error {
        Error::LostSight { source_name: self.of.source.clone(), why: why.to_owned() }
    }
}

/// Whether Kafka will say no until somebody changes something.
fn refused(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    let code = match error {
        KafkaError::MessageConsumption(code) | KafkaError::MessageConsumptionFatal(code) => *code,
        _ => return false,
    };
    matches!(
        code,
        Code::TopicAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::SaslAuthenticationFailed
            | Code::Authentication
    )
}
