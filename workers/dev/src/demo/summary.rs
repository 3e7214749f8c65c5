//! The figures of the story, as written to `summary.json`.

use std::{collections::BTreeMap, time::Instant};

use serde::Serialize;
use serde_json::Value;

/// Every figure comes from registered datasets, models, attempt rows and replies.
#[derive(Debug, Default, Serialize)]
pub(super) struct Summary {
    /// Rows in the lake by source, for the whole year.
    pub(super) rows: BTreeMap<String, Value>,
    /// Dead letters by source.
    pub(super) dead_letters: BTreeMap<String, Value>,
    /// `{offline_rows, online_entities}` by view, on 1 June.
    pub(super) views: BTreeMap<String, Value>,
    /// `{model, version, dataset, auc_holdout, auc_june}` by role.
    pub(super) models: BTreeMap<String, Value>,
    /// AUC in June of the model that was trained on leaky features, on honest ones.
    pub(super) leak_served_auc: Option<f64>,
    /// What `check` says of the leaky views.
    pub(super) leak_check: String,
    /// `{count, errors, p50_ms, p95_ms, per_second, online_equals_offline}`
    pub(super) predictions: Value,
    /// `{month, psi_prediction, late_rate, mean_prediction, auc, incident, report}` by month.
    pub(super) drift: Vec<Value>,
    /// `{killed_pid, run, resumed_from, log_begins, steps_repeated, run_state}`
    pub(super) recovery: Value,
    /// How long each act took.
    pub(super) stages: Vec<Act>,
    /// The whole story.
    pub(super) wall_seconds: f64,
}

/// One act.
#[derive(Debug, Serialize)]
pub(super) struct Act {
    name: String,
    seconds: f64,
}

impl Summary {
    /// Ends an act: notes its time and prints its line.
    pub(super) fn act(&mut self, name: &str, started: Instant, line: String) {
        let seconds = started.elapsed().as_secs_f64();
        let mark = match name {
            "predict" => '▶',
            "recovery" => '✗',
            "drift" => '!',
            _ => '✓',
        };
        tidemill_telemetry::say!("  {mark} {line}   {seconds:.1} s");
        self.stages.push(Act { name: name.to_owned(), seconds });
    }
}
