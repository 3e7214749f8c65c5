//! The embedded servers of a tree. One that ends is started again on its data and its port, as a supervisor would.

use std::{env, path::Path, sync::Arc, time::Duration};

use anyhow::Context as _;
use tidemill_servers::{Durability, Error, Port, Postgres, Valkey, Wheels};
use tokio::task::{JoinSet, spawn_blocking};
use tokio_util::sync::CancellationToken;

/// How often a server's process is looked at, and the wait before one that can't start is tried again.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Where the servers are, and the tasks that keep the embedded ones running.
#[derive(Debug)]
pub(crate) struct Servers {
    pub(crate) database_url: String,
    pub(crate) redis_url: String,
    /// Name and version of the embedded ones, for people.
    pub(crate) names: Vec<String>,
    keepers: JoinSet<()>,
    shutdown: CancellationToken,
}

impl Servers {
    /// Starts those that the environment doesn't name.
    ///
    /// # Errors
    /// When the Python packages lack them, or one doesn't start.
    pub(crate) async fn start(python: &Path, dir: &Path) -> anyhow::Result<Self> {
        let (mut keepers, shutdown) = (JoinSet::new(), CancellationToken::new());
        let (given_database, given_redis) = (given("TIDEMILL_DATABASE__URL"), given("TIDEMILL_REDIS__URL"));
        if let (Some(database_url), Some(redis_url)) = (&given_database, &given_redis) {
            let (database_url, redis_url) = (database_url.clone(), redis_url.clone());
            return Ok(Self { database_url, redis_url, names: Vec::new(), keepers, shutdown });
        }
        let wheels = locate(python).await?;
        let [postgres, valkey] = wheels.versions();
        let embedded = [(given_database.is_none(), postgres), (given_redis.is_none(), valkey)];
        let names = embedded.into_iter().filter_map(|(ours, name)| ours.then_some(name)).collect();
        let database_url = match given_database {
            Some(url) => url,
            None => {
                let (wheels, dir) = (wheels.clone(), dir.join("postgres"));
                let start = move |port| Postgres::start(&wheels, &dir, port, Durability::Full);
                keep("Postgres", start, Postgres::ended, Postgres::url, &mut keepers, &shutdown).await?
            }
        };
        let redis_url = match given_redis {
            Some(url) => url,
            None => {
                let dir = dir.join("valkey");
                let start = move |port| Valkey::start(&wheels, &dir, port);
                keep("Valkey", start, Valkey::ended, Valkey::url, &mut keepers, &shutdown).await?
            }
        };
        Ok(Self { database_url, redis_url, names, keepers, shutdown })
    }

    /// Stops the embedded ones.
    pub(crate) async fn stop(mut self) {
        self.shutdown.cancel();
        while self.keepers.join_next().await.is_some() {}
    }
}

/// Starts a server and leaves a task behind that keeps it running; returns its URL, which stays the same.
async fn keep<S: Send + 'static>(
    name: &'static str,
    start: impl Fn(u16) -> Result<S, Error> + Send + Sync + 'static,
    ended: fn(&mut S) -> bool,
    url: fn(&S) -> String,
    keepers: &mut JoinSet<()>,
    shutdown: &CancellationToken,
) -> anyhow::Result<String> {
    let start = Arc::new(start);
    let first = Arc::clone(&start);
    // Claimed for as long as the tree runs: the server may be away for a moment.
    let claimed = Port::any().context("find a free port")?;
    let port = claimed.number();
    let mut server = spawn_blocking(move || first(port)).await??;
    let (url, shutdown) = (url(&server), shutdown.clone());
    keepers.spawn(async move {
        let _claimed = claimed;
        while tokio::time::timeout(LOOK_EVERY, shutdown.cancelled()).await.is_err() {
            if !ended(&mut server) {
                continue;
            }
            tracing::warn!(port, "{name} ended; starting it again");
            let again = Arc::clone(&start);
            match spawn_blocking(move || again(port)).await {
                Ok(Ok(started)) => {
                    server = started;
                    tracing::warn!(port, "{name} is back");
                }
                Ok(Err(error)) => tracing::warn!(port, %error, "{name} could not be started yet"),
                Err(error) => tracing::error!(port, %error, "{name} could not be started"),
            }
        }
        // Stopping waits for the process.
        let _ = spawn_blocking(move || drop(server)).await;
    });
    Ok(url)
}

async fn locate(python: &Path) -> anyhow::Result<Wheels> {
    let python = python.to_owned();
    spawn_blocking(move || {
        Wheels::locate(&python).with_context(|| {
            let python = python.display();
            format!("find the embedded servers of {python} (set TIDEMILL_PYTHON, or run scripts/setup)")
        })
    })
    .await?
}

fn given(name: &str) -> Option<String> {
    env::var(name).ok()
}
