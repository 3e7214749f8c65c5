//! Model versions, their aliases and figures.
//!
//! Versions are immutable and counted from 1 for each model. An alias moves between them and remembers where
//! it came from, which is what a rollback returns to. Written by `registry`.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use sqlx::{PgExecutor, types};
use tidemill_core::{DataClock, DatasetId, RunId, Time};
use tidemill_spec::{Hydration, OutputType, Type};
use tidemill_store::Tx;

use crate::{Catalog, Error, connection::ordered_json};

/// What a registration writes down. Stored as JSON, so fields are only ever added, with a default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelVersion {
    /// The model.
    pub model: String,
    /// From 1; 0 until it is registered.
    #[serde(default)]
    pub version: i32,
    /// Folder of the artifact on the object store, named by its content hash.
    pub artifact: String,
    /// Flavor of the artifact: lightgbm, xgboost, onnx, sklearn, torch, transformers, python.
    pub runtime: String,
    /// Entity whose key names a prediction: key columns in order.
    pub keys: IndexMap<String, Type>,
    /// How a key becomes the vector, as declared when it was registered.
    pub hydration: Hydration,
    /// Columns that only the caller knows.
    #[serde(default)]
    pub request: IndexMap<String, Type>,
    /// Those of them that may be null; none in versions of before, in which all or none may, as `fail_on_missing` says.
    #[serde(default)]
    pub nullable: Option<Vec<String>>,
    /// Named outputs.
    pub outputs: IndexMap<String, OutputType>,
    /// Whether a null in the vector is an error.
    #[serde(default)]
    pub fail_on_missing: bool,
    /// Warm processes in each serving process, however little is asked; 0: none while nothing is asked.
    pub processes: u32,
    /// Most of them, as load needs; none: always as many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processes_max: Option<u32>,
    /// Categories of string columns, as training saw them.
    #[serde(default)]
    pub categories: IndexMap<String, Vec<String>>,
    /// Version of each view that training read; serving reads the same ones.
    pub view_versions: BTreeMap<String, i32>,
    /// Views whose declared leak was allowed in training.
    #[serde(default)]
    pub leak_allowed: Vec<String>,
    /// The training set, where it was built here.
    #[serde(default)]
    pub dataset: Option<DatasetId>,
    /// What the training code logged.
    #[serde(default)]
    pub params: serde_json::Map<String, Json>,
    /// The run that registered it.
    #[serde(default)]
    pub run: Option<RunId>,
    /// Hash of the project's code at the time; Python models are loaded with it.
    #[serde(default)]
    pub code_hash: Option<String>,
}

/// A registered version as listed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelVersionRow {
    /// What was registered.
    #[serde(flatten)]
    pub version: ModelVersion,
    /// When, real time.
    pub created_at: Time,
}

/// Where an alias points.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelAlias {
    /// The model.
    pub model: String,
    /// The alias, e.g. `champion`.
    pub alias: String,
    /// The version it names.
    pub version: i32,
    /// What a rollback returns to.
    pub previous: Option<i32>,
    /// When it last moved, real time.
    pub changed_at: Time,
}

/// A move of an alias.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AliasMove {
    /// The version that it named from then on; `None`: it was taken away.
    pub version: Option<i32>,
    /// When, on the data clock.
    pub at: Time,
}

/// A figure of a version over some rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelMetric {
    /// The model.
    pub model: String,
    /// Its version.
    pub version: i32,
    /// Rows it was computed over, by name: `training`, `dst_….holdout`, `late 2013-06-01T… to 2013-07-01T…`.
    pub subject: String,
    /// `auc`, `log_loss`, or what the training code logged.
    pub metric: String,
    /// The figure.
    pub value: f64,
    /// Rows behind it; 0 where the training code reported it.
    pub rows: i64,
}

