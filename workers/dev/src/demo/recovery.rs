//! A worker is killed with -9 while it trains; another goes on from the last checkpoint.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::{
    stage::{Stage, step},
    summary::Summary,
};
pub(super) async fn kill_the_trainer(stage: &Stage, summary: &mut Summary) -> anyhow::Result<()> {
    let act = Instant::now();
    let started =
        stage.cli(&["run", "train_daily", "--date", "2013-06-01", "--idempotency-key", "recovery"]).await?;
    let run = started["id"].as_str().context("a run")?.to_owned();
    let killed = kill_at_checkpoint(stage, &run).await?;
    let page = await_end(stage, &run).await?;

    let log_begins = first_line(stage, &run, 2).await?;
    let resumed_from = checkpoint_before(&log_begins)?;
    let successor = worker_pid(stage, &step(&page, "train")["attempts"][1]["worker"]).await?;
    let finished = page["step_list"].as_array().into_iter().flatten().filter(|step| step["name"] != "train");
    let steps_repeated = finished.filter(|step| step["attempts"].as_array().map_or(0, Vec::len) > 1).count();
    summary.recovery = json!({
        "killed_pid": killed, "run": run, "resumed_from": resumed_from, "log_begins": log_begins,
        "steps_repeated": steps_repeated, "run_state": page["state"],
    });
    let repeated = match steps_repeated {
        0 => "no finished step ran again".to_owned(),
        steps => format!("{steps} finished steps ran again"),
    };
    let line = format!(
        "killed worker {killed} while it trained v2 → worker {successor} went on from checkpoint `{resumed_from}`, {repeated}"
    );
    summary.act("recovery", act, line);
    Ok(())
}

/// Kills the worker that trains as soon as a checkpoint is there; returns its process id.
async fn kill_at_checkpoint(stage: &Stage, run: &str) -> anyhow::Result<i32> {
    let mut looks = tokio::time::interval(Duration::from_millis(20));
    for _ in 0..3000 {
        looks.tick().await;
        let page = stage.cli(&["runs", "show", run]).await?;
        if page["state"] != "running" {
            bail!("the run ended before it could be interrupted: {}", page["state"]);
        }
        let train = step(&page, "train");
        let attempt = train["attempts"].as_array().and_then(|attempts| attempts.last());
        if train["checkpoint"].is_null() || attempt.is_none_or(|attempt| attempt["outcome"] != "running") {
            continue;
        }
        let pid = worker_pid(stage, &attempt.context("an attempt")?["worker"]).await?;
        kill_process(Pid::from_raw(pid).context("a process id")?, Signal::KILL)?;
        return Ok(pid);
    }
    bail!("no checkpoint within a minute")
}

async fn worker_pid(stage: &Stage, worker: &Value) -> anyhow::Result<i32> {
    let workers = stage.list(&["workers", "list"]).await?;
    let row = workers.iter().find(|row| row["id"] == *worker).context("the worker that trains")?;
    Ok(i32::try_from(row["pid"].as_i64().unwrap_or(0))?)
}

async fn await_end(stage: &Stage, run: &str) -> anyhow::Result<Value> {
    let mut looks = tokio::time::interval(Duration::from_millis(200));
    for _ in 0..900 {
        looks.tick().await;
        let page = stage.cli(&["runs", "show", run]).await?;
        if page["state"] != "running" {
            return Ok(page);
        }
    }
    bail!("the run did not end within three minutes")
}

/// The first line that an attempt of the training wrote.
async fn first_line(stage: &Stage, run: &str, attempt: u32) -> anyhow::Result<String> {
    let lines = stage.list(&["logs", run, "--step", "train", "--attempt", &attempt.to_string()]).await?;
    let first = lines.iter().find_map(|line| line["line"].as_str());
    Ok(first.unwrap_or_default().to_owned())
}

/// The training prints a line for each tree, so its first line follows the tree of the checkpoint it began with.
fn checkpoint_before(line: &str) -> anyhow::Result<String> {
    let tree: Option<u32> = line.strip_prefix("tree ").and_then(|number| number.parse().ok());
    let tree = tree.with_context(|| format!("the second attempt began with `{line}`, not with a tree"))?;
    Ok(format!("tree {}", tree.saturating_sub(1)))
}
