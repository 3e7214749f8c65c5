//! The embedded servers of a tree. One that ends is started again on its data and its port, as a supervisor would.

use std::{env, path::Path, sync::Arc, time::Duration};

use anyhow::Context as _;
use tidemill_servers::{Durability, Error, Jars, Kafka, Port, Postgres, Valkey, Wheels};
use tokio::{
    sync::oneshot,
    task::{JoinSet, spawn_blocking},
};
use tokio_util::sync::CancellationToken;

use crate::endpoints::{claim, loopback};

/// How often a server's process is looked at, and the wait before one that can't start is tried again.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Where the servers are, and the tasks that keep the embedded ones running.
#[derive(Debug)]
pub(crate) struct Servers {
    pub(crate) database_url: String,
    pub(crate) redis_url: String,
    /// Kafka's `bootstrap.servers`; none where it is neither named nor installed.
    pub(crate) brokers: Option<String>,
    /// Name and version of the embedded ones, for people.
    pub(crate) names: Vec<String>,
    /// What there is not, why, and what to do, for people.
    pub(crate) missing: Option<String>,
    broker: Option<FirstStart>,
    keepers: Keepers,
}

impl Servers {
    /// Starts those that the environment doesn't name, all at once. Returns when Postgres and Valkey answer: of a broker the
    /// address is known, and [`answer`](Self::answer) waits for it. `broker_port`: where it should listen, if that is free.
    ///
    /// # Errors
    /// When the Python packages lack Postgres or Valkey, or one of them doesn't start.
    pub(crate) async fn start(python: &Path, dir: &Path, broker_port: Option<u16>) -> anyhow::Result<Self> {
        let mut servers = Self {
            database_url: String::new(),
            redis_url: String::new(),
            brokers: given("TIDEMILL_KAFKA__BROKERS"),
            names: Vec::new(),
            missing: None,
            broker: None,
            keepers: Keepers::default(),
        };
        let (database, redis) = (given("TIDEMILL_DATABASE__URL"), given("TIDEMILL_REDIS__URL"));
        let [mut postgres, mut valkey] = [None, None];
        if database.is_none() || redis.is_none() {
            let wheels = locate(python).await?;
            let [postgres_name, valkey_name] = wheels.versions();
            if database.is_none() {
                servers.names.push(postgres_name);
                postgres = Some(servers.keepers.postgres(wheels.clone(), dir)?);
            }
            if redis.is_none() {
                servers.names.push(valkey_name);
                valkey = Some(servers.keepers.valkey(wheels, dir)?);
            }
        }
        if servers.brokers.is_none() {
            servers.start_broker(python, dir, broker_port).await?;
        }
        servers.database_url = url(database, postgres).await?;
        servers.redis_url = url(redis, valkey).await?;
        Ok(servers)
    }

    /// Kafka takes seconds to start, and nothing but streams needs it.
    async fn start_broker(&mut self, python: &Path, dir: &Path, port: Option<u16>) -> anyhow::Result<()> {
        let python = python.to_owned();
        let jars = match spawn_blocking(move || Jars::locate(&python)).await? {
            Ok(jars) => jars,
            Err(error) => {
                self.missing = Some(format!(
                    "no Kafka for streams: {:#}; run scripts/setup, or set TIDEMILL_KAFKA__BROKERS",
                    anyhow::Error::from(error)
                ));
                return Ok(());
            }
        };
        let port = claim(port)?;
        self.names.push(jars.version());
        self.brokers = Some(loopback(&port));
        self.broker = Some(self.keepers.kafka(jars, dir, port)?);
        Ok(())
    }

    /// Waits until an embedded broker answers. One that doesn't start is missing: nothing but streams needs it.
    pub(crate) async fn answer(&mut self) {
        let Some(broker) = self.broker.take() else { return };
        if let Err(error) = broker.await.map_err(anyhow::Error::from).flatten() {
            self.names.retain(|name| !name.starts_with("kafka"));
            self.missing = Some(format!("no Kafka for streams: {error:#}"));
        }
    }

    /// Whether the brokers are one of ours.
    pub(crate) fn embedded_broker(&self) -> bool {
        self.brokers.is_some() && given("TIDEMILL_KAFKA__BROKERS").is_none()
    }

    /// Stops the embedded ones.
    pub(crate) async fn stop(mut self) {
        self.keepers.shutdown.cancel();
        while self.keepers.tasks.join_next().await.is_some() {}
    }
}

/// What became of a server's first start: its URL, which stays the same.
type FirstStart = oneshot::Receiver<anyhow::Result<String>>;

