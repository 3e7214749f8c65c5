//! Declared objects, valid by construction: what YAML says after every check has passed.
//!
//! They are stored in the catalog as JSON, so fields are only ever added, with a default. Names are in
//! declaration order wherever order means something (keys, features, a model's inputs).

use std::time::Duration;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use tidemill_core::{AttemptPolicy, Time};

use crate::{Type, Value};

/// What every object may carry.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Meta {
    /// One sentence.
    #[serde(default)]
    pub description: String,
    /// Who answers for it.
    #[serde(default)]
    pub owner: String,
    /// Free words.
    #[serde(default)]
    pub tags: Vec<String>,
}

/// The project: one an installation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Project {
    /// Its name.
    pub name: String,
    /// Description, owner, tags.
    pub meta: Meta,
    /// Where its data clock starts.
    pub clock: Clock,
}

/// The data clock as declared; the engine anchors it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Clock {
    /// Real time.
    #[default]
    Wall,
    /// History lived through from `start` at `speed` data seconds a second (0 = frozen).
    Replay {
        /// What it shows at first.
        start: Time,
        /// Data seconds a real second.
        speed: f64,
    },
}

/// A thing that features describe, and the columns that name one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entity {
    /// Its name.
    pub name: String,
    /// Description, owner, tags.
    pub meta: Meta,
    /// Key columns in declared order; at least one, never float.
    pub keys: IndexMap<String, Type>,
}

/// A column of a source.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Column {
    /// Its type.
    #[serde(rename = "type")]
    pub ty: Type,
    /// Whether null is allowed.
    #[serde(default)]
    pub nullable: bool,
    /// Unit, for people.
    #[serde(default)]
    pub unit: Option<String>,
    /// Least allowed value.
    #[serde(default)]
    pub min: Option<Value>,
    /// Greatest allowed value.
    #[serde(default)]
    pub max: Option<Value>,
    /// The timestamp column that says when the world could know this one; default: the source's available time.
    #[serde(default)]
    pub known_at: Option<String>,
}

/// Rows that come in, by file or stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// Its name.
    pub name: String,
    /// Description, owner, tags.
    pub meta: Meta,
    /// Its columns, in declared order.
    pub columns: IndexMap<String, Column>,
    /// Timestamp column: when it happened.
    pub event_time: String,
    /// Timestamp column: when the world could know it. A row's `valid_at`.
    pub available_time: String,
    /// Timestamp column that gives `created_at`, for imported history; default: the data clock at acceptance.
    #[serde(default)]
    pub created_time: Option<String>,
    /// Bool column that marks a row as a deletion.
    #[serde(default)]
    pub deleted: Option<String>,
    /// Columns of which windows and labels count the newest row each; empty: every row counts.
    #[serde(default)]
    pub unique: Vec<String>,
}

/// Features of one entity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FeatureView {
    /// Its name.
    pub name: String,
    /// Description, owner, tags.
    pub meta: Meta,
    /// The entity it describes.
    pub entity: String,
    /// What it is computed from.
    pub input: ViewInput,
    /// How old a value may be, both ends included; none: any age.
    #[serde(default)]
    pub ttl: Option<Duration>,
    /// Its features, in declared order.
    pub features: IndexMap<String, Feature>,
    /// User Python that computes all of them, `module:function`; else each feature has its own rule.
    #[serde(default)]
    pub python: Option<String>,
    /// Whether the function takes and returns a whole table.
    #[serde(default)]
    pub batch: bool,
    /// Which features are kept online.
    pub online: OnlineFeatures,
    /// How old the newest value may be.
    #[serde(default)]
    pub freshness: Option<Freshness>,
    /// Declared leaks are named in every dataset, model and report that touches the view.
    #[serde(default)]
    pub leak_allowed: bool,
}

/// What a view reads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ViewInput {
    /// Rows of one source.
    Source(String),
    /// Other views, as of each row's moment.
    Views(Vec<String>),
}

/// How a view is computed; derived from its declaration, never mixed within one view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ViewKind {
    /// A row for each source row: `last` values, row SQL, age, or user Python.
    Rows,
    /// Windowed aggregates over source rows, kept as tiles.
    Windows,
    /// A row for each row of any input view, from all inputs as of then.
    Derived,
}

/// One feature.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Feature {
    /// Its type.
    #[serde(rename = "type")]
    pub ty: Type,
    /// How it is computed.
    pub rule: Rule,
    /// Taken where no value is found, online and offline alike.
    #[serde(default)]
    pub default: Option<Value>,
}

/// How one feature is computed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// The newest row's value of a column.
    Last(String),
    /// A DuckDB expression over one row's columns (or, in a derived view, its inputs' features).
    Sql(String),
    /// Minutes since the newest row's `valid_at`, at the moment of asking.
    Age,
    /// An aggregate over a window that ends at the moment of asking.
    Window {
        /// What is computed.
        aggregate: Aggregate,
        /// Of which column; `None` counts rows.
        column: Option<String>,
        /// Length of the window.
        window: Duration,
        /// Its tail is floored to multiples of this, in UTC.
        hop: Duration,
    },
    /// One of the values that the view's Python function returns.
    Python,
}

/// A windowed aggregate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aggregate {
    /// Rows, or rows whose column is not null; 0 over nothing.
    Count,
    /// Null over nothing.
    Sum,
    /// Null over nothing.
    Mean,
    /// Null over nothing.
    Min,
    /// Null over nothing.
    Max,
}

/// Which features of a view are online.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnlineFeatures {
    /// None.
    #[default]
    None,
    /// All.
    All,
    /// These, in the view's order.
    Some(Vec<String>),
}

