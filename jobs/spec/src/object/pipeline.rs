//! Pipelines: a DAG of steps, and when it runs by itself.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use tidemill_core::AttemptPolicy;

use super::Meta;

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
    /// Whose midnights `run.date` names: the schedule's time zone, or its own; an IANA name.
    #[serde(default = "utc")]
    pub timezone: String,
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
    /// Threads that its process may use.
    #[serde(default)]
    pub cpus: Option<u32>,
}

fn utc() -> String {
    "UTC".to_owned()
}
