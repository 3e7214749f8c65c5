//! Where the servers and roles of a tree are reached.

use std::{fs, path::Path};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use tidemill_servers::{Port, write_private};

use crate::lock::LOCK_FILE;

/// Below a tree's folder; the CLI finds a running tree by it.
pub const STATE_FILE: &str = "dev.json";

/// URLs and addresses of a running tree, as written to [`STATE_FILE`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Endpoints {
    /// Postgres.
    pub database_url: String,
    /// Valkey or Redis.
    pub redis_url: String,
    /// Kafka's `bootstrap.servers`, where there is a broker.
    pub brokers: Option<String>,
    /// The object store.
    pub blobs_url: String,
    /// Control plane (REST and gRPC), `host:port`.
    pub server: String,
    /// Uploads (gRPC), `host:port`.
    pub gateway: String,
    /// Predictions (gRPC), `host:port`.
    pub serve: String,
    /// Predictions (REST) and metrics, `host:port`.
    pub serve_http: String,
    /// The process that holds the tree together.
    pub pid: u32,
}

impl Endpoints {
    /// The environment that tells a role where everything is.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let mut environment = vec![
            ("TIDEMILL_DATABASE__URL", self.database_url.clone()),
            ("TIDEMILL_REDIS__URL", self.redis_url.clone()),
            ("TIDEMILL_BLOBS__URL", self.blobs_url.clone()),
            ("TIDEMILL_SERVER__LISTEN", self.server.clone()),
            ("TIDEMILL_SERVER__GATEWAY", format!("http://{}", self.gateway)),
            ("TIDEMILL_SERVER__SERVE", format!("http://{}", self.serve_http)),
            ("TIDEMILL_GATEWAY__LISTEN", self.gateway.clone()),
            ("TIDEMILL_SERVE__LISTEN", self.serve.clone()),
            ("TIDEMILL_SERVE__HTTP", self.serve_http.clone()),
        ];
        environment.extend(self.brokers.clone().map(|brokers| ("TIDEMILL_KAFKA__BROKERS", brokers)));
        environment
    }

    /// Tells the CLI where the tree in `dir` is; nobody else, for the servers' passwords are in it.
    pub(crate) fn publish(&self, dir: &Path) -> anyhow::Result<()> {
        let path = dir.join(STATE_FILE);
        write_private(&path, &serde_json::to_string_pretty(self)?)
            .with_context(|| format!("write {}", path.display()))
    }

    /// Whether a tree in `dir` holds its lock and has not said yet where it is.
    pub fn starting(dir: &Path) -> bool {
        runs(dir) && Self::find(dir).is_none()
    }

    /// The tree that runs in `dir`, if one does.
    pub fn find(dir: &Path) -> Option<Self> {
        let endpoints: Self = serde_json::from_slice(&fs::read(dir.join(STATE_FILE)).ok()?).ok()?;
        // The id of a process that is gone is given to another one in time, which is not ours.
        let alive = runs(dir) && Path::new(&format!("/proc/{}", endpoints.pid)).exists();
        alive.then_some(endpoints)
    }
}

/// Whether a tree in `dir` holds its lock.
fn runs(dir: &Path) -> bool {
    fs::File::open(dir.join(LOCK_FILE)).is_ok_and(|lock| lock.try_lock_shared().is_err())
}

/// `wanted` if no other tree has it, also while its roles start, so that URLs stay the same from day to day; else any
/// port that is free.
pub(crate) fn claim(wanted: Option<u16>) -> anyhow::Result<Port> {
    match wanted.and_then(Port::claim) {
        Some(port) => Ok(port),
        None => Port::any().context("find a free port"),
    }
}

/// Its address.
pub(crate) fn loopback(port: &Port) -> String {
    format!("127.0.0.1:{}", port.number())
}