impl Catalog {
    /// Registers the next version of a model under the key of the work; a repeat returns the first one's number.
    pub async fn insert_model_version(
        &self,
        tx: &mut Tx,
        job_key: &str,
        version: &ModelVersion,
    ) -> Result<i32, Error> {
        // Numbers are given one at a time: without the lock two registrations would both count the same last one.
        sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('model_version/' || $1, 0))")
            .bind(&version.model)
            .execute(tx.conn())
            .await?;
        let number: (i32,) = sqlx::query_as(include_str!("../queries/model/register.sql"))
            .bind(&version.model)
            .bind(job_key)
            .bind(&version.artifact)
            .bind(version.dataset.map(DatasetId::as_uuid))
            .bind(ordered_json(version))
            .fetch_one(tx.conn())
            .await?;
        Ok(number.0)
    }

    /// One version.
    pub async fn model_version(&self, model: &str, version: i32) -> Result<Option<ModelVersion>, Error> {
        let row: Option<VersionRow> = sqlx::query_as(
            "SELECT version, body, created_at FROM catalog.model_version WHERE model = $1 AND version = $2",
        )
        .bind(model)
        .bind(version)
        .fetch_optional(self.pool())
        .await?;
        Ok(row.map(|row| model_version(row).version))
    }

    /// Versions of one model, or of all, newest first.
    pub async fn model_versions(&self, model: Option<&str>) -> Result<Vec<ModelVersionRow>, Error> {
        let rows: Vec<VersionRow> = sqlx::query_as(include_str!("../queries/model/versions.sql"))
            .bind(model)
            .fetch_all(self.pool())
            .await?;
        Ok(rows.into_iter().map(model_version).collect())
    }

    /// The version an alias names.
    pub async fn model_alias(&self, model: &str, alias: &str) -> Result<Option<ModelAlias>, Error> {
        Ok(self.model_aliases(Some(model)).await?.into_iter().find(|found| found.alias == alias))
    }

    /// [`Self::model_alias`], read by `tx`.
    pub async fn model_alias_in(
        &self,
        tx: &mut Tx,
        model: &str,
        alias: &str,
    ) -> Result<Option<ModelAlias>, Error> {
        Ok(aliases(tx.conn(), Some(model)).await?.into_iter().find(|found| found.alias == alias))
    }

    /// Aliases of one model, or of all.
    pub async fn model_aliases(&self, model: Option<&str>) -> Result<Vec<ModelAlias>, Error> {
        aliases(self.pool(), model).await
    }

    /// The moves of an alias, the first first, by the data clock.
    pub async fn alias_moves(&self, model: &str, alias: &str) -> Result<Vec<AliasMove>, Error> {
        let rows: Vec<(Option<i32>, Time)> = sqlx::query_as(include_str!("../queries/model/moves.sql"))
            .bind(model)
            .bind(alias)
            .fetch_all(self.pool())
            .await?;
        Ok(rows.into_iter().map(|(version, at)| AliasMove { version, at }).collect())
    }

    /// Points an alias at a version and remembers the one before, and the move with the data clock's time. Safe to
    /// repeat: the same version again changes nothing.
    pub async fn promote_model(
        &self,
        tx: &mut Tx,
        model: &str,
        version: i32,
        alias: &str,
    ) -> Result<(), Error> {
        sqlx::query(include_str!("../queries/model/promote.sql"))
            .bind(model)
            .bind(alias)
            .bind(version)
            .bind(data_clock(tx).await?)
            .execute(tx.conn())
            .await?;
        Ok(())
    }

    /// Points an alias back at the version before its last promotion; returns it, or none when there is none.
    pub async fn rollback_model(&self, tx: &mut Tx, model: &str, alias: &str) -> Result<Option<i32>, Error> {
        let row: Option<(i32,)> = sqlx::query_as(include_str!("../queries/model/rollback.sql"))
            .bind(model)
            .bind(alias)
            .bind(data_clock(tx).await?)
            .fetch_optional(tx.conn())
            .await?;
        Ok(row.map(|(version,)| version))
    }

    /// Takes an alias away; returns the version it named, or none if it was not there. With `only_first` an alias that was
    /// ever pointed at another version stays.
    pub async fn remove_alias(
        &self,
        tx: &mut Tx,
        model: &str,
        alias: &str,
        only_first: bool,
    ) -> Result<Option<i32>, Error> {
        let row: Option<(i32,)> = sqlx::query_as(include_str!("../queries/model/remove_alias.sql"))
            .bind(model)
            .bind(alias)
            .bind(only_first)
            .bind(data_clock(tx).await?)
            .fetch_optional(tx.conn())
            .await?;
        Ok(row.map(|(version,)| version))
    }

    /// Writes one figure; a repeat overwrites it.
    pub async fn set_model_metric(&self, tx: &mut Tx, metric: &ModelMetric) -> Result<(), Error> {
        sqlx::query(include_str!("../queries/model/set_metric.sql"))
            .bind(&metric.model)
            .bind(metric.version)
            .bind(&metric.subject)
            .bind(&metric.metric)
            .bind(metric.value)
            .bind(metric.rows)
            .execute(tx.conn())
            .await?;
        Ok(())
    }

    /// Figures of a model's versions, in the order of version, subject and metric.
    pub async fn model_metrics(&self, model: &str) -> Result<Vec<ModelMetric>, Error> {
        let rows: Vec<(i32, String, String, f64, i64)> =
            sqlx::query_as(include_str!("../queries/model/metrics.sql"))
                .bind(model)
                .fetch_all(self.pool())
                .await?;
        Ok(rows
            .into_iter()
            .map(|(version, subject, metric, value, rows)| ModelMetric {
                model: model.to_owned(),
                version,
                subject,
                metric,
                value,
                rows,
            })
            .collect())
    }
}

/// What the data clock shows, in the transaction of a move.
async fn data_clock(tx: &mut Tx) -> Result<Time, Error> {
    let (types::Json(clock), now): (types::Json<DataClock>, Time) =
        sqlx::query_as("SELECT clock, now() FROM engine.data_clock").fetch_one(tx.conn()).await?;
    Ok(clock.at(now))
}

type VersionRow = (i32, types::Json<ModelVersion>, Time);

/// The number is the column's: the body was written before it was given.
fn model_version((number, types::Json(body), created_at): VersionRow) -> ModelVersionRow {
    ModelVersionRow { version: ModelVersion { version: number, ..body }, created_at }
}

async fn aliases(executor: impl PgExecutor<'_>, model: Option<&str>) -> Result<Vec<ModelAlias>, Error> {
    let rows: Vec<(String, String, i32, Option<i32>, Time)> =
        sqlx::query_as(include_str!("../queries/model/aliases.sql")).bind(model).fetch_all(executor).await?;
    let alias = |(model, alias, version, previous, changed_at)| ModelAlias {
        model,
        alias,
        version,
        previous,
        changed_at,
    };
    Ok(rows.into_iter().map(alias).collect())
}
