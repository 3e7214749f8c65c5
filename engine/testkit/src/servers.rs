//! Starts a server that can't outlive the test process.
//!
//! A small shell guards each server and reads a pipe that only the test process holds open: when that process ends,
//! by any death, the guard stops the server and removes its folder. (A parent-death signal would fire already when
//! the test's own thread ends.)

use std::{
    ffi::OsString,
    fs::File,
    io,
    net::TcpListener,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

const GUARD: &str = r#"
signal=$1 folder=$2; shift 2
"$@" </dev/null &
server=$!
cat >/dev/null
kill -"$signal" "$server" 2>/dev/null
wait "$server"
rm -rf "$folder"
"#;

/// A running server; it ends when this is dropped or the process dies.
#[derive(Debug)]
pub(crate) struct Guarded {
    guard: Child,
    log: PathBuf,
}

impl Guarded {
    /// Runs `command` under a guard that stops it by `signal` and then removes `folder`, which also holds its log.
    pub(crate) fn start(folder: &Path, signal: &str, command: Vec<OsString>) -> anyhow::Result<Self> {
        let log = folder.join("log");
        let output = File::create(&log)?;
        let guard = Command::new("sh")
            .args(["-c", GUARD, "guard", signal])
            .arg(folder)
            .args(command)
            .stdin(Stdio::piped())
            .stdout(output.try_clone()?)
            .stderr(output)
            // An interrupt typed at the terminal must reach the tests, not the server under them.
            .process_group(0)
            .spawn()
            .context("starting a guarded server")?;
        Ok(Self { guard, log })
    }

    /// Waits until `ready` says so.
    pub(crate) fn wait(&self, what: &str, ready: impl Fn() -> bool) -> anyhow::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !ready() {
            if Instant::now() > deadline {
                bail!("{what} is not ready after a minute: {}", self.log_tail());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn log_tail(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        log.lines().rev().take(10).collect::<Vec<_>>().join(" | ")
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

/// A fresh folder for a server's data; the guard removes it.
pub(crate) fn folder(server: &str) -> io::Result<PathBuf> {
    Ok(tempfile::Builder::new().prefix(&format!("tidemill-{server}-")).tempdir()?.keep())
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// A folder or file inside the virtual environment that `scripts/setup` fills.
pub(crate) fn packaged(path: &str) -> anyhow::Result<PathBuf> {
    let venv = match std::env::var_os("TIDEMILL_VENV") {
        Some(venv) => PathBuf::from(venv),
        None => std::env::home_dir().context("no home directory")?.join(".cache/tidemill/venv"),
    };
    let library = venv.join("lib");
    let python = library
        .read_dir()
        .with_context(|| format!("{} is missing: run scripts/setup", library.display()))?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("python3")))
        .with_context(|| format!("{} holds no Python: run scripts/setup", library.display()))?;
    let found = [venv.join("bin").join(path), python.join("site-packages").join(path)];
    found
        .into_iter()
        .find(|path| path.exists())
        .with_context(|| format!("{} holds no {path}: run scripts/setup", venv.display()))
}
