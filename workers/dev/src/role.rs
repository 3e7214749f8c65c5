//! One role as a child process that is started again when it ends.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use tokio_util::sync::CancellationToken;

/// How often a role's process is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Wait before a role that ended is started again, so that one that can't start doesn't spin.
const RESTART_AFTER: Duration = Duration::from_millis(500);
/// How long a role may take to drain: longer than [`DRAIN`] and what a job may take to stop then.
const STOP_WITHIN: Duration = Duration::from_secs(20);
/// How long jobs may go on after Ctrl-C before they are handed back, to go on from their checkpoints.
pub(crate) const DRAIN: &str = "10s";
/// Set in the environment of children that must not outlive their parent.
const DIE_WITH_PARENT: &str = "TIDEMILL_DIE_WITH_PARENT";

/// Called first in `main`: asks the kernel to end this process with its parent, if its parent wanted that. A parent that
/// could say no goodbye has taken the servers along, so there is nothing to drain into.
///
/// # Errors
/// When the kernel refuses.
pub fn die_with_parent() -> std::io::Result<()> {
    if let Ok(parent) = std::env::var(DIE_WITH_PARENT) {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        // The parent may have ended before the request was made.
        let alive = rustix::process::getppid().is_some_and(|pid| pid.as_raw_nonzero().to_string() == parent);
        if !alive {
            return Err(std::io::Error::other("the parent process has ended"));
        }
    }
    Ok(())
}

/// A child process of this same binary.
#[derive(Clone, Debug)]
pub(crate) struct Role {
    /// `worker-1`, for logs and messages.
    pub(crate) name: String,
    /// The subcommand with its flags.
    pub(crate) arguments: Vec<String>,
    /// Where everything is.
    pub(crate) environment: Vec<(String, String)>,
    /// Its output goes below this.
    pub(crate) log_dir: PathBuf,
    /// Where it has to listen.
    pub(crate) ports: Vec<u16>,
    /// Its process; 0 while there is none.
    pub(crate) pid: Arc<AtomicU32>,
}

impl Role {
    /// Starts the process.
    pub(crate) fn spawn(&self, binary: &Path) -> anyhow::Result<Child> {
        let path = self.log_dir.join(format!("{}.log", self.name));
        let log = File::options().create(true).append(true).open(&path);
        let log = log.with_context(|| format!("write {}", path.display()))?;
        let mut command = Command::new(binary);
        command
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env(DIE_WITH_PARENT, std::process::id().to_string())
            // Else the C library keeps what its threads have freed in eight pools a processor: a quarter more memory.
            .env("MALLOC_ARENA_MAX", std::env::var("MALLOC_ARENA_MAX").unwrap_or_else(|_| "2".to_owned()))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        tidemill_servers::with_parent(command).with_context(|| format!("start {}", self.name))
    }

    /// Whether its own process listens on all its ports: somebody else's answer is none.
    pub(crate) fn listens(&self) -> bool {
        let pid = self.pid.load(Ordering::Acquire);
        self.ports.iter().all(|port| tidemill_servers::listens(pid, *port))
    }

    /// Whether `pid` is its process.
    pub(crate) fn runs_as(&self, pid: u64) -> bool {
        u64::from(self.pid.load(Ordering::Acquire)) == pid
    }

    /// Keeps the process running until `shutdown`, then lets it drain.
    pub(crate) async fn supervise(self, binary: PathBuf, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            match self.spawn(&binary) {
                Ok(mut child) => {
                    self.pid.store(child.id(), Ordering::Release);
                    watch(&mut child, &shutdown).await;
                    self.pid.store(0, Ordering::Release);
                    if !shutdown.is_cancelled() {
                        tracing::warn!(role = self.name, "a role ended; starting it again");
                    }
                }
                Err(error) => tracing::error!(role = self.name, %error, "a role could not be started"),
            }
            let _ = tokio::time::timeout(RESTART_AFTER, shutdown.cancelled()).await;
        }
    }
}

/// Returns when the process has ended, by itself or because of `shutdown`.
async fn watch(child: &mut Child, shutdown: &CancellationToken) {
    while !shutdown.is_cancelled() {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        let _ = tokio::time::timeout(LOOK_EVERY, shutdown.cancelled()).await;
    }
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, Signal::TERM);
    }
    let mut looks = tokio::time::interval(LOOK_EVERY);
    let drained = tokio::time::timeout(STOP_WITHIN, async {
        while matches!(child.try_wait(), Ok(None)) {
            looks.tick().await;
        }
    });
    if drained.await.is_err() {
        let _ = child.kill();
        let _ = child.wait();
    }
}
