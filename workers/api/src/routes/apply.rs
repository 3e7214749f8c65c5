//! A project comes in: its files are checked as `tidemill check` does, then applied in one transaction.

use std::{
    collections::BTreeMap,
    fs,
    path::{Component, Path},
};

use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};
use tidemill_catalog::{Change, CodeArchive};
use tidemill_core::{DataClock, Fault};
use tidemill_spec::{Clock, LoadOptions, Objects, load_with};

use super::{Answer, items};
use crate::{Api, error::ApiError, extract::Body};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Apply {
    /// YAML and Python files by path.
    files: BTreeMap<String, String>,
    #[serde(default)]
    overlays: Vec<String>,
    #[serde(default)]
    allow_leaks: bool,
    /// Take the place of another project that is in force.
    #[serde(default)]
    replace: bool,
}

/// `POST /v1/apply`
pub(super) async fn apply(State(api): State<Api>, Body(body): Body<Apply>) -> Answer {
    let folder = unpack(&body.files)?;
    let options = LoadOptions { overlays: body.overlays, allow_leaks: body.allow_leaks };
    let loaded = load_with(folder.path(), &options)?;
    if loaded.failed() {
        let text = tidemill_spec::diagnostic::render(&loaded.diagnostics, &loaded.files, false);
        return Err(ApiError::invalid(
            Fault::coded(106, "the project has mistakes").detail(text).hint("tidemill check"),
        ));
    }
    let code = CodeArchive::pack(folder.path())?;
    code.store(&api.stores.blobs).await?;

    let (store, catalog) = (&api.stores.store, &api.stores.catalog);
    let before = catalog.objects().await?;
    if !body.replace {
        same_project(&before.project.name, &loaded.objects.project.name)?;
    }
    let mut tx = store.begin().await?;
    let clock = store.lock_data_clock(&mut tx).await?;
    let clock = declared_clock(&before, &loaded.objects, clock, api.wall());
    store.set_data_clock(&mut tx, clock).await?;
    let changes = catalog.apply(&mut tx, &loaded.objects, &code, clock.at(api.wall())).await?;
    let wanted = tidemill_features::wishes_of_changes(&changes);
    store.enqueue_all(&mut tx, &wanted).await?;
    tx.commit().await?;
    store.wake().await;
    tidemill_features::publish_live(&api.features).await?;
    items(changes.iter().map(row).collect::<Vec<_>>())
}

fn row(change: &Change) -> Value {
    json!({
        "object": change.object.to_string(), "change": change.change, "version": change.version,
        "building": change.building,
    })
}

/// An installation serves one project, and what is not declared is retired: a wrong folder would end everything.
fn same_project(before: &str, after: &str) -> Result<(), ApiError> {
    if before.is_empty() || before == after {
        return Ok(());
    }
    let message = format!("this installation serves project `{before}`, not `{after}`");
    Err(ApiError::invalid(Fault::coded(107, message).hint(
        "run `tidemill dev` in this project's own folder, or give `--replace` to retire all that the other one declares",
    )))
}

/// The clock that runs, unless the project declares another one than before.
fn declared_clock(
    before: &Objects,
    after: &Objects,
    runs: DataClock,
    wall: tidemill_core::Time,
) -> DataClock {
    match after.project.clock {
        wanted if wanted == before.project.clock => runs,
        Clock::Replay { start, speed } => DataClock::Replay { start, speed, anchored_at: wall },
        Clock::Wall => DataClock::Wall,
    }
}

/// Writes the files into a folder of their own. A path that leaves it is refused.
fn unpack(files: &BTreeMap<String, String>) -> Result<tempfile::TempDir, ApiError> {
    let folder = tempfile::tempdir()?;
    for (name, text) in files {
        let path = Path::new(name);
        if !path.components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(ApiError::invalid(Fault::coded(
                105,
                format!("`{name}` is not a path inside the project"),
            )));
        }
        let target = folder.path().join(path);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(target, text)?;
    }
    Ok(folder)
}
