//! Versions of a view's computed rows.
//!
//! A version is a closed [`Plan`]: what its values depend on is kept with it, under one hash, and no name is looked up
//! later. A view whose plan changes is filled anew beside the version that serves, and takes its place when it is complete.
//! At most one version is current and at most one is being built.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use tidemill_core::Time;
use tidemill_spec::{FeatureView, Meta, Newest, OnlineFeatures, Plan, Source, Type};
use tidemill_store::Tx;

use crate::{Catalog, Error, code::hex_sha256, connection::ordered_json};

/// The life of a view version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ViewState {
    /// Filled by a backfill; nobody reads it yet.
    Building,
    /// What is read by default.
    Current,
    /// A newer one took its place, or the view is no longer declared. Models trained on it, and versions computed from it,
    /// may still read it.
    Retired,
    /// Nothing needed it any more: its rows and values are gone.
    Dropped,
}

impl ViewState {
    /// The word that SQL and output use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Building => "building",
            Self::Current => "current",
            Self::Retired => "retired",
            Self::Dropped => "dropped",
        }
    }

    fn parse(word: &str) -> Result<Self, Error> {
        [Self::Building, Self::Current, Self::Retired, Self::Dropped]
            .into_iter()
            .find(|state| state.as_str() == word)
            .ok_or_else(|| Error::inconsistent(format!("view state `{word}`")))
    }
}

/// One version of a view.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ViewVersion {
    /// The view.
    pub view: String,
    /// Counted from 1.
    pub version: i32,
    /// Where it is in its life.
    pub state: ViewState,
    /// All that its values depend on.
    #[serde(flatten)]
    pub plan: Plan,
    /// Hash of what of its plan changes its values, or what is kept online of them.
    pub hash: String,
    /// Code archive that its Python runs from.
    pub code_hash: String,
    /// When it was first applied, real time.
    pub created_at: Time,
    /// When it ceased to be read by default, real time.
    pub retired_at: Option<Time>,
}

pub(crate) type ViewRow = (String, i32, String, Json<Plan>, String, String, Time, Option<Time>);

impl ViewVersion {
    pub(crate) fn from_row(row: ViewRow) -> Result<Self, Error> {
        let (view, version, state, Json(plan), hash, code_hash, created_at, retired_at) = row;
        let state = ViewState::parse(&state)?;
        Ok(Self { view, version, state, plan, hash, code_hash, created_at, retired_at })
    }

    /// Adds it to a list of versions, what it is computed from first, each once. `versions`: of all views.
    pub fn with_inputs<'a>(&'a self, versions: &'a [Self], list: &mut Vec<&'a Self>) {
        if list.iter().any(|known| (&known.view, known.version) == (&self.view, self.version)) {
            return;
        }
        for (name, number) in &self.plan.inputs {
            if let Some(input) = versions.iter().find(|it| it.view == *name && it.version == *number) {
                input.with_inputs(versions, list);
            }
        }
        list.push(self);
    }

    /// The next version after some of one view, newest first; not in the database yet.
    pub(crate) fn after(versions: &[Self], state: ViewState, plan: Plan, code_hash: &str) -> Self {
        Self {
            view: plan.definition.name.clone(),
            version: versions.first().map_or(1, |newest| newest.version + 1),
            state,
            hash: hash(&plan),
            plan,
            code_hash: code_hash.to_owned(),
            created_at: Time::UNIX_EPOCH,
            retired_at: None,
        }
    }
}

impl Catalog {
    /// Versions of a view, or of all views, by name and newest first.
    pub async fn view_versions(&self, view: Option<&str>) -> Result<Vec<ViewVersion>, Error> {
        let rows: Vec<ViewRow> =
            sqlx::query_as(include_str!("../queries/view/versions.sql")).fetch_all(self.pool()).await?;
        versions_of(rows, view)
    }

    /// Versions of all views as a transaction sees them, by name and newest first.
    pub async fn view_versions_in(&self, tx: &mut Tx) -> Result<Vec<ViewVersion>, Error> {
        versions_in(tx, None).await
    }

    /// One version of a view.
    pub async fn view_version(&self, view: &str, version: i32) -> Result<Option<ViewVersion>, Error> {
        Ok(self.view_versions(Some(view)).await?.into_iter().find(|found| found.version == version))
    }

    /// The version of a view that is read by default.
    pub async fn current_view(&self, view: &str) -> Result<Option<ViewVersion>, Error> {
        self.view_in(view, ViewState::Current).await
    }

    /// The version of a view that is being filled.
    pub async fn building_view(&self, view: &str) -> Result<Option<ViewVersion>, Error> {
        self.view_in(view, ViewState::Building).await
    }

