//! Registered training sets: what was asked, what was pinned, what came out.
//!
//! Built by `training`, read by the registry, monitors and the CLI. A dataset never changes; a repeat of the
//! job that built it finds the first row.

use std::{collections::BTreeMap, fmt, str::FromStr};

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use tidemill_core::{DatasetId, RunId, Time, ids::InvalidId};
use tidemill_spec::Type;
use tidemill_store::Tx;

use crate::{Catalog, Error, connection::ordered_json};

/// A training set. Stored as JSON, so fields are only ever added, with a default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dataset {
    /// Its id; also names its files.
    pub id: DatasetId,
    /// The label asked for; for a labels file, its name.
    pub label: String,
    /// The model whose inputs were asked for, where one was named.
    #[serde(default)]
    pub model: Option<String>,
    /// Feature columns in the vector's order, with their types.
    pub columns: IndexMap<String, Type>,
    /// First event time taken.
    pub from: Option<Time>,
    /// First event time not taken.
    pub to: Option<Time>,
    /// First event time of the holdout, where one was split off.
    pub holdout_from: Option<Time>,
    /// What the data clock showed: later labels had not matured.
    pub clock: Time,
    /// Lake version that every read was pinned to.
    pub lake_version: i64,
    /// Version of each view that was read.
    pub view_versions: BTreeMap<String, i32>,
    /// Views read whose declared leak is allowed.
    #[serde(default)]
    pub leak_allowed: Vec<String>,
    /// The rows to train on.
    pub train: DatasetPart,
    /// The rows that training never sees.
    #[serde(default)]
    pub holdout: Option<DatasetPart>,
    /// What became of the rows that were asked for; none of a dataset that was registered before this was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coverage: Option<LabelCoverage>,
    /// Rows of both parts that would change under `known_at: label`; none where a view cannot say.
    #[serde(default)]
    pub changed_under_known_at: Option<u64>,
    /// How rows that it was made of are stored otherwise than their sources were declared, a sentence each.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// The run that built it.
    #[serde(default)]
    pub run: Option<RunId>,
    /// Hash of the project's code at the time.
    #[serde(default)]
    pub code_hash: Option<String>,
}

/// What became of the rows of a label that were asked for. Those that matured are in a part, purged, or left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelCoverage {
    /// Of whom it was asked: a version of a view, or a source; none where each row of the label's source is an answer.
    #[serde(default)]
    pub population: Option<String>,
    /// How many were asked by the clock; none where nothing says how many are still to come.
    #[serde(default)]
    pub asked: Option<u64>,
    /// How many have matured by the clock.
    pub matured: u64,
    /// Matured ones whose answer, moment or key is null.
    pub left_out: u64,
    /// Those before the holdout that mature inside it.
    pub purged: u64,
}

/// One Parquet file of a dataset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DatasetPart {
    /// Where it lies on the object store.
    pub path: String,
    /// Rows.
    pub rows: u64,
    /// Mean of a bool or numeric label.
    pub label_rate: Option<f64>,
    /// How many rows have each value of the label; empty where these are too many to be classes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub classes: BTreeMap<String, u64>,
    /// SHA-256 of the file, in hex.
    pub sha256: String,
}

/// Names one part of a dataset: `dst_…` is what to train on, `dst_….holdout` what training never sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatasetPartRef {
    /// The dataset.
    pub id: DatasetId,
    /// Its holdout instead of its training part.
    pub holdout: bool,
}

impl fmt::Display for DatasetPartRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.id, if self.holdout { ".holdout" } else { "" })
    }
}

impl FromStr for DatasetPartRef {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        Ok(match text.strip_suffix(".holdout") {
            Some(id) => Self { id: id.parse()?, holdout: true },
            None => Self { id: text.parse()?, holdout: false },
        })
    }
}

impl Catalog {
    /// Registers a dataset under the key of the work that built it; a repeat returns the first one's id.
    pub async fn insert_dataset(
        &self,
        tx: &mut Tx,
        job_key: &str,
        dataset: &Dataset,
    ) -> Result<DatasetId, Error> {
        let id: (uuid::Uuid,) = sqlx::query_as(include_str!("../queries/dataset/insert.sql"))
            .bind(dataset.id.as_uuid())
            .bind(job_key)
            .bind(&dataset.label)
            .bind(&dataset.model)
            .bind(dataset.lake_version)
            .bind(ordered_json(dataset))
            .fetch_one(tx.conn())
            .await?;
        Ok(id.0.into())
    }

    /// One dataset.
    pub async fn dataset(&self, id: DatasetId) -> Result<Option<Dataset>, Error> {
        Ok(self.dataset_row(id).await?.map(|row| row.dataset))
    }

    /// One dataset as listed.
    pub async fn dataset_row(&self, id: DatasetId) -> Result<Option<DatasetRow>, Error> {
        let row = sqlx::query_as("SELECT body, created_at, erased_at FROM catalog.dataset WHERE id = $1")
            .bind(id.as_uuid())
            .fetch_optional(self.pool())
            .await?;
        Ok(row.map(DatasetRow::of))
    }

    /// A dataset and the part of it that is named.
    ///
    /// # Errors
    /// [`Error::Missing`] where there is no such dataset, or it has no holdout.
    pub async fn dataset_part(&self, reference: DatasetPartRef) -> Result<(Dataset, DatasetPart), Error> {
        let missing = || Error::Missing(format!("dataset {reference}"));
        let dataset = self.dataset(reference.id).await?.ok_or_else(missing)?;
        let part = if reference.holdout { dataset.holdout.clone() } else { Some(dataset.train.clone()) };
        Ok((dataset, part.ok_or_else(missing)?))
    }

    /// Notes of some datasets that an entity was erased that they hold rows of. Safe to repeat: the first time stays.
    pub async fn flag_datasets(&self, tx: &mut Tx, ids: &[DatasetId]) -> Result<(), Error> {
        let ids: Vec<uuid::Uuid> = ids.iter().map(|id| id.as_uuid()).collect();
        sqlx::query(include_str!("../queries/dataset/flag.sql")).bind(ids).execute(tx.conn()).await?;
        Ok(())
    }

    /// All datasets, newest first, at most `limit`.
    pub async fn datasets(&self, limit: u32) -> Result<Vec<DatasetRow>, Error> {
        let rows: Vec<(Json<Dataset>, Time, Option<Time>)> = sqlx::query_as(
            "SELECT body, created_at, erased_at FROM catalog.dataset ORDER BY created_at DESC, id DESC LIMIT $1",
        )
        .bind(i64::from(limit))
        .fetch_all(self.pool())
        .await?;
        Ok(rows.into_iter().map(DatasetRow::of).collect())
    }
}

/// A dataset as listed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DatasetRow {
    /// The dataset.
    #[serde(flatten)]
    pub dataset: Dataset,
    /// When it was registered, real time.
    pub created_at: Time,
    /// When an entity was erased that it holds rows of, real time.
    #[serde(default)]
    pub erased_at: Option<Time>,
}

impl DatasetRow {
    fn of((Json(dataset), created_at, erased_at): (Json<Dataset>, Time, Option<Time>)) -> Self {
        Self { dataset, created_at, erased_at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_reads_back_what_it_prints() {
        let id = DatasetId::generate();
        for holdout in [false, true] {
            let part = DatasetPartRef { id, holdout };
            assert_eq!(part.to_string().parse::<DatasetPartRef>().unwrap(), part);
        }
        assert!("dst_1".parse::<DatasetPartRef>().is_err());
    }
}
