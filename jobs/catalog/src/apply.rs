//! A project comes in: objects get versions, views get versions of their rows, schedules are kept in step.
//!
//! Idempotent: applying the same project again changes nothing. What is no longer declared is retired; its
//! versions, rows and history stay.

mod origins;
mod ticks;

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use tidemill_core::Time;
use tidemill_spec::{Definition, ObjectKind, ObjectRef, Objects, Plan};
use tidemill_store::Tx;

use crate::{
    Catalog, CodeArchive, Error, ViewState, ViewVersion,
    code::hex_sha256,
    connection::ordered_json,
    lineage, objects,
    views::{self, insert_view, retire_views, versions_in},
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
        self.lock_objects(tx).await?;
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
        let versions = self.apply_views(tx, objects, code, &code_hash, &mut changes).await?;
        self.apply_schedules(tx, objects, now).await?;
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

    /// Inputs first, because their versions are part of what a view is. Returns the version that stands for each view.
    async fn apply_views(
        &self,
        tx: &mut Tx,
        objects: &Objects,
        code: &CodeArchive,
        code_hash: &str,
        changes: &mut [Change],
    ) -> Result<HashMap<String, i32>, Error> {
        let mut versions: HashMap<String, i32> = HashMap::new();
        for name in objects.views_in_order() {
            let view = &objects.views[&name];
            let module = view.python.as_deref().and_then(|entry| entry.split(':').next());
            let reached = module.and_then(|module| code.module_hash(module));
            let plan = Plan::of(objects, view, |input| versions.get(input).copied(), reached)
                .ok_or_else(|| Error::Missing(format!("the entity, source or an input of view `{name}`")))?;
            let wanted = put_view(tx, plan, code_hash).await?;
            let of_view =
                |change: &&mut Change| change.object.kind == ObjectKind::View && change.object.name == name;
            if let Some(change) = changes.iter_mut().find(of_view) {
                change.building = (wanted.state == ViewState::Building).then_some(wanted.version);
            }
            versions.insert(name, wanted.version);
        }
        Ok(versions)
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

/// Keeps the versions of one view in step with its plan; returns the one that stands for it. It must be filled if it is
/// being built.
async fn put_view(tx: &mut Tx, plan: Plan, code_hash: &str) -> Result<ViewVersion, Error> {
    let view = plan.definition.name.clone();
    let versions = versions_in(tx, Some(&view)).await?;
    let in_state = |state| versions.iter().find(|version| version.state == state);
    let hash = views::hash(&plan);
    // What is being built comes before what serves, and rows of an older version are taken up where they were left.
    let states = [ViewState::Building, ViewState::Current, ViewState::Retired];
    let same = |state| versions.iter().find(|version| version.state == state && version.hash == hash);
    let serves = in_state(ViewState::Current).is_some();
    let becomes = if serves { ViewState::Building } else { ViewState::Current };

    let Some(same) = states.into_iter().find_map(same) else {
        retire_views(tx, &view, &[ViewState::Building], None).await?;
        let next = ViewVersion::after(&versions, becomes, plan, code_hash);
        insert_view(tx, &next).await?;
        return Ok(next);
    };
    let state = if same.state == ViewState::Current { ViewState::Current } else { becomes };
    // Whatever else was being built is not wanted any more.
    retire_views(tx, &view, &[ViewState::Building], Some(same.version)).await?;
    let kept = ViewVersion { state, plan, code_hash: code_hash.to_owned(), ..same.clone() };
    sqlx::query(include_str!("../queries/view/redefine.sql"))
        .bind(&view)
        .bind(kept.version)
        .bind(ordered_json(&kept.plan))
        .bind(code_hash)
        .bind(state.as_str())
        .execute(tx.conn())
        .await?;
    Ok(kept)
}
