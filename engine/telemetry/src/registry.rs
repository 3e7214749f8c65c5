//! One registry per process, cheap to clone, rendered as `OpenMetrics` text.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::{encoding::text, registry};

/// Upper bounds in seconds for latencies from 0.1 ms to 30 s.
pub const LATENCY_BUCKETS: [f64; 17] =
    [0.0001, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0];

/// Every metric of the process; names begin with `tidemill_`.
#[derive(Clone, Debug)]
pub struct Registry(Arc<Mutex<registry::Registry>>);

impl Default for Registry {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(registry::Registry::with_prefix("tidemill"))))
    }
}

impl Registry {
    /// Adds one crate's metrics: `registry.register(|r| r.register("name", "Help", metric.clone()))`.
    pub fn register(&self, add: impl FnOnce(&mut registry::Registry)) {
        add(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// All metrics as `OpenMetrics` text.
    pub fn render(&self) -> String {
        let mut out = String::new();
        let registry = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Writing to a string fails only if a metric's own encoder does; what came before it still counts.
        if let Err(error) = text::encode(&mut out, &registry) {
            tracing::error!(%error, "a metric can't be encoded");
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;

    use super::*;

    #[test]
    fn a_registered_counter_is_rendered_with_prefix_and_help() {
        let registry = Registry::default();
        let counter = Counter::<u64>::default();
        registry.register(|r| r.register("jobs_fenced", "Completions that came too late", counter.clone()));
        counter.inc();
        let text = registry.render();
        assert!(text.contains("# HELP tidemill_jobs_fenced Completions that came too late"), "{text}");
        assert!(text.contains("tidemill_jobs_fenced_total 1"), "{text}");
    }
}
