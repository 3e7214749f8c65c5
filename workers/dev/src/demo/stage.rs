//! How an act does things: by running this same binary as a user would, and reading its JSON.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context as _, bail};
use serde_json::Value;
use tokio::process::Command;

use crate::{DemoOptions, Endpoints, Tree};

/// The stage of the demo.
#[derive(Debug)]
pub(super) struct Stage {
    binary: PathBuf,
    python: PathBuf,
    project: PathBuf,
    flights: PathBuf,
    data: PathBuf,
    reports: PathBuf,
    endpoints: Endpoints,
}

impl Stage {
    pub(super) fn new(options: &DemoOptions, tree: &Tree, data: PathBuf) -> Self {
        Self {
            binary: options.tree.binary.clone(),
            python: options.tree.python.clone(),
            project: options.project.clone(),
            flights: options.flights.clone(),
            data,
            reports: options.tree.dir.join("reports"),
            endpoints: tree.endpoints().clone(),
        }
    }

    pub(super) fn project(&self) -> String {
        self.project.display().to_string()
    }

    /// A file that `prepare.py` made.
    pub(super) fn data(&self, path: &str) -> String {
        self.data.join(path).display().to_string()
    }

    /// Where a monitor's page of that name goes.
    pub(super) fn report(&self, name: &str) -> anyhow::Result<String> {
        std::fs::create_dir_all(&self.reports)?;
        Ok(self.reports.join(name).display().to_string())
    }

    /// Makes the sources' files of the package's CSV, unless they were made of these very files.
    pub(super) async fn prepare_files(&self) -> anyhow::Result<()> {
        let script = self.project.join("prepare.py");
        let (stamp, made_of) = (self.data.join("made-of"), fingerprint(&script, &self.flights)?);
        if std::fs::read_to_string(&stamp).is_ok_and(|known| known == made_of) {
            return Ok(());
        }
        if self.data.exists() {
            std::fs::remove_dir_all(&self.data)?;
        }
        let status =
            Command::new(&self.python).arg(&script).arg(&self.flights).arg(&self.data).status().await?;
        if !status.success() {
            bail!("{} failed", script.display());
        }
        Ok(std::fs::write(stamp, made_of)?)
    }

    /// Runs a command that must succeed; returns the JSON it printed.
    pub(super) async fn cli(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let output = self.command(arguments).output().await.context("start the command line")?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("tidemill {} failed:\n{}", arguments.join(" "), said.trim());
        }
        parse(&output.stdout)
    }

    /// Runs a command that must find the work failed (exit code 1); returns the JSON it printed.
    pub(super) async fn cli_failing(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let output = self.command(arguments).output().await.context("start the command line")?;
        if output.status.code() != Some(1) {
            bail!("tidemill {} ended with {}, not with 1", arguments.join(" "), output.status);
        }
        parse(&output.stdout)
    }

    /// A list as rows.
    pub(super) async fn list(&self, arguments: &[&str]) -> anyhow::Result<Vec<Value>> {
        Ok(self.cli(arguments).await?.as_array().cloned().unwrap_or_default())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .args(["-q", "-o", "json"])
            .args(arguments)
            .envs(self.endpoints.environment())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// Uploads those monthly files of every streamed source, the leaky twins too, that are wanted.
    pub(super) async fn upload(&self, wanted: impl Fn(&str) -> bool) -> anyhow::Result<()> {
        const TWINS: &[(&str, &[&str])] = &[
            ("arrivals", &["arrivals", "arrivals_by_schedule"]),
            ("departures", &["departures", "departures_by_schedule"]),
            ("weather", &["weather"]),
        ];
        let mut uploads = Vec::new();
        for (folder, sources) in TWINS {
            let mut files: Vec<String> = std::fs::read_dir(self.data.join(folder))?
                .filter_map(|entry| Some(entry.ok()?.path()))
                .filter(|path| path.file_stem().is_some_and(|month| wanted(&month.to_string_lossy())))
                .map(|path| path.display().to_string())
                .collect();
            files.sort();
            uploads.extend(sources.iter().map(|source| {
                let arguments = ["sources", "upload", source].map(str::to_owned);
                let arguments: Vec<String> = arguments.into_iter().chain(files.clone()).collect();
                async move { self.cli(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).await }
            }));
        }
        futures::future::try_join_all(uploads).await?;
        Ok(())
    }

    /// Uploads the one file of a source.
    pub(super) async fn upload_whole(&self, source: &str) -> anyhow::Result<()> {
        let entry = std::fs::read_dir(self.data.join(source))?.next().context("a file")??;
        self.cli(&["sources", "upload", source, &entry.path().display().to_string()]).await?;
        Ok(())
    }

    /// Waits until no job runs or may be claimed.
    pub(super) async fn await_idle(&self) -> anyhow::Result<()> {
        let mut looks = tokio::time::interval(Duration::from_millis(200));
        let idle = tokio::time::timeout(Duration::from_secs(300), async {
            loop {
                looks.tick().await;
                let queue = self.list(&["queue", "stats"]).await?;
                let busy =
                    |row: &Value| row["running"].as_i64() > Some(0) || row["available"].as_i64() > Some(0);
                if !queue.iter().any(busy) {
                    return anyhow::Ok(());
                }
            }
        });
        idle.await.context("jobs did not end within five minutes")?
    }
}

/// Name, size and time of change of every file that the sources' files are made of.
fn fingerprint(script: &Path, flights: &Path) -> anyhow::Result<String> {
    let entries = std::fs::read_dir(flights).with_context(|| format!("read {}", flights.display()))?;
    let tables = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut files: Vec<PathBuf> = tables.chain([script.to_owned()]).collect();
    files.sort();
    let mut lines = String::new();
    for file in files {
        let facts = file.metadata().with_context(|| format!("read {}", file.display()))?;
        let changed = facts.modified()?.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let _ = writeln!(lines, "{} {} {}", file.display(), facts.len(), changed.as_micros());
    }
    Ok(lines)
}

/// A step of a run's page.
pub(super) fn step<'p>(page: &'p Value, name: &str) -> &'p Value {
    let mut steps = page["step_list"].as_array().into_iter().flatten();
    steps.find(|step| step["name"] == name).unwrap_or(&Value::Null)
}

fn parse(stdout: &[u8]) -> anyhow::Result<Value> {
    if stdout.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(stdout).context("the command line did not print JSON")
}
