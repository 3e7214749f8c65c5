//! Records of Kafka to validated rows of the lake, each exactly once.
//!
//! Reading order: [`Streams`] (a gateway's part: a reader for each source that declares a stream), `reader` (one source:
//! holds its share of the partitions, follows them, cuts batches), `buffer` (what has been read and is in no batch yet; pure),
//! [`BatchJob`] (a batch becomes rows: validated, staged, and published together with the offsets it covers), `client` (the
//! only file that talks to Kafka).
//!
//! Invariants: an offset moves in the transaction that publishes its row, and only from where it was; of a partition there is
//! one batch at a time, so the records of a key keep their order; a batch's moment never falls. Which gateway holds a
//! partition is only a way to save work. Nothing is written to Kafka but, as a courtesy to its tools, how far we are.

mod batch;
mod buffer;
mod client;
mod error;
mod held;
mod options;
mod reader;
mod streams;

pub use batch::{BatchJob, INGEST_BATCH, IngestBatch};
pub use error::Error;
pub use options::KafkaOptions;
pub use streams::Streams;