/// The given URL, or that of the server which was started for want of it.
async fn url(given: Option<String>, started: Option<FirstStart>) -> anyhow::Result<String> {
    match (given, started) {
        (Some(url), _) => Ok(url),
        (None, Some(started)) => started.await?,
        (None, None) => anyhow::bail!("a server was neither named nor started"),
    }
}

/// A task for each embedded server. Its ports are claimed for as long as it runs: the server may be away for a moment.
#[derive(Debug, Default)]
struct Keepers {
    tasks: JoinSet<()>,
    shutdown: CancellationToken,
}

impl Keepers {
    fn postgres(&mut self, wheels: Wheels, dir: &Path) -> anyhow::Result<FirstStart> {
        let (dir, port) = (dir.join("postgres"), any_port()?);
        let start = move || Postgres::start(&wheels, &dir, port.number(), Durability::Full);
        Ok(self.keep("Postgres", start, Postgres::ended, Postgres::url))
    }

    fn valkey(&mut self, wheels: Wheels, dir: &Path) -> anyhow::Result<FirstStart> {
        let (dir, port) = (dir.join("valkey"), any_port()?);
        let start = move || Valkey::start(&wheels, &dir, port.number());
        Ok(self.keep("Valkey", start, Valkey::ended, Valkey::url))
    }

    fn kafka(&mut self, jars: Jars, dir: &Path, port: Port) -> anyhow::Result<FirstStart> {
        let (dir, controller) = (dir.join("kafka"), any_port()?);
        let start = move || Kafka::start(&jars, &dir, port.number(), controller.number());
        Ok(self.keep("Kafka", start, Kafka::ended, Kafka::brokers))
    }

    /// Starts a server and leaves a task behind that keeps it running.
    fn keep<S: Send + 'static>(
        &mut self,
        name: &'static str,
        start: impl Fn() -> Result<S, Error> + Send + Sync + 'static,
        ended: fn(&mut S) -> bool,
        url: fn(&S) -> String,
    ) -> FirstStart {
        let (tell, first_start) = oneshot::channel();
        let (start, shutdown) = (Arc::new(start), self.shutdown.clone());
        self.tasks.spawn(async move {
            let started = async || {
                let start = Arc::clone(&start);
                anyhow::Ok(spawn_blocking(move || start()).await??)
            };
            let mut server = match started().await {
                Ok(server) => server,
                // Who waits for it knows what that means.
                Err(error) => return drop(tell.send(Err(error))),
            };
            let _ = tell.send(Ok(url(&server)));
            while tokio::time::timeout(LOOK_EVERY, shutdown.cancelled()).await.is_err() {
                if !ended(&mut server) {
                    continue;
                }
                tracing::warn!("{name} ended; starting it again");
                match started().await {
                    Ok(again) => {
                        server = again;
                        tracing::warn!("{name} is back");
                    }
                    Err(error) => tracing::warn!("{name} could not be started yet: {error:#}"),
                }
            }
            // Stopping waits for the process.
            let _ = spawn_blocking(move || drop(server)).await;
        });
        first_start
    }
}

fn any_port() -> anyhow::Result<Port> {
    Port::any().context("find a free port")
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
    env::var(name).ok().filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn python() -> PathBuf {
        let home = env::home_dir().unwrap_or_default();
        given("TIDEMILL_PYTHON").map_or_else(|| home.join(".cache/tidemill/venv/bin/python"), PathBuf::from)
    }

    /// The process that listens on a port of this machine.
    fn listener(port: u16) -> Option<u32> {
        let entries = std::fs::read_dir("/proc").ok()?;
        let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        pids.into_iter().find(|pid| tidemill_servers::listens(*pid, port))
    }

    #[tokio::test]
    async fn a_killed_broker_is_started_again_where_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let mut servers = Servers::start(&python(), dir.path(), None).await.unwrap();
        servers.answer().await;
        assert_eq!(servers.missing, None);
        assert_eq!(servers.missing, None);
        assert_eq!(servers.names.len(), 3, "{:?}", servers.names);
        let port = servers.brokers.as_ref().unwrap().rsplit_once(':').unwrap().1.parse().unwrap();
        let killed = listener(port).unwrap();
        let pid = rustix::process::Pid::from_raw(i32::try_from(killed).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        let back = async {
            let mut looks = tokio::time::interval(LOOK_EVERY);
            while listener(port).is_none_or(|pid| pid == killed) {
                looks.tick().await;
            }
        };
        tokio::time::timeout(Duration::from_mins(2), back).await.unwrap();
        servers.stop().await;
    }
}
