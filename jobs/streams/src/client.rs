//! A connection to Kafka: one topic, read by offset.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use chrono::{DateTime, Datelike as _};
use rdkafka::{
    ClientConfig, ClientContext, Message as _, Offset, Statistics, Timestamp, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, StreamConsumer},
    error::{KafkaError, RDKafkaErrorCode},
    message::BorrowedMessage,
};
use tidemill_catalog::OffsetRange;
use tidemill_core::Time;
use tidemill_ingest::Record;
use tidemill_spec::Start;

use crate::{Error, KafkaOptions};

/// How long one question to Kafka may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// How long the leader of a partition may take: shorter than a lease, for a reader asks in between.
const LEADER_WITHIN: Duration = Duration::from_secs(2);

/// A topic of a cluster. Clones share the connection.
#[derive(Clone)]
pub(crate) struct Client {
    consumer: Arc<StreamConsumer<Heard>>,
    /// Tells how far we are. Apart: while something is being told, a consumer begins with no other partition.
    teller: Arc<BaseConsumer>,
    topic: String,
    brokers: String,
    ends: Ends,
}

/// The offset that the next record of each partition will get, as last heard.
type Ends = Arc<Mutex<BTreeMap<i32, i64>>>;

/// What came next.
#[derive(Debug)]
pub(crate) enum Next {
    Record(Record),
    /// A partition has no more for now; told where that was asked for.
    End(i32),
    /// Some partition doesn't have the offset that is to be read.
    Gap,
    /// Something is wrong for now; the client goes on by itself.
    Fault(KafkaError),
}

/// Records of a batch that were read again, and those of its ranges that Kafka no longer has.
#[derive(Debug)]
pub(crate) struct Refetched {
    pub(crate) records: Vec<Record>,
    pub(crate) missing: Vec<OffsetRange>,
}

impl Client {
    /// Prepares it: nothing is asked yet. `group`: under which name it tells Kafka how far it is.
    pub(crate) fn open(options: &KafkaOptions, group: &str, topic: &str) -> Result<Self, Error> {
        Self::configured(options, &options.client(group)?, topic)
    }

    fn configured(options: &KafkaOptions, config: &ClientConfig, topic: &str) -> Result<Self, Error> {
        let ends = Ends::default();
        let heard = Heard { topic: topic.to_owned(), ends: Arc::clone(&ends) };
        let (consumer, teller) = (config.create_with_context(heard)?, Arc::new(config.create()?));
        let (topic, brokers) = (topic.to_owned(), options.brokers.clone());
        Ok(Self { consumer: Arc::new(consumer), teller, topic, brokers, ends })
    }

    /// Kafka's own id of the cluster.
    pub(crate) async fn cluster(&self) -> Result<String, Error> {
        let away = || Error::Away { brokers: self.brokers.clone() };
        let id = self.blocking(move |it| Ok(it.consumer.client().fetch_cluster_id(ANSWER_WITHIN))).await?;
        id.filter(|id| !id.is_empty()).ok_or_else(away)
    }

    /// How many partitions the topic has.
    pub(crate) async fn partitions(&self) -> Result<i32, Error> {
        let metadata =
            self.blocking(|it| it.consumer.client().fetch_metadata(Some(&it.topic), ANSWER_WITHIN)).await?;
        let topic = metadata.topics().iter().find(|topic| topic.name() == self.topic);
        let count = topic.filter(|topic| topic.error().is_none()).map_or(0, |topic| topic.partitions().len());
        if count == 0 {
            return Err(Error::NoTopic(self.topic.clone()));
        }
        Ok(i32::try_from(count).unwrap_or(i32::MAX))
    }

    /// The oldest offset of a partition that is kept, and the one that the next record will get.
    pub(crate) async fn bounds(&self, partition: i32) -> Result<(i64, i64), Error> {
        self.blocking(move |it| it.consumer.client().fetch_watermarks(&it.topic, partition, LEADER_WITHIN))
            .await
    }

    /// Where reading of a partition begins.
    pub(crate) async fn begin(&self, start: Start, partition: i32) -> Result<i64, Error> {
        let (low, high) = self.bounds(partition).await?;
        Ok(match start {
            Start::Earliest => low,
            Start::Latest => high,
            Start::At(at) => self.first_at(partition, at).await?.unwrap_or(high),
        })
    }

    /// The first record whose own time is not before a moment.
    pub(crate) async fn first_at(&self, partition: i32, at: Time) -> Result<Option<i64>, Error> {
        let found = self.blocking(move |it| {
            // Negative numbers are words of Kafka's own.
            let asked = it.list(&[(partition, at.timestamp_millis().max(0))])?;
            it.consumer.offsets_for_times(asked, LEADER_WITHIN)
        });
        let found = found.await?;
        let found = found.find_partition(&self.topic, partition);
        Ok(found.and_then(|of| if let Offset::Offset(offset) = of.offset() { Some(offset) } else { None }))
    }

    /// Reads a partition from an offset on.
    pub(crate) fn follow(&self, partition: i32, from: i64) -> Result<(), Error> {
        Ok(self.consumer.incremental_assign(&self.list(&[(partition, from)])?)?)
    }

    /// Reads a partition no more.
    pub(crate) fn leave(&self, partition: i32) -> Result<(), Error> {
        let mut list = TopicPartitionList::new();
        list.add_partition(&self.topic, partition);
        Ok(self.consumer.incremental_unassign(&list)?)
    }

