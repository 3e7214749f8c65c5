//! The serving tier: `Predict` by entity id, and latest features, over gRPC and REST, from Redis and the artifact store
//! alone.
//!
//! Reading order: [`Options`], [`run`], then `ask` (what is asked and answered), `arms` (who answers: one version,
//! or two while a rollout is under way), `predict` (one version answers: hydrate, vectorise, infer, reply), `hydrate` (Redis), `features` (latest values as they are), `warm` (which model versions are loaded, and which one an alias means), `follow` (loads them),
//! `measure` (how versions fare), `prediction_log` (what was answered, on
//! its way to the lake), `readiness` (whether requests can be answered, and why not), the doors `grpc` and `rest`, which only
//! convert, and beside them `oip`, the Open Inference Protocol, over both.
//!
//! A new version takes an alias over only once it is loaded and its golden rows predicted what was recorded; the
//! old one answers until then, and its last requests after. With Redis or the artifact store away, what is warm
//! stays warm. Postgres and Kafka are not among the dependencies of this crate; DuckDB evaluates expressions in memory, and opens
//! nothing.

mod arms;
mod ask;
mod door;
mod error;
mod failure;
mod features;
mod follow;
mod grpc;
mod hydrate;
mod measure;
mod metrics;
mod oip;
mod openapi;
mod options;
mod predict;
mod prediction_log;
mod readiness;
mod rest;
mod run;
mod vector;
mod warm;

pub use error::Error;
pub use options::Options;
pub use prediction_log::{LogOptions, SpoolLimits};
pub use run::{Server, run};
