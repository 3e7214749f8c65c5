//! The steps of pipelines: what each takes in `with`, after `${{ }}` was resolved.
//!
//! These are the args of the steps' jobs, so fields are only ever added, with a default.

pub(crate) mod schema;

use std::{fmt, path::Path, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use tidemill_core::{Kind, Time};

use crate::units;

/// Kind of [`DatasetBuild`].
pub const DATASET_BUILD: Kind = Kind::new("dataset.build");
/// Kind of [`Python`].
pub const PYTHON: Kind = Kind::new("python");
/// Kind of [`ModelRegister`].
pub const MODEL_REGISTER: Kind = Kind::new("model.register");
/// Kind of [`ModelCompare`].
pub const MODEL_COMPARE: Kind = Kind::new("model.compare");
/// Kind of [`ModelPromote`].
pub const MODEL_PROMOTE: Kind = Kind::new("model.promote");
/// Kind of [`ModelEvaluate`].
pub const MODEL_EVALUATE: Kind = Kind::new("model.evaluate");
/// Kind of [`PredictBatch`].
pub const PREDICT_BATCH: Kind = Kind::new("model.predict_batch");
/// Kind of [`Ingest`].
pub const INGEST: Kind = Kind::new("ingest");
/// Kind of [`Export`].
pub const EXPORT: Kind = Kind::new("export");
/// Kind of [`Sql`].
pub const SQL: Kind = Kind::new("sql");
/// Kind of [`QualityCheck`].
pub const QUALITY_CHECK: Kind = Kind::new("quality.check");
/// Kind of [`FeaturesBackfill`].
pub const FEATURES_BACKFILL: Kind = Kind::new("features.backfill");

/// Builds a training set: labels with the features that were known at each label's moment.
///
/// Outputs: `dataset` and `holdout` (ids; `holdout` is null where none was asked for), `rows`, `holdout_rows`, `purged`
/// (labels in neither part: they happened before the holdout and matured inside it).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatasetBuild {
    /// The label.
    pub label: String,
    /// Whose columns.
    pub inputs: DatasetInputs,
    /// First event time.
    pub from: Time,
    /// First event time after it.
    pub to: Time,
    /// Length of the end of the range that training never sees.
    #[serde(default, with = "units::duration_option", skip_serializing_if = "Option::is_none")]
    pub holdout: Option<Duration>,
    /// Which corrections count; default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_at: Option<KnownAt>,
}

/// Whose columns a training set has: text names a model, a list names views.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatasetInputs {
    /// The inputs of a model, in the vector's order.
    Model(String),
    /// All features of views.
    Views(Vec<String>),
}

/// Until when a row must have been created to count: `label` or an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KnownAt {
    /// Each row's own moment.
    Label,
    /// The same instant for all, inclusive.
    Time(Time),
}

/// Calls `def f(ctx, dataset, out)` of the project's Python.
///
/// Outputs: `artifact` (what was left in `out`) and whatever the function returned, if a dict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Python {
    /// `module:function`.
    pub entry: String,
    /// Id of a training set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset: Option<String>,
    /// Added to the run's params in `ctx.params`.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub params: serde_json::Map<String, serde_json::Value>,
}

/// Registers an artifact, or a file of a person's, as the model's next version. Output: `version`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelRegister {
    /// The model.
    pub model: String,
    /// What a Python step left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<String>,
    /// Instead of it: a path of the worker's machine, or `s3://BUCKET/KEY`; a file, or a folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Rows that the file is proven with, CSV or Parquet; a path, or `s3://BUCKET/KEY`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<String>,
    /// What was uploaded instead of named by a path: of a file or a folder each path in it, and its content's SHA-256. Never
    /// declared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uploaded: Option<indexmap::IndexMap<String, String>>,
    /// The content's SHA-256 of an uploaded sample, which `sample` names. Never declared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uploaded_sample: Option<String>,
}

/// Scores two versions on a holdout. Outputs: `delta` (candidate minus other; 0 when there is no other),
/// `candidate`, `against`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelCompare {
    /// The model; default: the one whose inputs the dataset was built from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The new version.
    pub candidate: u32,
    /// An alias, or a version's number.
    pub against: String,
    /// Id of the training set to score on.
    pub dataset: String,
    /// `auc`, `log_loss`, or for a class `accuracy`.
    pub metric: String,
}

