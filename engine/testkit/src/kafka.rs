//! A topic of its own for each test, on one Kafka broker; brokers of their own for tests that break them.

mod producer;

use std::{path::PathBuf, process::Command, sync::OnceLock, time::Duration};

use anyhow::{Context as _, anyhow, ensure};
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    topic_partition_list::TopicPartitionListElem,
};
use tidemill_servers::{Jars, Kafka, Port};
use uuid::Uuid;

pub use producer::{Producer, Record};

use crate::servers;

/// How long the broker of a busy machine may take to do what it is asked.
const WITHIN: Duration = Duration::from_mins(2);

/// A topic that belongs to one test.
#[derive(Clone, Debug)]
pub struct Topic {
    /// Its broker, as `bootstrap.servers`.
    pub brokers: String,
    /// Its name.
    pub name: String,
}

impl Topic {
    /// A fresh topic on the shared broker.
    pub async fn fresh(partitions: i32) -> anyhow::Result<Self> {
        Self::with(partitions, &[]).await
    }

    /// The same with settings of its own, such as `("cleanup.policy", "compact")`.
    pub async fn with(partitions: i32, settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        let brokers = tokio::task::spawn_blocking(shared_broker).await??;
        Self::on(brokers, partitions, settings).await
    }

    async fn on(brokers: String, partitions: i32, settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        let topic = Self { brokers, name: format!("test-{}", Uuid::now_v7().simple()) };
        topic.create(partitions, settings).await?;
        Ok(topic)
    }

    /// Makes it, after it was deleted.
    pub async fn create(&self, partitions: i32, settings: &[(&str, &str)]) -> anyhow::Result<()> {
        let topic = NewTopic::new(&self.name, partitions, TopicReplication::Fixed(1));
        let topic = settings.iter().fold(topic, |topic, (name, value)| topic.set(name, value));
        done(self.admin()?.create_topics([&topic], &patient()).await?)
    }

    /// Deletes it; returns when the broker no longer lists it.
    pub async fn delete(&self) -> anyhow::Result<()> {
        let admin = self.admin()?;
        done(admin.delete_topics(&[&self.name], &patient()).await?)?;
        let name = self.name.clone();
        tokio::task::spawn_blocking(move || {
            // Asked of all topics: asked by its name, the broker would make it.
            let listed = || {
                anyhow::Ok(
                    admin
                        .inner()
                        .fetch_metadata(None, WITHIN)?
                        .topics()
                        .iter()
                        .any(|topic| topic.name() == name),
                )
            };
            while listed()? {
                std::thread::yield_now();
            }
            Ok(())
        })
        .await?
    }

    /// Gives it more partitions.
    pub async fn grow_to(&self, partitions: usize) -> anyhow::Result<()> {
        let more = NewPartitions::new(&self.name, partitions);
        done(self.admin()?.create_partitions([&more], &patient()).await?)
    }

    /// Deletes a partition's records before an offset, as its retention would.
    pub async fn delete_records(&self, partition: i32, before: i64) -> anyhow::Result<()> {
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset(&self.name, partition, Offset::Offset(before))?;
        let deleted = self.admin()?.delete_records(&offsets, &patient()).await?;
        deleted.elements().iter().try_for_each(TopicPartitionListElem::error).context("deleting records")
    }

    /// A partition's first offset, and the one that its next record gets.
    pub async fn offsets(&self, partition: i32) -> anyhow::Result<(i64, i64)> {
        let (admin, name) = (self.admin()?, self.name.clone());
        tokio::task::spawn_blocking(move || Ok(admin.inner().fetch_watermarks(&name, partition, WITHIN)?))
            .await?
    }

    /// Sends one record by a producer of its own; returns its partition and offset.
    pub async fn send(&self, key: &str, value: &str) -> anyhow::Result<(i32, i64)> {
        Producer::new(self)?.send(&Record::new(key, value)).await
    }

    fn admin(&self) -> anyhow::Result<AdminClient<DefaultClientContext>> {
        Ok(ClientConfig::new().set("bootstrap.servers", &self.brokers).create()?)
    }
}

fn patient() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(WITHIN)).operation_timeout(Some(WITHIN))
}

/// What the broker says of one topic.
fn done(results: Vec<rdkafka::admin::TopicResult>) -> anyhow::Result<()> {
    let refused = results.into_iter().find_map(Result::err);
    refused.map_or(Ok(()), |(topic, code)| Err(anyhow!("{topic}: {code}")))
}

fn shared_broker() -> anyhow::Result<String> {
    static BROKER: OnceLock<Result<Broker, String>> = OnceLock::new();
    if let Ok(brokers) = std::env::var("TIDEMILL_TEST_KAFKA_BROKERS") {
        return Ok(brokers);
    }
    match BROKER.get_or_init(|| Broker::start().map_err(|error| format!("{error:#}"))) {
        Ok(broker) => Ok(broker.brokers()),
        Err(error) => anyhow::bail!("{error}"),
    }
}

/// A broker of its own, for tests that break it; stopped when dropped.
#[derive(Debug)]
pub struct Broker {
    folder: PathBuf,
    port: Port,
    controller: Port,
    running: Option<Kafka>,
}

impl Broker {
    /// Starts it on free ports.
    pub fn start() -> anyhow::Result<Self> {
        let (folder, port, controller) = (servers::folder("kafka")?, Port::any()?, Port::any()?);
        let mut broker = Self { folder, port, controller, running: None };
        broker.resume()?;
        Ok(broker)
    }

