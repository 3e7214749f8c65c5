//! Where Kafka is, and how it is spoken to.

use std::{fs, path::PathBuf};

use rdkafka::ClientConfig;
use serde::Deserialize;

use crate::Error;

/// `TIDEMILL_KAFKA__BROKERS`, `TIDEMILL_KAFKA__CONFIG_FILE`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KafkaOptions {
    /// `host:port`, several with commas; empty: there is no Kafka.
    pub brokers: String,
    /// A file of `name=value` lines with further options of the client, such as those of TLS and SASL.
    pub config_file: Option<PathBuf>,
}

/// What the reading of records relies on, whatever a file of options says.
const OURS: [(&str, &str); 4] = [
    // Offsets are kept in Postgres.
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    // An offset that isn't there any more is a gap that is written down, never skipped in silence.
    ("auto.offset.reset", "error"),
    ("enable.partition.eof", "false"),
];

/// What suits small batches that come soon, unless a file of options says otherwise.
const USUAL: [(&str, &str); 10] = [
    ("client.id", "tidemill"),
    ("isolation.level", "read_committed"),
    ("statistics.interval.ms", "1000"),
    ("fetch.wait.max.ms", "100"),
    // A full queue is looked at again soon: the reader takes from it all the time.
    ("fetch.queue.backoff.ms", "10"),
    ("fetch.error.backoff.ms", "100"),
    ("queued.max.messages.kbytes", "16384"),
    ("reconnect.backoff.ms", "50"),
    ("reconnect.backoff.max.ms", "1000"),
    ("topic.metadata.refresh.interval.ms", "5000"),
];

impl KafkaOptions {
    /// Whether there is a Kafka.
    pub fn given(&self) -> bool {
        !self.brokers.is_empty()
    }

    /// A client's configuration; `group`: under which name it tells Kafka how far it is.
    pub(crate) fn client(&self, group: &str) -> Result<ClientConfig, Error> {
        let mut config = ClientConfig::new();
        for (name, value) in USUAL {
            config.set(name, value);
        }
        config.set("bootstrap.servers", &self.brokers).set("group.id", group);
        for (name, value) in self.of_file()? {
            config.set(name, value);
        }
        for (name, value) in OURS {
            config.set(name, value);
        }
        Ok(config)
    }

    fn of_file(&self) -> Result<Vec<(String, String)>, Error> {
        let named = self.config_file.as_ref().filter(|path| !path.as_os_str().is_empty());
        let Some(path) = named else { return Ok(Vec::new()) };
        let wrong = |reason: String| Error::Options { path: path.display().to_string(), reason };
        let text = fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        let lines = text.lines().enumerate().filter(|(_, line)| {
            let line = line.trim();
            !line.is_empty() && !line.starts_with('#')
        });
        let option = |(number, line): (usize, &str)| match line.split_once('=') {
            Some((name, value)) => Ok((name.trim().to_owned(), value.trim().to_owned())),
            None => Err(wrong(format!("line {} is not `name=value`", number + 1))),
        };
        lines.map(option).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_options_adds_to_ours_and_can_t_take_offsets_away_from_us() {
        let file = std::env::temp_dir().join(format!("client-{}.properties", std::process::id()));
        fs::write(
            &file,
            "# of the cluster\nsecurity.protocol = SASL_SSL\n\nenable.auto.commit=true\nclient.id=ours\n",
        )
        .unwrap();
        let options = KafkaOptions { brokers: "a:1,b:2".to_owned(), config_file: Some(file.clone()) };
        let config = options.client("tidemill.events").unwrap();
        for (name, value) in [
            ("bootstrap.servers", "a:1,b:2"),
            ("group.id", "tidemill.events"),
            ("security.protocol", "SASL_SSL"),
            ("client.id", "ours"),
            ("enable.auto.commit", "false"),
            ("auto.offset.reset", "error"),
        ] {
            assert_eq!(config.get(name), Some(value), "{name}");
        }
        fs::write(&file, "security.protocol=SSL\nssl.ca.location\n").unwrap();
        let error = options.client("g").unwrap_err().to_string();
        assert!(error.ends_with("line 2 is not `name=value`"), "{error}");
        fs::remove_file(&file).unwrap();
    }
}