    /// The next record of a partition that is followed, or what keeps it. Safe to drop while it waits.
    pub(crate) async fn next(&self) -> Next {
        match self.consumer.recv().await {
            Ok(message) => Next::Record(record(&message)),
            Err(KafkaError::MessageConsumption(
                RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange,
            )) => Next::Gap,
            Err(KafkaError::PartitionEOF(partition)) => Next::End(partition),
            Err(error) => Next::Fault(error),
        }
    }

    /// The ends of partitions, as last heard.
    pub(crate) fn ends(&self) -> Vec<(i32, i64)> {
        let ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        ends.iter().map(|(partition, end)| (*partition, *end)).collect()
    }

    /// Tells Kafka how far we are, so that its own tools show the lag. Nothing depends on it.
    pub(crate) fn tell(&self, positions: &[(i32, i64)]) {
        let told = self.list(positions).and_then(|list| self.teller.commit(&list, CommitMode::Async));
        if let Err(error) = told {
            tracing::debug!(topic = self.topic, %error, "offsets were not told to Kafka");
        }
    }

    fn list(&self, offsets: &[(i32, i64)]) -> Result<TopicPartitionList, KafkaError> {
        let mut list = TopicPartitionList::new();
        for &(partition, offset) in offsets {
            list.add_partition_offset(&self.topic, partition, Offset::Offset(offset))?;
        }
        Ok(list)
    }

    /// The library's questions block their thread.
    async fn blocking<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Self) -> Result<T, KafkaError> + Send + 'static,
    ) -> Result<T, Error> {
        let it = self.clone();
        match tokio::task::spawn_blocking(move || ask(&it)).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(Error::Away { brokers: self.brokers.clone() }),
        }
    }
}

/// Reads the records of some ranges, and nothing else.
///
/// # Errors
/// [`Error::Away`] while the topic of that cluster doesn't have them: the brokers are another cluster's, or a new leader has yet
/// to hear of the last ones.
pub(crate) async fn refetch(
    options: &KafkaOptions,
    (cluster, topic): (&str, &str),
    ranges: &[OffsetRange],
) -> Result<Refetched, Error> {
    let mut config = options.client("tidemill.refetch")?;
    // The last record of a range may be gone from a compacted topic, or be none but the mark of a transaction.
    config.set("enable.partition.eof", "true");
    let client = Client::configured(options, &config, topic)?;
    let away = || Error::Away { brokers: options.brokers.clone() };
    if client.cluster().await? != cluster {
        return Err(away());
    }
    let (mut open, mut missing) = (BTreeMap::new(), Vec::new());
    for range in ranges {
        let (low, mut high) = client.bounds(range.partition).await?;
        if high < range.from {
            // A new leader may not know of the last records yet. One that never will has lost them, or is another topic's.
            tokio::time::sleep(ANSWER_WITHIN).await;
            (_, high) = client.bounds(range.partition).await?;
            if high < range.from {
                missing.push(*range);
                continue;
            }
        }
        if high < range.to {
            return Err(away());
        }
        let from = range.from.max(low);
        if from > range.from {
            missing.push(OffsetRange { to: from.min(range.to), ..*range });
        }
        if from < range.to {
            client.follow(range.partition, from)?;
            open.insert(range.partition, *range);
        }
    }
    let mut records = Vec::new();
    while !open.is_empty() {
        let next = match tokio::time::timeout(ANSWER_WITHIN, client.next()).await {
            Ok(Next::Record(record)) => record,
            // What is left of the range are holes.
            Ok(Next::End(partition)) => {
                open.remove(&partition);
                continue;
            }
            Ok(Next::Fault(error)) => return Err(error.into()),
            Ok(Next::Gap) | Err(_) => return Err(away()),
        };
        let Some(&range) = open.get(&next.partition) else { continue };
        if next.offset + 1 >= range.to {
            open.remove(&next.partition);
            client.leave(next.partition)?;
        }
        if next.offset < range.to {
            records.push(Record { generation: range.generation, ..next });
        }
    }
    Ok(Refetched { records, missing })
}

fn record(message: &BorrowedMessage<'_>) -> Record {
    let millis = match message.timestamp() {
        Timestamp::CreateTime(millis) | Timestamp::LogAppendTime(millis) => Some(millis),
        Timestamp::NotAvailable => None,
    };
    Record {
        partition: message.partition(),
        generation: 0,
        offset: message.offset(),
        key: message.key().map(Bytes::copy_from_slice),
        value: message.payload().map(Bytes::copy_from_slice),
        // A producer may say anything; what no database would take is no time.
        at: millis.and_then(DateTime::from_timestamp_millis).filter(|at| (1..=9_999).contains(&at.year())),
    }
}

/// Takes note of what the library tells beside records.
struct Heard {
    topic: String,
    ends: Ends,
}

impl ClientContext for Heard {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error => {
                tracing::warn!(topic = self.topic, facility, "Kafka client: {message}");
            }
            _ => tracing::debug!(topic = self.topic, facility, "Kafka client: {message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(topic = self.topic, %error, "Kafka client: {reason}");
    }

    fn stats(&self, statistics: Statistics) {
        let Some(topic) = statistics.topics.get(&self.topic) else { return };
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        let heard = topic.partitions.iter().filter(|(partition, of)| **partition >= 0 && of.hi_offset >= 0);
        ends.extend(heard.map(|(partition, of)| (*partition, of.hi_offset)));
    }
}

impl ConsumerContext for Heard {}
