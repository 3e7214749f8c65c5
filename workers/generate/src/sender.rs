//! Kafka producers: records at their time, and a count of those that were acknowledged.
//!
//! A producer is idempotent, so a record that it sends again after a broken connection is in the topic once and in its place. What
//! counts as sent is what a broker has acknowledged.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rdkafka::{
    ClientContext,
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext},
};

use crate::{Error, Kafka, kafka::refused};

/// Kinds of records that are counted apart.
const KINDS: usize = 5;
/// How long to wait for room in the client's queue, or for the last acknowledgements, before looking again.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What is sent.
#[derive(Clone, Debug)]
pub struct Record {
    /// Where to.
    pub topic: Arc<str>,
    /// The record's key.
    pub key: String,
    /// The record's value.
    pub text: String,
    /// Counted under this number, below 5.
    pub kind: usize,
    /// How long after the start it is to be sent.
    pub due: Duration,
}

/// What has been acknowledged and what was given up, of all producers of a run.
#[derive(Debug, Default)]
pub struct Tally {
    acknowledged: [AtomicU64; KINDS],
    lost: AtomicU64,
    why: Mutex<Option<String>>,
    stopped: AtomicBool,
}

impl Tally {
    /// Records that a broker has acknowledged, by kind.
    pub fn acknowledged(&self) -> [u64; KINDS] {
        self.acknowledged.each_ref().map(|count| count.load(Ordering::Relaxed))
    }

    /// Counts a record that went elsewhere.
    pub fn count(&self, kind: usize) {
        self.acknowledged[kind].fetch_add(1, Ordering::Relaxed);
    }

    /// Asks the producers to send nothing new.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Whether that was asked.
    pub fn stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Whether everything arrived.
    ///
    /// # Errors
    /// Some did not.
    pub fn complete(&self) -> Result<(), Error> {
        match self.lost.load(Ordering::Relaxed) {
            0 => Ok(()),
            records => {
                let why = self.why.lock().unwrap_or_else(PoisonError::into_inner).clone();
                Err(Error::Undelivered { records, reason: why.unwrap_or_default() })
            }
        }
    }

    fn lose(&self, error: &KafkaError) {
        self.lost.fetch_add(1, Ordering::Relaxed);
        let mut why = self.why.lock().unwrap_or_else(PoisonError::into_inner);
        why.get_or_insert_with(|| error.to_string());
    }
}

/// Sends each of `streams` by a producer of its own, at the same time, and returns when every record was acknowledged or
/// given up. What [`Tally::complete`] says then is how it went.
///
/// # Errors
/// A client option is none, or the client refuses a record.
pub async fn send(
    kafka: &Kafka,
    tally: &Arc<Tally>,
    streams: impl IntoIterator<Item = impl Iterator<Item = Record> + Send + 'static>,
) -> Result<(), Error> {
    let started = Instant::now();
    let producers: Vec<_> = streams
        .into_iter()
        .map(|records| {
            let (kafka, tally) = (kafka.clone(), tally.clone());
            tokio::task::spawn_blocking(move || Sender::new(&kafka, &tally)?.send(started, records))
        })
        .collect();
    let mut sent = Ok(());
    for producer in producers {
        sent = sent.and(producer.await.expect("a producer does not panic"));
    }
    sent
}

/// A producer.
struct Sender<'t> {
    producer: BaseProducer<Context<'t>>,
    tally: &'t Tally,
}

struct Context<'t>(&'t Tally);

impl ClientContext for Context<'_> {}

impl ProducerContext for Context<'_> {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, kind: usize) {
        match result {
            Ok(_) => self.0.count(kind),
            Err((error, _)) => self.0.lose(error),
        }
    }
}

impl<'t> Sender<'t> {
    /// A producer that counts on `tally`.
    fn new(kafka: &Kafka, tally: &'t Tally) -> Result<Self, Error> {
        let mut config = kafka.config();
        config.set("enable.idempotence", "true").set("linger.ms", "5").set("compression.type", "lz4");
        // Keys go to the partitions that Java's clients put them in.
        config.set("partitioner", "murmur2_random");
        let producer = config.create_with_context(Context(tally));
        Ok(Self { producer: producer.map_err(|source| refused("the client's options", source))?, tally })
    }

    /// Sends the records, each when it is due after `started` or as soon as the broker keeps up, and returns when every
    /// one was acknowledged or given up.
    fn send(&self, started: Instant, records: impl Iterator<Item = Record>) -> Result<(), Error> {
        let mut sent = Ok(());
        for record in records {
            self.wait_for(started + record.due);
            if self.tally.stopped() {
                break;
            }
            sent = self.enqueue(&record);
            if sent.is_err() {
                self.tally.stop();
                break;
            }
        }
        while self.producer.in_flight_count() > 0 {
            // Running out of this time is no failure: each record has its own, after which it is given up.
            let _ = self.producer.flush(LOOK_EVERY);
        }
        sent
    }

    /// Counts acknowledgements until `due`.
    fn wait_for(&self, due: Instant) {
        loop {
            let left = due.saturating_duration_since(Instant::now());
            self.producer.poll(left.min(LOOK_EVERY));
            if left.is_zero() || self.tally.stopped() {
                return;
            }
        }
    }

    fn enqueue(&self, record: &Record) -> Result<(), Error> {
        let Record { topic, key, text, kind, .. } = record;
        loop {
            let message = BaseRecord::with_opaque_to(topic, *kind).key(key.as_str()).payload(text.as_str());
            match self.producer.send(message) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                    self.producer.poll(LOOK_EVERY);
                }
                Err((source, _)) => return Err(refused(&format!("a record for topic {topic}"), source)),
            }
        }
    }
}
