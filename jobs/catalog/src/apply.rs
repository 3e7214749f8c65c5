//! A project comes in: objects get versions, views get versions of their rows, schedules are kept in step.
//!
//! Idempotent: applying the same project again changes nothing. What is no longer declared is retired; its
//! versions, rows and history stay.

mod origins;
mod ticks;

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Serialize};
use tidemill_core::Time;
use tidemill_spec::{
    Definition, FeatureView, Meta, ObjectKind, ObjectRef, Objects, OnlineFeatures, Source, Type, ViewInput,
};
use tidemill_store::Tx;

use crate::{
    Catalog, CodeArchive, Error, ViewState, ViewVersion,
    code::hex_sha256,
    connection::ordered_json,
    lineage, objects,
    views::{ViewRow, insert_view, retire_views},
};

/// What applying did to one object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Which object.
    pub object: ObjectRef,
    /// What happened to it.
    pub change: ChangeKind,
    /// The version in force; of a removed object, its last.
    pub version: i32,
    /// The version of a view's rows that must be filled before it can serve: enqueue a backfill for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub building: Option<i32>,
}

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// Declared for the first time, or again.
    Added,
    /// Declared otherwise than before.
    Changed,
    /// As before.
    Unchanged,
    /// No longer declared.
    Removed,
}

/// The newest version of an object that was ever declared.
struct Known {
    version: i32,
    hash: String,
    retired: bool,
}

impl Catalog {
    /// Puts a project in force and says what changed, in declared order, removed objects last. The archive must be
    /// on the object store already. `now` is the data clock: schedules tick after it.
    ///
    /// # Errors
    /// When the database refuses, or a schedule's cron or time zone isn't one.
    pub async fn apply(
        &self,
        tx: &mut Tx,
        objects: &Objects,
        code: &CodeArchive,
        now: Time,
    ) -> Result<Vec<Change>, Error> {
        // Two applies at once would both count the same next version.
        sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('catalog.apply', 0))")
            .execute(tx.conn())
            .await?;
        let code_hash = code.hash();
        sqlx::query(include_str!("../queries/code/put.sql")).bind(&code_hash).execute(tx.conn()).await?;

        let mut known = known(tx).await?;
        let mut changes = Vec::new();
        for (position, definition) in (0_i32..).zip(objects.definitions()) {
            let before = known.remove(&definition.object);
            changes.push(put(tx, position, &definition, before).await?);
        }
        for (object, before) in known.into_iter().filter(|(_, before)| !before.retired) {
            changes.push(self.remove(tx, object, before).await?);
        }
        self.apply_views(tx, objects, code, &code_hash, &mut changes).await?;
        self.apply_schedules(tx, objects, now).await?;
        let versions = current_versions(tx).await?;
        lineage::draw(tx, &origins::declared_edges(objects, &versions, &code_hash)).await?;
        Ok(changes)
    }

    async fn remove(&self, tx: &mut Tx, object: ObjectRef, before: Known) -> Result<Change, Error> {
        sqlx::query(include_str!("../queries/object/retire.sql"))
            .bind(object.kind.as_str())
            .bind(&object.name)
            .execute(tx.conn())
            .await?;
        if object.kind == ObjectKind::View {
            retire_views(tx, &object.name, &[ViewState::Current, ViewState::Building], None).await?;
        }
        Ok(Change { object, change: ChangeKind::Removed, version: before.version, building: None })
    }

    /// Inputs first, because what a view is computed from is part of its hash.
    async fn apply_views(
        &self,
        tx: &mut Tx,
        objects: &Objects,
        code: &CodeArchive,
        code_hash: &str,
        changes: &mut [Change],
    ) -> Result<(), Error> {
        let mut hashes = HashMap::new();
        for name in objects.views_in_order() {
            let view = &objects.views[&name];
            let values = values_hash(objects, view, code, &hashes);
            let building = put_view(tx, view, &plan_hash(&values, view), code_hash).await?;
            hashes.insert(name.clone(), values);
            let of_view =
                |change: &&mut Change| change.object.kind == ObjectKind::View && change.object.name == name;
            if let Some(change) = changes.iter_mut().find(of_view) {
                change.building = building;
            }
        }
        Ok(())
    }

    /// Schedules of what is no longer declared, or no longer scheduled, end with this.
    async fn apply_schedules(&self, tx: &mut Tx, objects: &Objects, now: Time) -> Result<(), Error> {
        let mut names = Vec::new();
        for schedule in ticks::schedules(objects, now)? {
            self.store().upsert_schedule(tx, &schedule).await?;
            names.push(schedule.name);
        }
        Ok(self.store().keep_schedules(tx, &names).await?)
    }
}

async fn known(tx: &mut Tx) -> Result<BTreeMap<ObjectRef, Known>, Error> {
    let rows: Vec<(String, String, i32, String, bool)> =
        sqlx::query_as(include_str!("../queries/object/newest.sql")).fetch_all(tx.conn()).await?;
    rows.into_iter()
        .map(|(kind, name, version, hash, retired)| {
            Ok((ObjectRef::new(objects::object_kind(&kind)?, name), Known { version, hash, retired }))
        })
        .collect()
}

