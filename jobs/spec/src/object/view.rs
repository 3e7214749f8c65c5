//! Feature views: what is computed, from what, and what of it is online.

use std::time::Duration;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::Meta;
use crate::{Type, Value};

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
    /// The longest that one call of the function may take, real time; none: [`Self::call_limit`] says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
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
#[serde(from = "StoredFeature")]
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

/// A feature as JSON has it: its default has lost its type.
#[derive(Deserialize)]
struct StoredFeature {
    #[serde(rename = "type")]
    ty: Type,
    rule: Rule,
    #[serde(default)]
    default: serde_json::Value,
}

impl From<StoredFeature> for Feature {
    fn from(StoredFeature { ty, rule, default }: StoredFeature) -> Self {
        let default = Value::from_json(&default, ty).ok().filter(|value| !value.is_null());
        Self { ty, rule, default }
    }
}
