//! Models: what the vector is made of, how a key becomes one, and what is logged of predictions.

use std::time::Duration;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::{Feature, Meta, OutputType, column_of};
use crate::{Type, units};

/// A declared model; its versions are registered by runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// Its name.
    pub name: String,
    /// Description, owner, tags.
    pub meta: Meta,
    /// Flavor of its artifacts: lightgbm, xgboost, onnx, sklearn, torch, transformers, python.
    pub runtime: String,
    /// The entity that a prediction is asked for.
    pub entity: String,
    /// What the vector is made of, in order.
    pub inputs: Vec<Input>,
    /// Columns that only the caller knows; they follow the inputs in the vector.
    #[serde(default)]
    pub request: IndexMap<String, Type>,
    /// Those of them that may be null.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nullable: Vec<String>,
    /// Features that are computed from keys, inputs and request when a prediction is asked for; they end the vector.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub on_demand: IndexMap<String, Feature>,
    /// Named, typed outputs.
    pub outputs: IndexMap<String, OutputType>,
    /// Whether a null in the vector is an error.
    #[serde(default)]
    pub fail_on_missing: bool,
    /// Warm Python processes in each serving process, however little is asked; 0: none while nothing is asked.
    #[serde(default = "default_processes")]
    pub processes: u32,
    /// Most of them, as load needs; none: always [`processes`](Self::processes).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processes_max: Option<u32>,
    /// What is logged of its predictions.
    #[serde(default, skip_serializing_if = "PredictionLog::is_default")]
    pub log: PredictionLog,
}

/// What is logged of a model's predictions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PredictionLog {
    /// Share of predictions that are logged, 0 to 1; 0: none, the log is off.
    pub sample: f64,
    /// Columns of keys, inputs, request and outputs that are logged as null.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mask: Vec<String>,
    /// How long rows are kept, real time.
    #[serde(with = "units::duration")]
    pub keep: Duration,
}

impl PredictionLog {
    /// Nothing is logged.
    pub fn off() -> Self {
        Self { sample: 0.0, ..Self::default() }
    }

    /// Whether anything is.
    pub fn is_on(&self) -> bool {
        self.sample > 0.0
    }

    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for PredictionLog {
    /// Everything, for 90 days.
    fn default() -> Self {
        Self { sample: 1.0, mask: Vec::new(), keep: Duration::from_hours(90 * 24) }
    }
}

impl Model {
    /// The columns of the request that may be null: those that are declared so, and all where what is missing is null.
    pub fn nullable_in_request(&self) -> Vec<String> {
        let nullable = |name: &&String| !self.fail_on_missing || self.nullable.contains(name);
        self.request.keys().filter(nullable).cloned().collect()
    }
}

fn default_processes() -> u32 {
    2
}

/// A part of a model's vector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// Key columns of the model's entity.
    Keys(Vec<String>),
    /// Features of a view, in this order.
    View {
        /// The view.
        view: String,
        /// Its features.
        features: Vec<String>,
        /// What it is read as, if not under its own name: its features are then called `ROLE_FEATURE`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        role: Option<String>,
        /// For keys of its entity that are found under another name: that name.
        #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
        keys: IndexMap<String, String>,
    },
}

/// How an entity's key becomes a vector: proven by `check`, pinned by a model version.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Hydration {
    /// Reads in order; those of one round do not depend on each other. At most two rounds.
    pub rounds: Vec<Vec<HydrationRead>>,
    /// The vector's columns in order: name, type.
    pub columns: IndexMap<String, Type>,
    /// What is computed from what was read and what was asked with; none where nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_demand: Option<OnDemand>,
}

/// Features that are computed when a prediction is asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OnDemand {
    /// Types of the columns that they may read: keys, features of the inputs, and the request's.
    pub row: IndexMap<String, Type>,
    /// Each by SQL over such a row.
    pub features: IndexMap<String, Feature>,
}

/// One view to read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HydrationRead {
    /// The view.
    pub view: String,
    /// For each key column of the view's entity, in order: where its value comes from.
    pub keys: Vec<KeyOrigin>,
    /// The features that the vector takes, in the vector's order; may be empty where only a key is needed.
    pub features: Vec<String>,
    /// What it is read as, if not under its own name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
}

impl HydrationRead {
    /// What the view is called where it is read: its role, or its own name.
    pub fn name(&self) -> &str {
        self.role.as_ref().unwrap_or(&self.view)
    }

    /// What one of its features is called where it is read.
    pub fn column(&self, feature: &str) -> String {
        column_of(self.role.as_deref(), feature)
    }

    /// Features of this read that give keys to others.
    pub fn gives<'r>(&'r self, others: impl IntoIterator<Item = &'r Self>) -> Vec<String> {
        let origins = others.into_iter().flat_map(|other| &other.keys);
        let given = origins.filter_map(|origin| match origin {
            KeyOrigin::Feature { view, feature } if view == self.name() => Some(feature.clone()),
            _ => None,
        });
        given.collect()
    }
}

/// Where a key's value comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyOrigin {
    /// The caller's key of this name.
    Request(String),
    /// A feature of a view read in an earlier round.
    Feature {
        /// What that view is called where it is read.
        view: String,
        /// The feature, by its name in the view.
        feature: String,
    },
}
