//! A project comes in: its files are checked as `tidemill check` does, then applied in one transaction.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};
use tidemill_catalog::{Change, ChangeKind, CodeArchive};
use tidemill_core::{DataClock, Fault, Time};
use tidemill_offline::check::prepared;
use tidemill_spec::{
    Clock, LoadOptions, Loaded, ObjectKind, ObjectRef, Objects, diagnostic::SourceFile, load_files,
    wrong_path,
};

use tidemill_store::Tx;

use super::{Answer, one};
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
    /// The id of a plan, or the beginning of it: nothing else may be done.
    #[serde(default)]
    plan: Option<String>,
}

/// A project that was sent, without mistakes, and what it is compared with.
pub(super) struct Proposal {
    pub(super) loaded: Loaded,
    pub(super) code: CodeArchive,
    before: Objects,
    /// Whether the lake holds anything.
    stored: bool,
}

/// What applying did, within a transaction that its caller ends.
pub(super) struct Applied {
    pub(super) changes: Vec<Change>,
    /// What the data clock shows.
    pub(super) now: Time,
    /// Names what was sent and what it did: of the same files in the same state it is the same.
    pub(super) plan: String,
}

/// `POST /v1/apply`
pub(super) async fn apply(State(api): State<Api>, Body(body): Body<Apply>) -> Answer {
    let wanted = body.plan.clone();
    let proposal = Proposal::of(&api, body).await?;
    let (store, catalog) = (&api.stores.store, &api.stores.catalog);
    let code_before = catalog.code_hash().await?;
    proposal.code.store(&api.stores.blobs).await?;
    let mut tx = store.begin().await?;
    let Applied { changes, plan, .. } = proposal.apply(&api, &mut tx).await?;
    if let Some(wanted) = wanted {
        as_planned(&wanted, &plan)?;
    }
    let wishes = tidemill_features::wishes_of_changes(&proposal.loaded.objects, &changes);
    store.enqueue_all(&mut tx, &wishes).await?;
    tx.commit().await?;
    store.wake().await;
    tidemill_live::publish_or_later(&api.stores.catalog, &api.stores.online).await;
    let mut rows: Vec<Value> = changes.iter().map(row).collect();
    for (source, told) in stored_otherwise(&api, &proposal.loaded.objects, &changes).await {
        let source = ObjectRef::new(ObjectKind::Source, source).to_string();
        if let Some(row) = rows.iter_mut().find(|row| row["object"] == source.as_str()) {
            row["warnings"] = told.into();
        }
    }
    let code = code_change(&api, code_before.as_deref(), &proposal.code).await;
    one(json!({ "items": rows, "code": code }))
}

impl Proposal {
    /// Checks what was sent as `tidemill check` does.
    pub(super) async fn of(api: &Api, body: Apply) -> Result<Self, ApiError> {
        if let Some((path, why)) = body.files.keys().find_map(|path| Some((path, wrong_path(path)?))) {
            let fault = Fault::coded(105, format!("`{path}` {why}"));
            return Err(ApiError::invalid(
                fault.hint("send YAML and Python by their paths inside the project"),
            ));
        }
        let options = LoadOptions { overlays: body.overlays, allow_leaks: body.allow_leaks };
        let files = body.files.into_iter().map(|(path, text)| SourceFile { path, text }).collect();
        // Reading a large project takes a while, which others shouldn't wait for.
        let loaded = tokio::task::spawn_blocking(move || prepared(load_files(files, &options))).await??;
        if loaded.failed() {
            let text = tidemill_spec::diagnostic::render(&loaded.diagnostics, &loaded.files, false);
            return Err(ApiError::invalid(
                Fault::coded(106, "the project has mistakes").detail(text).hint("tidemill check"),
            ));
        }
        let before = api.stores.catalog.objects().await?;
        if !body.replace {
            same_project(&before.project.name, &loaded.objects.project.name)?;
        }
        let stored = api.stores.lake.head().await? > 0;
        Ok(Self { code: CodeArchive::of(&loaded.files), loaded, before, stored })
    }

    /// Puts it in force, as far as the transaction goes.
    pub(super) async fn apply(&self, api: &Api, tx: &mut Tx) -> Result<Applied, ApiError> {
        let (store, catalog) = (&api.stores.store, &api.stores.catalog);
        let objects = &self.loaded.objects;
        let clock = store.lock_data_clock(tx).await?;
        let clocks = (self.before.project.clock, objects.project.clock);
        let clock = declared_clock(clocks, clock, api.wall(), self.stored)?;
        store.set_data_clock(tx, clock).await?;
        let now = clock.at(api.wall());
        let changes = catalog.apply(tx, objects, &self.code, now).await?;
        let monitors: Vec<String> = objects.monitors.keys().cloned().collect();
        catalog.close_incidents_of_removed(tx, &monitors).await?;
        let declared: Vec<Value> =
            objects.definitions().into_iter().map(|definition| definition.body).collect();
        let plan = json!([declared, self.code.hash(), changes]).to_string();
        Ok(Applied {
            plan: tidemill_catalog::code::hex_sha256(plan.as_bytes())[..12].to_owned(),
            changes,
            now,
        })
    }
}