/// How old the newest value of an entity may be, by the data clock.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Freshness {
    /// Older is shown.
    #[serde(default)]
    pub warn: Option<Duration>,
    /// Older is served, but reported stale.
    #[serde(default)]
    pub fail: Option<Duration>,
}

/// What a model learns to predict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Label {
    /// Its name.
    pub name: String,
    /// Description, owner, tags.
    pub meta: Meta,
    /// The entity it is asked of.
    pub entity: String,
    /// The source whose rows hold the answer. A label matures at its row's available time.
    pub source: String,
    /// Type of the answer.
    #[serde(rename = "type")]
    pub ty: Type,
    /// The answer, as a DuckDB expression over one row.
    pub sql: String,
    /// The moment at which it is asked, as a DuckDB expression over one row.
    pub asked_at: String,
}

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
    /// Named, typed outputs.
    pub outputs: IndexMap<String, Type>,
    /// Whether a null in the vector is an error.
    #[serde(default)]
    pub fail_on_missing: bool,
    /// Warm Python processes.
    #[serde(default = "default_processes")]
    pub processes: u32,
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
    },
}

/// How an entity's key becomes a vector: proven by `check`, pinned by a model version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hydration {
    /// Reads in order; those of one round do not depend on each other. At most two rounds.
    pub rounds: Vec<Vec<HydrationRead>>,
    /// The vector's columns in order: name, type.
    pub columns: IndexMap<String, Type>,
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
}

/// Where a key's value comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyOrigin {
    /// The caller's key of this name.
    Request(String),
    /// A feature of a view read in an earlier round.
    Feature {
        /// The view.
        view: String,
        /// The feature.
        feature: String,
    },
}

/// A watch over a model, a source or a view.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Monitor {
    /// Its name.
    pub name: String,
    /// Description, owner, tags.
    pub meta: Meta,
    /// What is watched.
    pub target: MonitorTarget,
    /// Window and cadence, on the data clock.
    pub every: Every,
    /// What the window is compared with.
    pub reference: Reference,
    /// What is judged.
    pub checks: Vec<Check>,
    /// Notifiers by name.
    #[serde(default)]
    pub notify: Vec<String>,
}

/// A calendar month in the monitor's time zone, or a fixed length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Every {
    /// Whole calendar months, UTC unless the monitor says otherwise.
    Months(u32),
    /// A fixed length.
    Duration(Duration),
}

/// What a monitor watches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MonitorTarget {
    /// The predictions, inputs and labels of the champion.
    Model(String),
    /// Rows of a source.
    Source(String),
    /// Rows of a view.
    View(String),
}

/// What a window is compared with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reference {
    /// The training snapshot of the serving version.
    Training,
    /// Rows of a fixed range.
    Range {
        /// First instant.
        from: Time,
        /// First instant after it.
        to: Time,
    },
}

/// One thing that a monitor judges.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// A drift score of columns (`prediction` names the model's output).
    Drift {
        /// `psi`, `js` or `ks`.
        measure: String,
        /// Columns.
        columns: Vec<String>,
        /// Above it is shown.
        warn: Option<f64>,
        /// Above it opens an incident.
        fail: f64,
    },
    /// Change of the label's mean against the reference.
    LabelRate {
        /// The label.
        label: String,
        /// Largest absolute change.
        max_change: f64,
    },
    /// Drop of the AUC against the holdout's at registration.
    Auc {
        /// The label.
        label: String,
        /// Largest drop.
        max_drop: f64,
    },
    /// Share of nulls.
    NullRate {
        /// The column.
        column: String,
        /// Largest share.
        max: f64,
    },
    /// Age of the newest row of a source or view at the window's end.
    Freshness {
        /// The source or view.
        object: String,
        /// Largest age.
        max: Duration,
    },
    /// Rows in the window.
    Volume {
        /// Least number.
        min: u64,
    },
}

/// Where incidents are sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notifier {
    /// Its name.
    pub name: String,
    /// Description, owner, tags.
    pub meta: Meta,
    /// A URL, possibly `${{ secrets.NAME }}`; resolved where it is used, never stored resolved.
    pub webhook_url: String,
}

/// A DAG of steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pipeline {
    /// Its name.
    pub name: String,
    /// Description, owner, tags.
    pub meta: Meta,
    /// When it runs by itself.
    #[serde(default)]
    pub schedule: Option<PipelineSchedule>,
    /// Parameters with their defaults.
    #[serde(default)]
    pub params: IndexMap<String, serde_json::Value>,
    /// Its steps, in declared order.
    pub steps: IndexMap<String, Step>,
}

/// When a pipeline runs by itself, on the data clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PipelineSchedule {
    /// Five fields.
    pub cron: String,
    /// An IANA name.
    pub timezone: String,
    /// Missed ticks: `all`, `last` or `none`.
    pub catchup: String,
    /// A tick while a run is under way: `skip`, `queue_one`, `queue_all`, `cancel_other` or `allow`.
    pub overlap: String,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// The kind of step, e.g. `dataset.build`.
    pub uses: String,
    /// Steps that must complete first.
    #[serde(default)]
    pub needs: Vec<String>,
    /// A CEL condition, without `${{ }}`; false skips the step.
    #[serde(default)]
    pub condition: Option<String>,
    /// Its arguments; strings may hold `${{ CEL }}`.
    #[serde(default)]
    pub with: serde_json::Map<String, serde_json::Value>,
    /// Retries and timeout.
    #[serde(default)]
    pub policy: AttemptPolicy,
    /// Memory limit of its process, in bytes.
    #[serde(default)]
    pub memory_bytes: Option<u64>,
}