    /// Its address, as `bootstrap.servers`.
    pub fn brokers(&self) -> String {
        format!("127.0.0.1:{}", self.port.number())
    }

    /// A fresh topic on it.
    pub async fn topic(&self, partitions: i32) -> anyhow::Result<Topic> {
        Topic::on(self.brokers(), partitions, &[]).await
    }

    /// Stops it; what it holds comes back with [`resume`](Self::resume).
    pub fn stop(&mut self) {
        self.running = None;
    }

    /// Ends it with `kill -9`.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        let kafka = self.running.take().context("it doesn't run")?;
        let pid = kafka.pid().to_string();
        ensure!(Command::new("kill").args(["-KILL", &pid]).status()?.success(), "no broker to kill");
        drop(kafka);
        Ok(())
    }

    /// Stops it and forgets what it held: it comes back as another cluster.
    pub fn wipe(&mut self) -> anyhow::Result<()> {
        self.stop();
        Ok(std::fs::remove_dir_all(&self.folder)?)
    }

    /// Starts it again on the same ports and data.
    pub fn resume(&mut self) -> anyhow::Result<()> {
        let jars = Jars::locate(&servers::python()?).context("Kafka is missing: run scripts/setup")?;
        let (port, controller) = (self.port.number(), self.controller.number());
        self.running = Some(Kafka::start(&jars, &self.folder, port, controller)?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::{
        Message as _,
        consumer::{BaseConsumer, Consumer as _},
        message::Headers as _,
    };

    use super::*;

    /// The next so many records of a partition from an offset, as a consumer of committed ones sees them.
    async fn read(topic: &Topic, partition: i32, from: i64, count: usize) -> Vec<String> {
        let topic = topic.clone();
        let reading = move || {
            let consumer: BaseConsumer = ClientConfig::new()
                .set("bootstrap.servers", &topic.brokers)
                .set("group.id", "tests")
                .set("enable.auto.commit", "false")
                .set("auto.offset.reset", "earliest")
                .set("isolation.level", "read_committed")
                .create()
                .unwrap();
            let mut place = TopicPartitionList::new();
            place.add_partition_offset(&topic.name, partition, Offset::Offset(from)).unwrap();
            consumer.assign(&place).unwrap();
            let records = std::iter::from_fn(|| consumer.poll(WITHIN));
            let text = |bytes: Option<&[u8]>| bytes.map_or("-".into(), String::from_utf8_lossy).into_owned();
            let line = |record: rdkafka::message::BorrowedMessage<'_>| {
                let headers = record.headers().map_or(0, |headers| headers.count());
                format!("{} {}={} {headers}", record.offset(), text(record.key()), text(record.payload()))
            };
            records.take(count).map(|record| line(record.unwrap())).collect()
        };
        tokio::task::spawn_blocking(reading).await.unwrap()
    }

    #[tokio::test]
    async fn records_arrive_as_they_were_sent() {
        let topic = Topic::fresh(2).await.unwrap();
        let producer = Producer::with(&topic, &[("compression.type", "zstd")]).unwrap();
        let records = [
            Record::new("a", "1").partition(1),
            Record::tombstone("a").partition(1),
            Record::keyless("2").partition(1).at(1_700_000_000_000).header("source", "test"),
        ];
        let places = producer.send_all(&records).await.unwrap();
        assert_eq!(places, [(1, 0), (1, 1), (1, 2)]);
        assert_eq!(read(&topic, 1, 0, 3).await, ["0 a=1 0", "1 a=- 0", "2 -=2 1"]);
        assert_eq!(topic.offsets(0).await.unwrap(), (0, 0));
    }

    #[tokio::test]
    async fn aborted_transactions_leave_holes() {
        let topic = Topic::fresh(1).await.unwrap();
        let producer = Producer::transactional(&topic).await.unwrap();
        producer.begin().unwrap();
        producer.send(&Record::new("a", "aborted")).await.unwrap();
        producer.abort().await.unwrap();
        producer.begin().unwrap();
        let (_, offset) = producer.send(&Record::new("a", "committed")).await.unwrap();
        producer.commit().await.unwrap();
        assert_eq!(offset, 2, "behind the aborted record and the mark of its end");
        assert_eq!(read(&topic, 0, 0, 1).await, ["2 a=committed 0"]);
    }

    #[tokio::test]
    async fn a_topic_loses_its_first_records_grows_and_is_made_anew() {
        let topic = Topic::fresh(1).await.unwrap();
        for value in ["1", "2", "3"] {
            topic.send("a", value).await.unwrap();
        }
        topic.delete_records(0, 2).await.unwrap();
        assert_eq!(topic.offsets(0).await.unwrap(), (2, 3));
        topic.grow_to(2).await.unwrap();
        assert_eq!(topic.offsets(1).await.unwrap(), (0, 0));
        topic.delete().await.unwrap();
        topic.create(1, &[]).await.unwrap();
        assert_eq!(topic.send("a", "4").await.unwrap(), (0, 0));
    }

    #[tokio::test]
    async fn a_killed_broker_comes_back_with_its_records() {
        let mut broker = tokio::task::spawn_blocking(Broker::start).await.unwrap().unwrap();
        let topic = broker.topic(1).await.unwrap();
        topic.send("a", "kept").await.unwrap();
        let _broker = tokio::task::spawn_blocking(move || {
            broker.kill().unwrap();
            broker.resume().unwrap();
            broker
        })
        .await
        .unwrap();
        assert_eq!(read(&topic, 0, 0, 1).await, ["0 a=kept 0"]);
    }
}
