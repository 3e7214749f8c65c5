//! Tracing set-up, lines for people, and the metrics registry.
//!
//! [`init`] once per process; then each crate that counts something has one `Metrics` type whose `register`
//! takes the [`Registry`] and which documents names, units and labels. [`Registry::render`] is what `/metrics`
//! answers. Doesn't serve HTTP and knows no metric itself.

mod registry;
mod say;
mod tracing_setup;

pub use prometheus_client;
pub use registry::{LATENCY_BUCKETS, Registry};
pub use say::line;
pub use tracing_setup::{LogFormat, Options, init};
