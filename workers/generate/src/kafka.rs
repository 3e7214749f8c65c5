//! Which Kafka, and how its clients are configured.

use std::{fs, path::Path, time::Duration};

use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    error::KafkaError,
    types::RDKafkaErrorCode,
};

use crate::Error;

/// How long a broker may take to answer the first question.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// A Kafka cluster.
#[derive(Clone, Debug)]
pub struct Kafka {
    brokers: String,
    options: Vec<(String, String)>,
}

impl Kafka {
    /// The cluster of these brokers, `host:port` separated by commas. `file` has more options of the client, one
    /// `name=value` in a line (`security.protocol=SASL_SSL`); lines that begin with `#` are comments.
    ///
    /// # Errors
    /// The file can't be read, or has another line.
    pub fn new(brokers: &str, file: Option<&Path>) -> Result<Self, Error> {
        let options = file.map(options).transpose()?.unwrap_or_default();
        Ok(Self { brokers: brokers.to_owned(), options })
    }

    /// Makes sure that the topics are there; those that are not get so many partitions.
    ///
    /// # Errors
    /// No broker answers, or one refuses to make a topic.
    pub async fn with_topics(&self, topics: &[&str], partitions: u16) -> Result<(), Error> {
        let admin: AdminClient<DefaultClientContext> =
            self.config().create().map_err(|source| refused("the client's options", source))?;
        let wanted = topics
            .iter()
            .map(|topic| NewTopic::new(topic, i32::from(partitions), TopicReplication::Fixed(-1)));
        let wanted: Vec<NewTopic<'_>> = wanted.collect();
        let options = AdminOptions::new().request_timeout(Some(ANSWER_WITHIN));
        let made = admin.create_topics(&wanted, &options).await;
        let made = made.map_err(|source| Error::Unreachable { brokers: self.brokers.clone(), source })?;
        made.into_iter().try_for_each(|topic| match topic {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => Ok(()),
            Err((topic, code)) => Err(refused(&format!("topic {topic}"), KafkaError::AdminOp(code))),
        })
    }

    /// The client's configuration.
    pub(crate) fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers).set("client.id", "tidemill-generate");
        for (name, value) in &self.options {
            config.set(name, value);
        }
        config
    }
}

pub(crate) fn refused(what: &str, source: KafkaError) -> Error {
    Error::Refused { what: what.to_owned(), source }
}

fn options(file: &Path) -> Result<Vec<(String, String)>, Error> {
    let unreadable = |reason: String| Error::File { path: file.to_owned(), reason };
    let text = fs::read_to_string(file).map_err(|error| unreadable(error.to_string()))?;
    let lines = (1..).zip(text.lines().map(str::trim));
    lines
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(number, line)| match line.split_once('=') {
            Some((name, value)) => Ok((name.trim().to_owned(), value.trim().to_owned())),
            None => Err(unreadable(format!("line {number} is not NAME=VALUE"))),
        })
        .collect()
}
