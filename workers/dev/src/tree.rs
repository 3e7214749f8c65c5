//! The process tree: servers first, then migrations, then every role.

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail};
use tidemill_servers::last_lines;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    endpoints::{Endpoints, LOCK_FILE, loopback},
    role::Role,
    servers::Servers,
};

const READY_WITHIN: Duration = Duration::from_secs(60);

/// What a tree is made of.
#[derive(Clone, Debug)]
pub struct TreeOptions {
    /// Its folder; data, logs and state live below it.
    pub dir: PathBuf,
    /// This same binary.
    pub binary: PathBuf,
    /// The interpreter that has the Python packages.
    pub python: PathBuf,
    /// Worker processes.
    pub workers: u32,
    /// Whether ports may be any free ones, so that several trees fit on a machine.
    pub any_port: bool,
    /// More variables for every role.
    pub environment: Vec<(String, String)>,
}

/// A running tree. Dropping it stops nothing in order: call [`Tree::stop`].
#[derive(Debug)]
pub struct Tree {
    endpoints: Endpoints,
    tasks: JoinSet<()>,
    shutdown: CancellationToken,
    servers: Servers,
    /// Held while the tree runs: two would share a folder.
    _lock: fs::File,
}

impl Tree {
    /// Starts everything and returns when every role answers. URLs in the environment win over embedded servers.
    ///
    /// # Errors
    /// When another tree runs on the folder, a server can't be started, or a role doesn't get ready.
    pub async fn start(options: &TreeOptions) -> anyhow::Result<Self> {
        fs::create_dir_all(&options.dir).with_context(|| format!("make {}", options.dir.display()))?;
        let dir = options.dir.canonicalize()?;
        let lock = fs::File::create(dir.join(LOCK_FILE)).context("make a lock file")?;
        if lock.try_lock().is_err() {
            let other =
                Endpoints::find(&dir).map_or_else(String::new, |tree| format!(" (process {})", tree.pid));
            bail!("tidemill already runs in {}{other}; stop it first, or name another --dir", dir.display());
        }
        let servers = Servers::start(&options.python, &dir).await?;
        let port = |wanted| loopback((!options.any_port).then_some(wanted));
        let endpoints = Endpoints {
            database_url: servers.database_url.clone(),
            redis_url: servers.redis_url.clone(),
            blobs_url: env::var("TIDEMILL_BLOBS__URL")
                .unwrap_or_else(|_| format!("file://{}", dir.join("objects").display())),
            server: port(7433)?,
            gateway: port(7434)?,
            serve: port(7435)?,
            serve_http: port(7436)?,
            pid: std::process::id(),
        };
        let shutdown = CancellationToken::new();
        let mut tree = Self { endpoints, tasks: JoinSet::new(), shutdown, servers, _lock: lock };
        tree.migrate(options, &dir)?;
        tree.start_roles(options, &dir);
        tree.await_ready(options.workers, &dir).await?;
        tree.endpoints.publish(&dir)?;
        Ok(tree)
    }

    /// Where everything is.
    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// What runs, for people: `postgres 18.6   valkey 9.1   server · gateway · serve · 2 workers`.
    pub fn parts(&self, workers: u32) -> String {
        let roles = format!("server · gateway · serve · {workers} workers");
        let parts: Vec<&str> =
            self.servers.names.iter().map(String::as_str).chain([roles.as_str()]).collect();
        parts.join("   ✓ ")
    }

    /// Lets every role drain, then stops the servers.
    pub async fn stop(mut self) {
        self.shutdown.cancel();
        while self.tasks.join_next().await.is_some() {}
        self.servers.stop().await;
    }

    fn role(&self, name: &str, arguments: &[&str], options: &TreeOptions, dir: &Path) -> Role {
        let owned = |(name, value): (&str, String)| (name.to_owned(), value);
        let mut environment: Vec<_> = self.endpoints.environment().into_iter().map(owned).collect();
        environment.extend(options.environment.iter().cloned());
        environment.push(("TIDEMILL_PYTHON".to_owned(), options.python.display().to_string()));
        // Below the tree's folder, unless the environment says where.
        let private = [("TIDEMILL_UNPACKED", "unpacked"), ("TIDEMILL_BLOBS__CACHE", "cache")];
        let unset = private.into_iter().filter(|(name, _)| env::var_os(name).is_none());
        environment
            .extend(unset.map(|(name, below)| (name.to_owned(), dir.join(below).display().to_string())));
        Role {
            name: name.to_owned(),
            arguments: arguments.iter().map(ToString::to_string).collect(),
            environment,
            log_dir: dir.join("logs"),
        }
    }

    fn migrate(&self, options: &TreeOptions, dir: &Path) -> anyhow::Result<()> {
        fs::create_dir_all(dir.join("logs"))?;
        let status = self.role("migrate", &["migrate"], options, dir).spawn(&options.binary)?.wait()?;
        if !status.success() {
            bail!("the database could not be migrated: {}", last_lines(&dir.join("logs/migrate.log")));
        }
        Ok(())
    }

    fn start_roles(&mut self, options: &TreeOptions, dir: &Path) {
        let workers = (1..=options.workers).map(|n| (format!("worker-{n}"), "worker"));
        let others = ["server", "gateway", "serve"].map(|role| (role.to_owned(), role));
        for (name, subcommand) in others.into_iter().chain(workers) {
            let role = self.role(&name, &[subcommand], options, dir);
            self.tasks.spawn(role.supervise(options.binary.clone(), self.shutdown.clone()));
        }
    }

    async fn await_ready(&self, workers: u32, dir: &Path) -> anyhow::Result<()> {
        let client = reqwest::Client::builder().timeout(Duration::from_secs(5)).build()?;
        let mut ticks = tokio::time::interval(Duration::from_millis(50));
        let ready = tokio::time::timeout(READY_WITHIN, async {
            while !self.ready(&client, workers).await {
                ticks.tick().await;
            }
        });
        if ready.await.is_err() {
            bail!(
                "not every role got ready within a minute; their logs are in {}",
                dir.join("logs").display()
            );
        }
        Ok(())
    }

    async fn ready(&self, client: &reqwest::Client, workers: u32) -> bool {
        let get = async |url: String| client.get(url).send().await.ok()?.error_for_status().ok();
        if get(format!("http://{}/healthz", self.endpoints.serve_http)).await.is_none() {
            return false;
        }
        if tokio::net::TcpStream::connect(&self.endpoints.gateway).await.is_err() {
            return false;
        }
        let Some(reply) = get(format!("http://{}/v1/workers", self.endpoints.server)).await else {
            return false;
        };
        let listed = reply.json::<serde_json::Value>().await.unwrap_or_default();
        listed["items"].as_array().is_some_and(|items| items.len() >= workers as usize)
    }
}
