//! A key prefix of its own for each test, on one Valkey server.

use std::{path::PathBuf, sync::OnceLock};

use tidemill_servers::{Valkey, free_port};
use uuid::Uuid;

use crate::servers;

/// Where a test keeps its keys.
#[derive(Clone, Debug)]
pub struct Prefix {
    /// The server's address, e.g. `redis://127.0.0.1:6379`.
    pub url: String,
    /// What each of the test's keys begins with.
    pub prefix: String,
}

/// A fresh prefix on the shared server.
pub async fn prefix() -> anyhow::Result<Prefix> {
    let url = tokio::task::spawn_blocking(shared_server).await??;
    Ok(Prefix { url, prefix: format!("test_{}", Uuid::now_v7().simple()) })
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
    port: u16,
    running: Option<Valkey>,
}

impl Server {
    /// Starts it on a free port.
    pub fn start() -> anyhow::Result<Self> {
        let mut server = Self { folder: servers::folder("valkey")?, port: free_port()?, running: None };
        server.resume()?;
        Ok(server)
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Stops it; what it holds comes back with [`resume`](Self::resume).
    pub fn stop(&mut self) {
        self.running = None;
    }

    /// Starts it again on the same port and data.
    pub fn resume(&mut self) -> anyhow::Result<()> {
        self.running = Some(Valkey::start(&servers::wheels()?, &self.folder, Some(self.port))?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ::redis::AsyncCommands as _;

    use super::*;

    #[tokio::test]
    async fn a_prefix_is_fresh_and_the_server_answers() {
        let (first, second) = (prefix().await.unwrap(), prefix().await.unwrap());
        assert_ne!(first.prefix, second.prefix);
        let client = ::redis::Client::open(first.url.as_str()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let key = format!("{}:key", first.prefix);
        connection.set::<_, _, ()>(&key, 7).await.unwrap();
        assert_eq!(connection.get::<_, i32>(&key).await.unwrap(), 7);
    }
}
