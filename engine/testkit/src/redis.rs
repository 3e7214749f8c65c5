//! A key prefix of its own for each test, on one Valkey server; servers, Clusters and TLS for tests that are about these.

mod cluster;
mod tls;

use std::{fmt::Write as _, path::PathBuf, sync::OnceLock};

use ::redis::{AsyncCommands as _, AsyncConnectionConfig, Client, aio::MultiplexedConnection};
use anyhow::Context as _;
use tidemill_servers::{Port, Valkey};
use uuid::Uuid;

pub use cluster::Cluster;
pub use tls::Tls;

use crate::servers;

/// A test's own connection. It waits for replies as long as the test does: the half second after which the library would give
/// up is less than a busy machine may take.
pub async fn connection(url: &str) -> anyhow::Result<MultiplexedConnection> {
    let patient = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
    Ok(Client::open(url)?.get_multiplexed_async_connection_with_config(&patient).await?)
}

/// Where a test keeps its keys.
#[derive(Clone, Debug)]
pub struct Prefix {
    /// The server's address, e.g. `redis://127.0.0.1:6379`.
    pub url: String,
    /// What each of the test's keys begins with.
    pub prefix: String,
}

impl Prefix {
    /// A fresh prefix that holds what this one holds.
    pub async fn copy(&self) -> anyhow::Result<Self> {
        let copy = Self { url: self.url.clone(), prefix: fresh() };
        let mut connection = connection(&self.url).await?;
        for key in self.keys(&mut connection).await? {
            let to = key.replacen(&self.prefix, &copy.prefix, 1);
            ::redis::cmd("COPY").arg(&key).arg(to).query_async::<()>(&mut connection).await?;
        }
        Ok(copy)
    }

    /// What it holds, a line for each value: names without the prefix, bytes that aren't text as hex.
    pub async fn dump(&self) -> anyhow::Result<Vec<String>> {
        let mut connection = connection(&self.url).await?;
        let mut lines = Vec::new();
        for key in self.keys(&mut connection).await? {
            let name = &key[self.prefix.len()..];
            let kind: String = ::redis::cmd("TYPE").arg(&key).query_async(&mut connection).await?;
            if kind == "hash" {
                let fields: Vec<(String, Vec<u8>)> = connection.hgetall(&key).await?;
                lines.extend(fields.iter().map(|(field, value)| format!("{name} {field} {}", text(value))));
            } else {
                let value: Vec<u8> = connection.get(&key).await?;
                lines.push(format!("{name} {}", text(&value)));
            }
        }
        lines.sort();
        Ok(lines)
    }

    async fn keys(&self, connection: &mut MultiplexedConnection) -> anyhow::Result<Vec<String>> {
        Ok(connection.keys(format!("{}*", self.prefix)).await?)
    }
}

fn text(bytes: &[u8]) -> String {
    if let Ok(text) = std::str::from_utf8(bytes)
        && !text.contains(char::is_control)
    {
        return text.to_owned();
    }
    bytes.iter().fold(String::new(), |mut hex, byte| {
        // Writing to a String never fails.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn fresh() -> String {
    format!("test_{}", Uuid::now_v7().simple())
}

/// A fresh prefix on the shared server.
pub async fn prefix() -> anyhow::Result<Prefix> {
    let url = tokio::task::spawn_blocking(shared_server).await??;
    Ok(Prefix { url, prefix: fresh() })
}

fn shared_server() -> anyhow::Result<String> {
    static SERVER: OnceLock<Result<Server, String>> = OnceLock::new();
    if let Ok(url) = std::env::var("TIDEMILL_TEST_REDIS_URL") {
        return Ok(url);
    }
    match SERVER.get_or_init(|| Server::start().map_err(|error| format!("{error:#}"))) {
        Ok(server) => Ok(server.url()),
        Err(error) => anyhow::bail!("{error}"),
    }
}

/// A Valkey server of its own, for tests that break it; stopped when dropped.
#[derive(Debug)]
pub struct Server {
    folder: PathBuf,
    url: String,
    port: Port,
    running: Option<Valkey>,
}

impl Server {
    /// Starts it on a free port.
    pub fn start() -> anyhow::Result<Self> {
        let mut server = Self {
            folder: servers::folder("valkey")?,
            url: String::new(),
            port: Port::any()?,
            running: None,
        };
        server.resume()?;
        Ok(server)
    }

    /// Its address.
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// Bytes that it uses, once it has freed what it was told to.
    pub async fn used_memory(&self) -> anyhow::Result<u64> {
        let mut connection = connection(&self.url).await?;
        loop {
            let told: String = ::redis::cmd("INFO").arg("memory").query_async(&mut connection).await?;
            let figure = |name: &str| -> anyhow::Result<u64> {
                let figure = told.lines().find_map(|line| line.strip_prefix(name));
                Ok(figure.with_context(|| format!("{name} is told"))?.trim().parse()?)
            };
            if figure("lazyfree_pending_objects:")? == 0 {
                return figure("used_memory:");
            }
        }
    }

    /// Stops it; what it holds comes back with [`resume`](Self::resume).
    pub fn stop(&mut self) {
        self.running = None;
    }

    /// Starts it again on the same port and data.
    pub fn resume(&mut self) -> anyhow::Result<()> {
        let running = Valkey::start(&servers::wheels()?, &self.folder, self.port.number())?;
        self.url = running.url();
        self.running = Some(running);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_prefix_is_fresh_and_the_server_answers() {
        let (first, second) = (prefix().await.unwrap(), prefix().await.unwrap());
        assert_ne!(first.prefix, second.prefix);
        let mut connection = connection(&first.url).await.unwrap();
        let key = format!("{}:key", first.prefix);
        connection.set::<_, _, ()>(&key, 7).await.unwrap();
        assert_eq!(connection.get::<_, i32>(&key).await.unwrap(), 7);
        assert_eq!(first.copy().await.unwrap().dump().await.unwrap(), [":key 7"]);
        assert!(second.dump().await.unwrap().is_empty());
    }
}
