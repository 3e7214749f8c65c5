//! Counts and latencies, by model and version, for Prometheus; what people read is in `measure`.

use std::{sync::atomic::AtomicU64, time::Duration};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
};
use tidemill_inference::Processes;
use tidemill_telemetry::{LATENCY_BUCKETS, Registry};

/// Which version; only live ones get labels, so callers can't make them up.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct VersionLabels {
    model: String,
    version: u32,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OutcomeLabels {
    model: String,
    version: u32,
    code: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CodeLabels {
    code: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StatusLabels {
    view: String,
    status: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

/// Everything that serving counts.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    requests: Family<OutcomeLabels, Counter>,
    unresolved: Family<CodeLabels, Counter>,
    predictions: Family<VersionLabels, Counter>,
    latency: Family<VersionLabels, Histogram>,
    views: Family<StatusLabels, Counter>,
    loaded: Family<VersionLabels, Gauge>,
    processes: Family<VersionLabels, Gauge>,
    processes_wanted: Family<VersionLabels, Gauge>,
    processes_busy: Family<VersionLabels, Gauge<f64, AtomicU64>>,
    processes_ended: Family<VersionLabels, Gauge>,
    log_written: Counter,
    log_dropped: Family<ReasonLabels, Counter>,
    log_waiting: Gauge,
    fell_back: Family<VersionLabels, Counter>,
}

impl Metrics {
    /// Metrics that are rendered by `registry`.
    pub(crate) fn register(registry: &Registry) -> Self {
        let metrics = Self {
            requests: Family::default(),
            unresolved: Family::default(),
            predictions: Family::default(),
            latency: Family::new_with_constructor(|| Histogram::new(LATENCY_BUCKETS)),
            views: Family::default(),
            loaded: Family::default(),
            processes: Family::default(),
            processes_wanted: Family::default(),
            processes_busy: Family::default(),
            processes_ended: Family::default(),
            log_written: Counter::default(),
            log_dropped: Family::default(),
            log_waiting: Gauge::default(),
            fell_back: Family::default(),
        };
        registry.register(|r| {
            r.register("predict_requests", "Predict requests by outcome", metrics.requests.clone());
            r.register(
                "predict_unresolved",
                "Predict requests that no version could take, by reason",
                metrics.unresolved.clone(),
            );
            r.register("predictions", "Entities predicted", metrics.predictions.clone());
            r.register("predict_latency_seconds", "From request to reply", metrics.latency.clone());
            r.register("predict_views", "Views read, by how old their values were", metrics.views.clone());
            r.register("models_loaded", "1 for each model version that is warm", metrics.loaded.clone());
            r.register("model_processes", "Processes of a version that answer", metrics.processes.clone());
            r.register(
                "model_processes_wanted",
                "Processes that a version shall have, as its load needs",
                metrics.processes_wanted.clone(),
            );
            r.register(
                "model_processes_busy",
                "Processes of a version that were busy, on average over the last second",
                metrics.processes_busy.clone(),
            );
            r.register(
                "model_processes_ended",
                "Processes of a version that died or were ended since it was loaded",
                metrics.processes_ended.clone(),
            );
            r.register(
                "prediction_log_rows",
                "Rows of the prediction log written to disk",
                metrics.log_written.clone(),
            );
            r.register(
                "prediction_log_dropped",
                "Rows that the prediction log lost, by reason",
                metrics.log_dropped.clone(),
            );
            r.register(
                "prediction_log_waiting_bytes",
                "Segments of the prediction log on disk, not shipped yet",
                metrics.log_waiting.clone(),
            );
            r.register(
                "predict_fell_back",
                "Entities of a candidate that the control answered in its place",
                metrics.fell_back.clone(),
            );
        });
        metrics
    }

    /// Counts one request of a version that is live.
    pub(crate) fn request(&self, model: &str, version: u32, entities: usize, took: Duration, code: &str) {
        let labels = VersionLabels { model: model.to_owned(), version };
        self.latency.get_or_create(&labels).observe(took.as_secs_f64());
        if code == "ok" {
            self.predictions.get_or_create(&labels).inc_by(entities as u64);
        }
        let outcome = OutcomeLabels { model: model.to_owned(), version, code: code.to_owned() };
        self.requests.get_or_create(&outcome).inc();
    }

    /// Counts one request that names no version which answers.
    pub(crate) fn unresolved(&self, code: &str) {
        self.unresolved.get_or_create(&CodeLabels { code: code.to_owned() }).inc();
    }

    /// Counts one view that was read.
    pub(crate) fn view(&self, view: &str, status: &'static str) {
        self.views.get_or_create(&StatusLabels { view: view.to_owned(), status }).inc();
    }

    /// Counts entities that a rollout's control answered in the candidate's place.
    pub(crate) fn fell_back(&self, model: &str, candidate: u32, entities: usize) {
        let labels = VersionLabels { model: model.to_owned(), version: candidate };
        self.fell_back.get_or_create(&labels).inc_by(entities as u64);
    }

    /// Says whether a version is warm.
    pub(crate) fn loaded(&self, model: &str, version: u32, warm: bool) {
        let labels = VersionLabels { model: model.to_owned(), version };
        self.loaded.get_or_create(&labels).set(i64::from(warm));
        if !warm {
            self.processes.remove(&labels);
            self.processes_wanted.remove(&labels);
            self.processes_busy.remove(&labels);
            self.processes_ended.remove(&labels);
        }
    }

    /// How many processes a version has, and how busy they are.
    pub(crate) fn processes(&self, model: &str, version: u32, now: Processes) {
        let labels = VersionLabels { model: model.to_owned(), version };
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.processes.get_or_create(&labels).set(count(now.answering));
        self.processes_wanted.get_or_create(&labels).set(count(now.wanted));
        self.processes_busy.get_or_create(&labels).set(now.busy);
        self.processes_ended.get_or_create(&labels).set(i64::try_from(now.ended).unwrap_or(i64::MAX));
    }

    /// Counts rows of the prediction log that are on disk.
    pub(crate) fn log_written(&self, rows: usize) {
        self.log_written.inc_by(rows as u64);
    }

    /// Counts rows that the prediction log lost: for want of `memory` or `budget`, by the `disk`, or as `unwritable`.
    pub(crate) fn log_dropped(&self, reason: &'static str, rows: usize) {
        self.log_dropped.get_or_create(&ReasonLabels { reason }).inc_by(rows as u64);
    }

    /// How many bytes of the prediction log wait on disk.
    pub(crate) fn log_waiting(&self, bytes: u64) {
        self.log_waiting.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}
