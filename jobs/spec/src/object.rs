//! Declared objects, valid by construction: what YAML says after every check has passed.
//!
//! They are stored in the catalog as JSON, so fields are only ever added, with a default. Names are in
//! declaration order wherever order means something (keys, features, a model's inputs).

mod csv;
mod label;
mod model;
mod monitor;
mod output;
mod pipeline;
mod plan;
mod source;
mod stream;
mod view;

use serde::{Deserialize, Serialize};
use tidemill_core::Time;

pub use csv::{Csv, DecimalMark, Encoding, LineEnd};
pub use label::{Ahead, Asked, Label, Population};
pub use model::{Hydration, HydrationRead, Input, KeyOrigin, Model, OnDemand, PredictionLog};
pub use monitor::{Check, Every, Monitor, MonitorTarget, Notifier, Reference};
pub use output::{OutputType, probability_column, scored};
pub use pipeline::{Pipeline, PipelineSchedule, Step};
pub use plan::Plan;
pub use source::{Column, Entity, Epoch, Extra, Newest, Source};
pub use stream::{Batch, Start, Stream, StreamFormat};
pub(crate) use view::column_of;
pub use view::{
    Aggregate, Feature, FeatureView, Freshness, InputView, OnlineFeatures, Operand, Rule, ViewInput, ViewKind,
};

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
