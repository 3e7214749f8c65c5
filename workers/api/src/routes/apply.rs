//! A project comes in: its files are checked as `tidemill check` does, then applied in one transaction.

use std::{
    collections::BTreeMap,
    fs,
    path::{Component, Path},
};

use axum::{Json, extract::State};
use serde::Deserialize;
use tidemill_catalog::CodeArchive;
use tidemill_core::{DataClock, Fault};
use tidemill_spec::{Clock, LoadOptions, Objects, load_with};

use super::{Answer, items};
use crate::{Api, error::ApiError};

#[derive(Deserialize)]
pub(super) struct Apply {
    /// YAML and Python files by path.
    files: BTreeMap<String, String>,
    #[serde(default)]
    overlays: Vec<String>,
    #[serde(default)]
    allow_leaks: bool,
}

/// `POST /v1/apply`
pub(super) async fn apply(State(api): State<Api>, Json(body): Json<Apply>) -> Answer {
    let folder = unpack(&body.files)?;
    let options = LoadOptions { overlays: body.overlays, allow_leaks: body.allow_leaks };
    let loaded = load_with(folder.path(), &options)?;
    if loaded.failed() {
        let text = tidemill_spec::diagnostic::render(&loaded.diagnostics, &loaded.files, false);
        return Err(ApiError::invalid(
            Fault::coded(201, "the project has mistakes").detail(text).hint("tidemill check"),
        ));
    }
    let code = CodeArchive::pack(folder.path())?;
    code.store(&api.stores.blobs).await?;

    let (store, catalog) = (&api.stores.store, &api.stores.catalog);
    let before = catalog.objects().await?;
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
    items(changes)
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