    /// The current version of every view.
    pub async fn current_views(&self) -> Result<Vec<ViewVersion>, Error> {
        let mut versions = self.view_versions(None).await?;
        versions.retain(|version| version.state == ViewState::Current);
        Ok(versions)
    }

    async fn view_in(&self, view: &str, state: ViewState) -> Result<Option<ViewVersion>, Error> {
        Ok(self.view_versions(Some(view)).await?.into_iter().find(|version| version.state == state))
    }

    /// Opens a version of a view with the plan of the current one, to be filled from the start; and, since what is computed
    /// from it is to follow, one of every view downstream. Returns its number. One that is being filled already is
    /// returned instead.
    pub async fn begin_view(&self, tx: &mut Tx, view: &str) -> Result<i32, Error> {
        let versions = versions_in(tx, None).await?;
        let building = |version: &&ViewVersion| version.view == view && version.state == ViewState::Building;
        if let Some(building) = versions.iter().find(building) {
            return Ok(building.version);
        }
        let renewed = renewed(&versions, view);
        for next in &renewed {
            retire_views(tx, &next.view, &[ViewState::Building], None).await?;
            insert_view(tx, next).await?;
        }
        let first = renewed.first().map(|next| next.version);
        first.ok_or_else(|| Error::Missing(format!("view `{view}`")))
    }

    /// Makes a filled version the current one and retires the one before. Safe to repeat.
    ///
    /// # Errors
    /// When the version was retired meanwhile, by a newer declaration.
    pub async fn switch_view(&self, tx: &mut Tx, view: &str, version: i32) -> Result<(), Error> {
        retire_views(tx, view, &[ViewState::Current], Some(version)).await?;
        let switched = sqlx::query(include_str!("../queries/view/make_current.sql"))
            .bind(view)
            .bind(version)
            .execute(tx.conn())
            .await?;
        match switched.rows_affected() {
            1 => Ok(()),
            _ => Err(Error::Missing(format!("version {version} of view `{view}` that is being built"))),
        }
    }

    /// Says that the rows and values of a retired version are gone, and forgets how far it was. False, and nothing is
    /// changed, if it is wanted again. Safe to repeat.
    pub async fn drop_view(&self, tx: &mut Tx, view: &str, version: i32) -> Result<bool, Error> {
        let dropped = sqlx::query(include_str!("../queries/view/make_dropped.sql"))
            .bind(view)
            .bind(version)
            .execute(tx.conn())
            .await?;
        if dropped.rows_affected() == 0 {
            return Ok(false);
        }
        self.forget_position(tx, view, version).await?;
        Ok(true)
    }

    /// Views of which a version that may be read is computed from the rows of a source, by name.
    pub async fn views_over(&self, tx: &mut Tx, source: &str) -> Result<Vec<String>, Error> {
        let views = sqlx::query_scalar(include_str!("../queries/view/over.sql")).bind(source);
        Ok(views.fetch_all(tx.conn()).await?)
    }
}

/// The next version of a view and of every view downstream of it, inputs first, each over the new versions of its inputs.
/// `versions`: of all views, newest first within each. Nothing where the view has none that is wanted.
fn renewed(versions: &[ViewVersion], view: &str) -> Vec<ViewVersion> {
    let mut wanted: BTreeMap<&str, &ViewVersion> = BTreeMap::new();
    for state in [ViewState::Current, ViewState::Building] {
        wanted.extend(versions.iter().filter(|it| it.state == state).map(|it| (it.view.as_str(), it)));
    }
    let reads = |version: &ViewVersion, some: &BTreeSet<&str>| {
        version.plan.inputs.keys().any(|input| some.contains(input.as_str()))
    };
    let mut affected: BTreeSet<&str> = wanted.keys().copied().filter(|name| *name == view).collect();
    loop {
        let before = affected.len();
        let more = wanted.iter().filter(|(_, version)| reads(version, &affected)).map(|(name, _)| *name);
        affected.extend(more.collect::<Vec<_>>());
        if affected.len() == before {
            break;
        }
    }
    let mut renewed: Vec<ViewVersion> = Vec::new();
    while !affected.is_empty() {
        // Views form no circle, so there is always one that waits for no other.
        let Some(name) = affected.iter().copied().find(|name| !reads(wanted[name], &affected)) else { break };
        affected.remove(name);
        let mut plan = wanted[name].plan.clone();
        for next in &renewed {
            if let Some(version) = plan.inputs.get_mut(&next.view) {
                *version = next.version;
                plan.over.insert(next.view.clone(), next.plan.clone());
            }
        }
        let own: Vec<ViewVersion> = versions.iter().filter(|it| it.view == name).cloned().collect();
        renewed.push(ViewVersion::after(&own, ViewState::Building, plan, &wanted[name].code_hash));
    }
    renewed
}

