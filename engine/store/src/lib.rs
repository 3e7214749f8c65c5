//! The engine's state in Postgres: runs, steps, jobs, checkpoints, schedules, workers, the data clock.
//!
//! Reading order: [`Store`] and [`Tx`] (connections), [`NewJob`] and [`NewRun`] (what comes in), [`Claimed`] and
//! [`Lease`] (what a worker holds), [`Ending`] (how an attempt ends), then what people ask: [`RunPage`] and the lists.
//! Everything done under a lease names its token, and rows that don't match change nothing. Leases are judged by
//! the database's clock alone. What runs the jobs lives in `tidemill-runtime`.

mod clock;
mod complete;
mod connection;
mod enqueue;
mod error;
mod history;
mod lease;
mod logs;
mod pages;
mod rescue;
mod runs;
mod schedules;
mod sessions;
mod wake;
mod workers;

pub use complete::{Ending, Settled};
pub use connection::{DatabaseOptions, Store, Tx};
pub use enqueue::{Enqueued, NewJob, NewRun, NewStep, Trigger};
pub use error::{Error, cause};
pub use lease::{Claimed, Lease, Renewed};
pub use logs::{LogLine, NewLogLine};
pub use pages::{AttemptRow, QueueRow, RunPage, RunQuery, RunRow, StepRow};
pub use rescue::Rescued;
pub use schedules::{DueSchedule, NewSchedule, ScheduleRow, TickOutcome};
pub use wake::Wakeups;
pub use workers::{NewWorker, WorkerRow};
