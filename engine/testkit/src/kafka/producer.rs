//! What a test sends, as another program's producer would.

use std::time::Duration;

use anyhow::anyhow;
use rdkafka::{
    ClientConfig,
    message::{Header, OwnedHeaders},
    producer::{FutureProducer, FutureRecord, Producer as _},
    util::Timeout,
};
use uuid::Uuid;

use super::{Topic, WITHIN};

/// One record to send.
#[derive(Clone, Debug, Default)]
pub struct Record {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    partition: Option<i32>,
    timestamp_ms: Option<i64>,
    headers: Vec<(String, Vec<u8>)>,
}

impl Record {
    /// A value under a key.
    pub fn new(key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        Self { value: Some(value.as_ref().to_vec()), ..Self::tombstone(key) }
    }

    /// A value without a key.
    pub fn keyless(value: impl AsRef<[u8]>) -> Self {
        Self { value: Some(value.as_ref().to_vec()), ..Self::default() }
    }

    /// A key without a value.
    pub fn tombstone(key: impl AsRef<[u8]>) -> Self {
        Self { key: Some(key.as_ref().to_vec()), ..Self::default() }
    }

    /// To this partition, instead of that of its key.
    #[must_use]
    pub fn partition(self, partition: i32) -> Self {
        Self { partition: Some(partition), ..self }
    }

    /// With this as its own time, in milliseconds since 1970, instead of now.
    #[must_use]
    pub fn at(self, timestamp_ms: i64) -> Self {
        Self { timestamp_ms: Some(timestamp_ms), ..self }
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    fn on<'a>(&'a self, topic: &'a str) -> FutureRecord<'a, [u8], [u8]> {
        let headers = self.headers.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
            headers.insert(Header { key, value: Some(value) })
        });
        FutureRecord {
            topic,
            partition: self.partition,
            payload: self.value.as_deref(),
            key: self.key.as_deref(),
            timestamp: self.timestamp_ms,
            headers: (!self.headers.is_empty()).then_some(headers),
        }
    }
}

/// An idempotent producer to one topic. What it was asked to send before comes before.
pub struct Producer {
    producer: FutureProducer,
    topic: String,
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer").field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl Producer {
    /// With nothing set.
    pub fn new(topic: &Topic) -> anyhow::Result<Self> {
        Self::with(topic, &[])
    }

    /// With settings of librdkafka, such as `("compression.type", "zstd")`.
    pub fn with(topic: &Topic, settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &topic.brokers).set("enable.idempotence", "true");
        // Records as large as a topic may allow, and as many as a test may hold.
        config.set("message.max.bytes", "100000000").set("queue.buffering.max.messages", "10000000");
        for (name, value) in settings {
            config.set(*name, *value);
        }
        Ok(Self { producer: config.create()?, topic: topic.name.clone() })
    }

    /// One whose records belong to transactions.
    pub async fn transactional(topic: &Topic) -> anyhow::Result<Self> {
        let id = Uuid::now_v7().to_string();
        let producer = Self::with(topic, &[("transactional.id", &id)])?;
        producer.blocking(FutureProducer::init_transactions).await?;
        Ok(producer)
    }

    /// Sends a record; returns its partition and offset once the broker has it.
    pub async fn send(&self, record: &Record) -> anyhow::Result<(i32, i64)> {
        let sent = self.producer.send(record.on(&self.topic), Timeout::Never).await;
        let delivery = sent.map_err(|(error, _)| anyhow!(error).context("sending a record"))?;
        Ok((delivery.partition, delivery.offset))
    }

    /// Sends records in their order; returns their partitions and offsets once the broker has them all.
    pub async fn send_all(&self, records: &[Record]) -> anyhow::Result<Vec<(i32, i64)>> {
        let mut sent = Vec::new();
        for record in records {
            sent.push(self.producer.send_result(record.on(&self.topic)).map_err(|(error, _)| error)?);
        }
        let mut places = Vec::new();
        for delivery in sent {
            let delivery = delivery.await?.map_err(|(error, _)| error)?;
            places.push((delivery.partition, delivery.offset));
        }
        Ok(places)
    }

    /// Begins a transaction.
    pub fn begin(&self) -> anyhow::Result<()> {
        Ok(self.producer.begin_transaction()?)
    }

    /// Ends the transaction: consumers of committed records see it.
    pub async fn commit(&self) -> anyhow::Result<()> {
        self.blocking(FutureProducer::commit_transaction).await
    }

    /// Ends the transaction: what was sent keeps its offsets, and no consumer of committed records sees it.
    pub async fn abort(&self) -> anyhow::Result<()> {
        self.blocking(FutureProducer::abort_transaction).await
    }

    async fn blocking(
        &self,
        call: fn(&FutureProducer, Duration) -> rdkafka::error::KafkaResult<()>,
    ) -> anyhow::Result<()> {
        let producer = self.producer.clone();
        Ok(tokio::task::spawn_blocking(move || call(&producer, WITHIN)).await??)
    }
}