/// Nothing is applied that was not looked at.
fn as_planned(wanted: &str, plan: &str) -> Result<(), ApiError> {
    if wanted.len() >= 4 && plan.starts_with(wanted) {
        return Ok(());
    }
    let message = format!(
        "applying would not do what plan `{wanted}` says: the project, or what is in force, is another"
    );
    Err(ApiError::invalid(Fault::coded(121, message).hint("look at it again: tidemill plan")))
}

/// Which Python files are not as before, where there was a before.
pub(super) async fn code_change(api: &Api, before: Option<&str>, after: &CodeArchive) -> Value {
    let hash = after.hash();
    let Some(before) = before.filter(|before| *before != hash) else {
        return json!({ "hash": hash, "changed": [] });
    };
    // What was applied stands, also where the code before can't be read to say what it was.
    let changed =
        CodeArchive::load(&api.stores.blobs, before).await.map(|before| after.changed_since(&before));
    json!({ "hash": hash, "changed": changed.unwrap_or_else(|_| after.files.keys().cloned().collect()) })
}

pub(super) fn row(change: &Change) -> Value {
    json!({
        "object": change.object.to_string(), "change": change.change, "version": change.version,
        "building": change.building, "warnings": [],
    })
}

/// What of the rows that are there is stored otherwise than it is declared: of sources that changed, and of those that
/// changed views read. The project is in force by now, so a lake that can't be read is told and fails nothing.
async fn stored_otherwise(api: &Api, objects: &Objects, changes: &[Change]) -> Vec<(String, Vec<String>)> {
    let changed = |change: &&Change| {
        matches!(change.change, ChangeKind::Added | ChangeKind::Changed) || change.building.is_some()
    };
    let source_of = |change: &Change| match change.object.kind {
        ObjectKind::Source => Some(change.object.name.clone()),
        ObjectKind::View => objects.source_of_view(&change.object.name),
        _ => None,
    };
    let names: BTreeSet<String> = changes.iter().filter(changed).filter_map(source_of).collect();
    let mut all = Vec::new();
    for source in names.iter().filter_map(|name| objects.sources.get(name)) {
        let lake = &api.stores.lake;
        let stored = async { lake.stored_otherwise(source, lake.head().await?).await };
        let told = match stored.await {
            Ok(stored) => stored.told(source),
            Err(error) => {
                let why = error.fault().message;
                vec![format!(
                    "source `{}`: its rows could not be compared with what is declared: {why}; compare them again: tidemill check --data",
                    source.name
                )]
            }
        };
        if !told.is_empty() {
            all.push((source.name.clone(), told));
        }
    }
    all
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

/// The clock that runs, unless the project declares another one than before. It doesn't go back once anything is stored:
/// what is known online would lie in its future.
fn declared_clock(
    (before, wanted): (Clock, Clock),
    runs: DataClock,
    wall: Time,
    stored: bool,
) -> Result<DataClock, ApiError> {
    let shows = runs.at(wall);
    let declared = match (before, wanted) {
        _ if before == wanted => return Ok(runs),
        // Another speed, from where it stands.
        (Clock::Replay { start: before, .. }, Clock::Replay { start, speed }) if start == before => {
            DataClock::Replay { start: shows, speed, anchored_at: wall }
        }
        (_, Clock::Replay { start, speed }) => DataClock::Replay { start, speed, anchored_at: wall },
        (_, Clock::Wall) => DataClock::Wall,
    };
    let would_show = declared.at(wall);
    if stored && would_show < shows {
        let (shows, would_show) = (shows.to_rfc3339(), would_show.to_rfc3339());
        let message =
            format!("the data clock shows {shows}; as it is declared now it would go back to {would_show}");
        let hint = format!(
            "declare a `start` from {shows} on, or the clock as it was; to start over, start from an empty `.tidemill/`"
        );
        return Err(ApiError::invalid(Fault::coded(113, message).hint(hint)));
    }
    Ok(declared)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn another_speed_keeps_the_moment_and_no_declaration_goes_back_once_anything_is_stored() {
        let (start, wall) = (Time::UNIX_EPOCH, Time::UNIX_EPOCH + TimeDelta::days(20_000));
        let day = TimeDelta::days(1);
        let runs = DataClock::Replay { start: start + day * 30, speed: 0.0, anchored_at: wall };
        let replay = |start, speed| Clock::Replay { start, speed };
        let at = |wanted, stored| {
            declared_clock((replay(start, 0.0), wanted), runs, wall, stored).map(|clock| clock.at(wall)).ok()
        };
        assert_eq!(at(replay(start, 0.0), true), Some(start + day * 30));
        assert_eq!(at(replay(start, 60.0), true), Some(start + day * 30));
        assert_eq!(at(replay(start + day * 40, 0.0), true), Some(start + day * 40));
        assert_eq!(at(replay(start + day, 0.0), true), None);
        assert_eq!(at(replay(start + day, 0.0), false), Some(start + day));
        assert_eq!(at(Clock::Wall, true), Some(wall));
    }
}