/// Points an alias at a version and publishes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelPromote {
    /// The model.
    pub model: String,
    /// The version.
    pub version: u32,
    /// The alias.
    pub alias: String,
}

/// Scores one version on the rows of a training set, built for any range of its label and from the inputs of any
/// model with the same columns; the figures are kept with the version. Outputs: `auc`, `log_loss`, `accuracy`,
/// `rows`, `label_rate`, `mean_prediction`, `version`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelEvaluate {
    /// The model.
    pub model: String,
    /// The version; default: what the alias names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    /// The alias.
    #[serde(default = "champion")]
    pub alias: String,
    /// Id of the training set whose rows are scored.
    pub dataset: String,
}

/// Predicts every row of a training set and appends to the model's predictions. Output: `rows`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PredictBatch {
    /// The model.
    pub model: String,
    /// The version; default: what the alias names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u32>,
    /// The alias.
    #[serde(default = "champion")]
    pub alias: String,
    /// Id of the training set whose rows are predicted.
    pub dataset: String,
}

/// The alias of the version that answers unless another is named.
pub const CHAMPION: &str = "champion";

fn champion() -> String {
    CHAMPION.to_owned()
}

/// Ingests files into a source. Outputs: `rows`, `dead_letters`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ingest {
    /// The source.
    pub source: String,
    /// A path, a glob, or `s3://bucket/key`.
    pub path: String,
}

/// Writes a table to a Parquet or CSV file, by the path's ending. Output: `rows`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Export {
    /// `source/NAME`, `view/NAME`, `predictions/MODEL`, `prediction_log/MODEL` or `dataset/ID`.
    pub table: String,
    /// A local path.
    pub path: String,
}

/// Runs a DuckDB query over the lake's tables and keeps its rows. Outputs: `rows`, and `first`: the first row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sql {
    /// The query; tables are named as sources and views are.
    pub query: String,
    /// Where its rows are written, Parquet or CSV; default: nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// What is wrong with a path that a step shall write rows to, and how to mend it; `None`: it can be written.
pub fn unwritable(path: &str) -> Option<(String, &'static str)> {
    if path.contains("://") {
        let message = format!("`{path}`: writing to an object store is not supported yet");
        return Some((message, "name a local path"));
    }
    let ending = Path::new(path).extension().and_then(|ending| ending.to_str());
    let message = || format!("`{path}` ends neither in .parquet nor in .csv");
    (!matches!(ending, Some("parquet" | "csv"))).then(|| (message(), "name a file with one of these endings"))
}

/// Fails the run where a condition over a table does not hold for all rows. Outputs: `rows`, `failed`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QualityCheck {
    /// `source/NAME` or `view/NAME`.
    pub table: String,
    /// DuckDB conditions over one row.
    pub conditions: Vec<String>,
    /// Share of rows that may fail, 0 to 1.
    #[serde(default)]
    pub tolerance: f64,
}

/// Recomputes a view from the start into a new version, then switches to it. Output: `version`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeaturesBackfill {
    /// The view.
    pub view: String,
}

impl Serialize for DatasetInputs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Model(model) => serializer.serialize_str(model),
            Self::Views(views) => views.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for DatasetInputs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = DatasetInputs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a model's name or a list of views")
            }

            fn visit_str<E: de::Error>(self, model: &str) -> Result<DatasetInputs, E> {
                Ok(DatasetInputs::Model(model.to_owned()))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, seq: A) -> Result<DatasetInputs, A::Error> {
                Vec::deserialize(de::value::SeqAccessDeserializer::new(seq)).map(DatasetInputs::Views)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl Serialize for KnownAt {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Label => serializer.serialize_str("label"),
            Self::Time(time) => time.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for KnownAt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "label" {
            return Ok(Self::Label);
        }
        crate::value::parse_time(&text)
            .map(Self::Time)
            .ok_or_else(|| de::Error::custom("expected `label` or an instant"))
    }
}