/// Hash of what makes a version of a view: all that changes its values, and which of them lie in Redis. Their bytes name no
/// columns, so what one list wrote can't be read by another. Not what people read, nor how long it may take.
pub(crate) fn hash(plan: &Plan) -> String {
    let Plan { definition, entity, source, inputs, over: _, code } = plan;
    let rules = FeatureView {
        meta: Meta::default(),
        online: OnlineFeatures::None,
        freshness: None,
        leak_allowed: false,
        timeout: None,
        ..definition.clone()
    };
    let newest = source.as_ref().map(|source| &source.newest).filter(|newest| !newest.is_default());
    let source = source.as_ref().map(|source| {
        let times = (&source.available_time, &source.created_time);
        (&source.name, times, &source.unique, &source.deleted, types_read(plan, source))
    });
    let mut all = vec![
        serde_json::json!(rules),
        serde_json::json!(entity.keys),
        serde_json::json!(source),
        serde_json::json!(inputs),
        serde_json::json!(code),
        serde_json::json!(definition.online_features()),
    ];
    if !definition.kind().stored() {
        // Earlier releases kept rows of such a view: those are another version's.
        all.push("computed when it is asked".into());
    }
    // What was declared before there was a choice is the same plan as ever.
    all.extend(newest.map(|newest| serde_json::json!({ "newest": newest })));
    let all = serde_json::Value::Array(all);
    hex_sha256(all.to_string().as_bytes())
}

/// The declared types of the columns that a view reads of its source; of all of them where Python may read any.
fn types_read(plan: &Plan, source: &Source) -> BTreeMap<String, Type> {
    let newest = if let Newest::Column(column) = &source.newest { Some(column) } else { None };
    let keys = plan.entity.keys.keys().chain(&source.unique).chain(newest).cloned();
    let read: BTreeSet<String> = plan.definition.columns().into_iter().chain(keys).collect();
    let reads = |name: &String| plan.definition.python.is_some() || read.contains(name);
    let columns = source.columns.iter().filter(|(name, _)| reads(name));
    columns.map(|(name, column)| (name.clone(), column.ty)).collect()
}

/// Versions of a view, or of all views, as a transaction sees them: by name and newest first.
pub(crate) async fn versions_in(tx: &mut Tx, view: Option<&str>) -> Result<Vec<ViewVersion>, Error> {
    let rows: Vec<ViewRow> =
        sqlx::query_as(include_str!("../queries/view/versions.sql")).fetch_all(tx.conn()).await?;
    versions_of(rows, view)
}

/// The versions of a view, or of all, each with the plans of all that it is computed from.
fn versions_of(rows: Vec<ViewRow>, view: Option<&str>) -> Result<Vec<ViewVersion>, Error> {
    let versions = rows.into_iter().map(ViewVersion::from_row).collect::<Result<Vec<_>, _>>()?;
    let wanted = versions.iter().filter(|version| view.is_none_or(|view| version.view == view));
    Ok(wanted
        .map(|version| ViewVersion { plan: with_inputs(&version.plan, &versions), ..version.clone() })
        .collect())
}

/// A plan with those of its inputs, and of theirs. Views form no circle.
fn with_inputs(plan: &Plan, versions: &[ViewVersion]) -> Plan {
    let over = plan.inputs.iter().filter_map(|(name, number)| {
        let input = versions.iter().find(|it| it.view == *name && it.version == *number)?;
        Some((name.clone(), with_inputs(&input.plan, versions)))
    });
    Plan { over: over.collect(), ..plan.clone() }
}

/// Retires a view's versions in these states, but for one that is kept.
pub(crate) async fn retire_views(
    tx: &mut Tx,
    view: &str,
    states: &[ViewState],
    kept: Option<i32>,
) -> Result<(), Error> {
    let states: Vec<&str> = states.iter().map(|state| state.as_str()).collect();
    sqlx::query(include_str!("../queries/view/retire.sql"))
        .bind(view)
        .bind(states)
        .bind(kept)
        .execute(tx.conn())
        .await?;
    Ok(())
}

pub(crate) async fn insert_view(tx: &mut Tx, version: &ViewVersion) -> Result<(), Error> {
    sqlx::query(include_str!("../queries/view/insert.sql"))
        .bind(&version.view)
        .bind(version.version)
        .bind(version.state.as_str())
        .bind(ordered_json(&version.plan))
        .bind(&version.hash)
        .bind(&version.code_hash)
        .execute(tx.conn())
        .await?;
    Ok(())
}
