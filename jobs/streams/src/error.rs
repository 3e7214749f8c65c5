//! What keeps records from coming.

use rdkafka::error::KafkaError;
use tidemill_core::{Fault, JobError};

/// Why a stream can't be read, now or at all.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `TIDEMILL_KAFKA__CONFIG_FILE` can't be used.
    #[error("the file of Kafka options {path}: {reason}")]
    Options {
        /// The file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Kafka says no, or nothing.
    #[error("Kafka: {0}")]
    Kafka(#[from] KafkaError),
    /// No broker answers.
    #[error("no broker of {brokers} answers")]
    Away {
        /// Those that were asked.
        brokers: String,
    },
    /// There is no such topic.
    #[error("topic `{0}` is not there yet")]
    NoTopic(String),
    /// What the database says of a stream is not what the reader knows: it begins anew.
    #[error("reading source `{source_name}` begins anew: {why}")]
    LostSight {
        /// The source.
        source_name: String,
        /// What differs.
        why: String,
    },
    /// The catalog failed.
    #[error("catalog")]
    Catalog(#[from] tidemill_catalog::Error),
    /// The engine failed.
    #[error("engine")]
    Store(#[from] tidemill_store::Error),
    /// The rows could not be taken.
    #[error("ingest")]
    Ingest(#[from] tidemill_ingest::Error),
}

/// Brokers come back.
impl From<Error> for JobError {
    fn from(error: Error) -> Self {
        match error {
            Error::Ingest(error) => error.into(),
            Error::Catalog(error) => error.into(),
            Error::Store(error) => error.into(),
            Error::Options { .. } | Error::LostSight { .. } => Self::Retry(Fault::from_error(&error)),
            Error::Kafka(_) | Error::Away { .. } | Error::NoTopic(_) => {
                Self::Unavailable(Fault::from_error(&error))
            }
        }
    }
}