/// Puts one definition in force, as a new version when it is not the newest one's content.
async fn put(
    tx: &mut Tx,
    position: i32,
    definition: &Definition,
    before: Option<Known>,
) -> Result<Change, Error> {
    // The whole definition counts here, descriptions too: versions tell what was declared when.
    let hash = hex_sha256(definition.body.to_string().as_bytes());
    let (change, version) = match before {
        None => (ChangeKind::Added, 1),
        Some(before) if before.hash != hash => {
            (if before.retired { ChangeKind::Added } else { ChangeKind::Changed }, before.version + 1)
        }
        Some(before) if before.retired => (ChangeKind::Added, before.version),
        Some(before) => (ChangeKind::Unchanged, before.version),
    };
    sqlx::query(include_str!("../queries/object/put.sql"))
        .bind(definition.object.kind.as_str())
        .bind(&definition.object.name)
        .bind(version)
        .bind(definition.body.to_string())
        .bind(&hash)
        .bind(position)
        .execute(tx.conn())
        .await?;
    Ok(Change { object: definition.object.clone(), change, version, building: None })
}

/// Hash of what a version of a view stands for: its values, and which of them lie in Redis. Their bytes name no
/// columns, so what one list wrote can't be read by another: each list has a version of its own.
fn plan_hash(values: &str, view: &FeatureView) -> String {
    hex_sha256(serde_json::json!([values, view.online_features()]).to_string().as_bytes())
}

/// Hash of everything that changes a view's values: its rules, its keys, what it is computed from, and the code that
/// its Python function reaches. Not what people read, what is kept online, nor how long it may take.
fn values_hash(
    objects: &Objects,
    view: &FeatureView,
    code: &CodeArchive,
    inputs: &HashMap<String, String>,
) -> String {
    let rules = FeatureView {
        meta: Meta::default(),
        online: OnlineFeatures::None,
        freshness: None,
        leak_allowed: false,
        timeout: None,
        ..view.clone()
    };
    let keys = objects.entities.get(&view.entity).map(|entity| &entity.keys);
    let (source, inputs) = match &view.input {
        ViewInput::Source(source) => (objects.sources.get(source), Vec::new()),
        ViewInput::Views(views) => (None, views.iter().map(|view| inputs.get(view)).collect()),
    };
    let source = source
        .map(|source| (&source.name, &source.unique, &source.deleted, types_read(objects, view, source)));
    let module =
        view.python.as_deref().and_then(|entry| entry.split(':').next()).map(|name| code.module_hash(name));
    let all = serde_json::json!([rules, keys, source, inputs, module]);
    hex_sha256(all.to_string().as_bytes())
}

/// The declared types of the columns that a view reads of its source; of all of them where Python may read any.
fn types_read(objects: &Objects, view: &FeatureView, source: &Source) -> BTreeMap<String, Type> {
    let keys = objects.entities.get(&view.entity).into_iter().flat_map(|entity| entity.keys.keys());
    let read: HashSet<String> = view
        .features
        .values()
        .flat_map(origins::columns_read)
        .chain(keys.chain(&source.unique).cloned())
        .collect();
    let reads = |name: &String| view.python.is_some() || read.contains(name);
    let columns = source.columns.iter().filter(|(name, _)| reads(name));
    columns.map(|(name, column)| (name.clone(), column.ty)).collect()
}

/// Keeps the versions of one view in step with its declaration; returns the one that must be filled, if any.
async fn put_view(
    tx: &mut Tx,
    view: &FeatureView,
    hash: &str,
    code_hash: &str,
) -> Result<Option<i32>, Error> {
    let rows: Vec<ViewRow> = sqlx::query_as(include_str!("../queries/view/versions.sql"))
        .bind(Some(&view.name))
        .fetch_all(tx.conn())
        .await?;
    let versions = rows.into_iter().map(ViewVersion::from_row).collect::<Result<Vec<_>, _>>()?;
    let current = versions.iter().find(|version| version.state == ViewState::Current);
    let same = versions.iter().find(|version| version.hash == hash && version.state != ViewState::Retired);
    // With nothing to serve meanwhile, the newest rows are taken up where they were left.
    let same = same.or_else(|| versions.first().filter(|newest| current.is_none() && newest.hash == hash));

    if let Some(same) = same {
        let state = if current.is_none() { ViewState::Current } else { same.state };
        if state == ViewState::Current {
            // The declaration went back to what is served: what was being built is not wanted any more.
            retire_views(tx, &view.name, &[ViewState::Building], Some(same.version)).await?;
        }
        sqlx::query(include_str!("../queries/view/redefine.sql"))
            .bind(&view.name)
            .bind(same.version)
            .bind(ordered_json(view))
            .bind(code_hash)
            .bind(state.as_str())
            .execute(tx.conn())
            .await?;
        return Ok((state == ViewState::Building).then_some(same.version));
    }
    retire_views(tx, &view.name, &[ViewState::Building], None).await?;
    let next = ViewVersion {
        view: view.name.clone(),
        version: versions.first().map_or(1, |newest| newest.version + 1),
        state: if current.is_some() { ViewState::Building } else { ViewState::Current },
        definition: view.clone(),
        hash: hash.to_owned(),
        code_hash: code_hash.to_owned(),
        created_at: Time::UNIX_EPOCH,
    };
    insert_view(tx, &next).await?;
    Ok((next.state == ViewState::Building).then_some(next.version))
}

async fn current_versions(tx: &mut Tx) -> Result<HashMap<String, i32>, Error> {
    let rows: Vec<(String, i32)> =
        sqlx::query_as("SELECT view, version FROM catalog.view_version WHERE state = 'current'")
            .fetch_all(tx.conn())
            .await?;
    Ok(rows.into_iter().collect())
}
