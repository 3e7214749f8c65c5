//! What can go wrong, for people.

use std::path::PathBuf;

use rdkafka::error::KafkaError;
use tidemill_core::Fault;

/// Why not everything was sent.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No broker was reached within half a minute.
    #[error("no Kafka broker answers at {brokers}")]
    Unreachable {
        /// `host:port`, separated by commas.
        brokers: String,
        /// What the client says.
        source: KafkaError,
    },
    /// A client option is not one, or a topic can't be made.
    #[error("Kafka refuses {what}")]
    Refused {
        /// `the client's options`, `topic users`.
        what: String,
        /// What the client or the broker says.
        source: KafkaError,
    },
    /// Records were given up: Kafka took them neither at once nor within the client's `message.timeout.ms`.
    #[error("{records} of the records did not arrive in Kafka: {reason}")]
    Undelivered {
        /// How many.
        records: u64,
        /// What was said of the first.
        reason: String,
    },
    /// A file can't be read.
    #[error("{} can't be read: {reason}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why; with the line, if it is one.
        reason: String,
    },
}

impl Error {
    /// The same with code and remedy.
    pub fn fault(&self) -> Fault {
        let message = self.to_string();
        match self {
            Self::Unreachable { source, .. } => Fault::coded(190, message).detail(source.to_string()).hint(
                "start `tidemill dev`, or name another Kafka: --brokers HOST:PORT or TIDEMILL_KAFKA__BROKERS",
            ),
            Self::Refused { source, .. } => Fault::coded(191, message)
                .detail(source.to_string())
                .hint("see the options in the file that TIDEMILL_KAFKA__CONFIG_FILE names, and the rights on the topic"),
            Self::Undelivered { .. } => Fault::coded(191, message)
                .hint("what is counted as sent has arrived; see why the broker refused the rest, and send it again"),
            Self::File { .. } => Fault::coded(101, message),
        }
    }
}
