//! Runs jobs: what a job is, what it is given, and the worker loop on apalis.
//!
//! Reading order: [`Job`] and [`Outcome`] (what an author writes), [`Context`] (what `run` is given: checkpoints,
//! transactions under the lease, logs, cancellation), [`JobEntry`] and [`job_new`] (how jobs are registered and
//! enqueued), [`Worker`] (claims, runs, ends), [`Maintenance`] (rescues jobs of dead workers, fires schedules).
//! A worker knows nothing of pipelines and schedules' targets: [`Prepare`] and [`Fire`] are given to it.
//! State lives in `tidemill-store`; this is the only crate that knows apalis, and only in `backend` and `worker`.

mod adopt;
mod alarm;
mod attempt;
mod backend;
mod committer;
mod context;
mod dispatcher;
mod execute;
mod hooks;
mod inbox;
mod job;
mod leases;
mod log;
mod maintenance;
pub mod probe;
mod stop;
mod verdict;
mod worker;

pub use adopt::Adopter;
pub use context::Context;
pub use execute::Executor;
pub use hooks::{Fire, Prepare, Prepared, StepStart};
pub use job::{Job, JobEntry, Outcome, job_new};
pub use maintenance::{Maintenance, MaintenanceOptions, TickPlan, plan_ticks};
pub use stop::{Stop, StopReason};
pub use verdict::Ended;
pub use worker::{Worker, WorkerError, WorkerOptions};
