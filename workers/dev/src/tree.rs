//! The process tree: servers first, then migrations, then every role.

use std::{
    env, fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::bail;
use tidemill_servers::{Port, last_lines};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    endpoints::{Endpoints, claim, loopback},
    lock::Folder,
    role::{DRAIN, Role},
    servers::Servers,
};

const READY_WITHIN: Duration = Duration::from_mins(3);

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
    roles: Vec<Role>,
    /// Held while the tree runs: nobody else gets its folder or its ports, also while a role is started again.
    _folder: Folder,
    ports: [Port; 4],
}

impl Tree {
    /// Starts everything and returns when all of it answers. URLs in the environment win over embedded servers.
    ///
    /// # Errors
    /// When another tree runs on the folder, a server can't be started, or a role doesn't get ready.
    pub async fn start(options: &TreeOptions) -> anyhow::Result<Self> {
        let folder = Folder::take(&options.dir).await?;
        let dir = folder.path.clone();
        let wanted = |port| (!options.any_port).then_some(port);
        let servers = Servers::start(&options.python, &dir, wanted(7437)).await?;
        let port = |number| claim(wanted(number));
        let ports = [port(7433)?, port(7434)?, port(7435)?, port(7436)?];
        let [server, gateway, serve, serve_http] = ports.each_ref().map(loopback);
        let endpoints = Endpoints {
            database_url: servers.database_url.clone(),
            redis_url: servers.redis_url.clone(),
            brokers: servers.brokers.clone(),
            blobs_url: env::var("TIDEMILL_BLOBS__URL")
                .unwrap_or_else(|_| format!("file://{}", dir.join("objects").display())),
            server,
            gateway,
            serve,
            serve_http,
            pid: std::process::id(),
        };
        let shutdown = CancellationToken::new();
        let (tasks, roles) = (JoinSet::new(), Vec::new());
        let mut tree = Self { endpoints, tasks, shutdown, servers, roles, _folder: folder, ports };
        tree.migrate(options, &dir)?;
        tree.start_roles(options, &dir);
        tree.await_ready(options.workers, &dir).await?;
        tree.servers.answer().await;
        tree.endpoints.publish(&dir)?;
        Ok(tree)
    }

    /// Where everything is.
    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// What runs, for people: `postgres 18.6   ✓ valkey 9.1   ✓ kafka 4.1.0   ✓ server · gateway · serve · 2 workers`.
    pub fn parts(&self, workers: u32) -> String {
        let roles = format!("server · gateway · serve · {workers} workers");
        let parts: Vec<&str> =
            self.servers.names.iter().map(String::as_str).chain([roles.as_str()]).collect();
        parts.join("   ✓ ")
    }

    /// What there is not, why, and what to do, for people.
    pub fn missing(&self) -> Option<&str> {
        self.servers.missing.as_deref()
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
        if self.servers.embedded_broker() {
            // Options in the environment are for another Kafka.
            environment.push(("TIDEMILL_KAFKA__CONFIG_FILE".to_owned(), String::new()));
        }
        // Unless the environment says otherwise: folders below the tree's, and a drain that Ctrl-C waits for.
        let below = |folder: &str| dir.join(folder).display().to_string();
        let defaults = [
            ("TIDEMILL_UNPACKED", below("unpacked")),
            ("TIDEMILL_BLOBS__CACHE", below("cache")),
            ("TIDEMILL_SERVE__LOG", below("predictions")),
            ("TIDEMILL_WORKER__DRAIN", DRAIN.to_owned()),
            // Whoever runs a tree may reach what else they run on this machine.
            ("TIDEMILL_WEBHOOKS__ALLOW", "127.0.0.0/8,::1".to_owned()),
        ];
        environment.extend(defaults.into_iter().filter(|(name, _)| env::var_os(name).is_none()).map(owned));
        Role {
            name: name.to_owned(),
            arguments: arguments.iter().map(ToString::to_string).collect(),
            environment,
            log_dir: dir.join("logs"),
            ports: self.ports_of(name),
            pid: Arc::default(),
        }
    }

    /// Where a role listens.
    fn ports_of(&self, role: &str) -> Vec<u16> {
        let [server, gateway, serve, serve_http] = self.ports.each_ref().map(Port::number);
        match role {
            "server" => vec![server],
            "gateway" => vec![gateway],
            "serve" => vec![serve, serve_http],
            _ => Vec::new(),
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
            self.roles.push(role.clone());
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
            let missing: Vec<&str> =
                self.roles.iter().filter(|role| !role.listens()).map(|role| role.name.as_str()).collect();
            let who = if missing.is_empty() { "not every role".to_owned() } else { missing.join(", ") };
            bail!(
                "{who} did not get ready within three minutes; the logs are in {}",
                dir.join("logs").display()
            );
        }
        Ok(())
    }

    async fn ready(&self, client: &reqwest::Client, workers: u32) -> bool {
        if !self.roles.iter().all(Role::listens) {
            return false;
        }
        let get = async |url: String| client.get(url).send().await.ok()?.error_for_status().ok();
        if get(format!("http://{}/healthz", self.endpoints.serve_http)).await.is_none() {
            return false;
        }
        let Some(reply) = get(format!("http://{}/v1/workers", self.endpoints.server)).await else {
            return false;
        };
        let listed = reply.json::<serde_json::Value>().await.unwrap_or_default();
        let ours = |pid: u64| self.roles.iter().any(|role| role.runs_as(pid));
        let listed = listed["items"].as_array().into_iter().flatten();
        listed.filter_map(|worker| worker["pid"].as_u64()).filter(|pid| ours(*pid)).count()
            >= workers as usize
    }
}
