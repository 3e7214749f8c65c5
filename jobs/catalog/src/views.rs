//! Versions of a view's computed rows.
//!
//! A view whose rules change is filled anew beside the version that serves, and takes its place when it is
//! complete. At most one version is current and at most one is being built.

use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use tidemill_core::Time;
use tidemill_spec::FeatureView;
use tidemill_store::Tx;

use crate::{Catalog, Error, connection::ordered_json};

/// The life of a view version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ViewState {
    /// Filled by a backfill; nobody reads it yet.
    Building,
    /// What is read by default.
    Current,
    /// A newer one took its place, or the view is no longer declared. Models trained on it may still read it.
    Retired,
}

impl ViewState {
    /// The word that SQL and output use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Building => "building",
            Self::Current => "current",
            Self::Retired => "retired",
        }
    }

    fn parse(word: &str) -> Result<Self, Error> {
        [Self::Building, Self::Current, Self::Retired]
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
    /// How it is computed and read.
    pub definition: FeatureView,
    /// Hash of everything that changes its values, and of what is kept online.
    pub hash: String,
    /// Code archive that its Python runs from.
    pub code_hash: String,
    /// When it was first applied, real time.
    pub created_at: Time,
}

pub(crate) type ViewRow = (String, i32, String, Json<FeatureView>, String, String, Time);

impl ViewVersion {
    pub(crate) fn from_row(row: ViewRow) -> Result<Self, Error> {
        let (view, version, state, Json(definition), hash, code_hash, created_at) = row;
        Ok(Self { view, version, state: ViewState::parse(&state)?, definition, hash, code_hash, created_at })
    }
}

impl Catalog {
    /// Versions of a view, or of all views, by name and newest first.
    pub async fn view_versions(&self, view: Option<&str>) -> Result<Vec<ViewVersion>, Error> {
        let rows: Vec<ViewRow> = sqlx::query_as(include_str!("../queries/view/versions.sql"))
            .bind(view)
            .fetch_all(self.pool())
            .await?;
        rows.into_iter().map(ViewVersion::from_row).collect()
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

    /// Opens a version of a view with the declaration of the current one, to be filled from the start; returns
    /// its number. One that is being filled already is returned instead.
    pub async fn begin_view(&self, tx: &mut Tx, view: &str) -> Result<i32, Error> {
        let rows: Vec<ViewRow> = sqlx::query_as(include_str!("../queries/view/versions.sql"))
            .bind(Some(view))
            .fetch_all(tx.conn())
            .await?;
        let versions = rows.into_iter().map(ViewVersion::from_row).collect::<Result<Vec<_>, _>>()?;
        if let Some(building) = versions.iter().find(|version| version.state == ViewState::Building) {
            return Ok(building.version);
        }
        let current = versions
            .iter()
            .find(|version| version.state == ViewState::Current)
            .ok_or_else(|| Error::Missing(format!("view `{view}`")))?;
        let newest = versions.iter().map(|version| version.version).max().unwrap_or(0);
        let next = ViewVersion { version: newest + 1, state: ViewState::Building, ..current.clone() };
        insert_view(tx, &next).await?;
        Ok(next.version)
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
        .bind(ordered_json(&version.definition))
        .bind(&version.hash)
        .bind(&version.code_hash)
        .execute(tx.conn())
        .await?;
    Ok(())
}
