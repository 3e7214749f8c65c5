//! The engine's words and decisions: ids, states, verdicts, retry policies, schedules, clocks.
//!
//! Pure: nothing here does I/O or awaits. Reading order: [`ids`], [`state`], [`verdict`], [`cause`],
//! [`retry`], [`calendar`], [`schedule`], [`clock`]. What runs jobs lives in `tidemill-runtime`, what stores them in
//! `tidemill-store`.

pub mod calendar;
pub mod cause;
pub mod clock;
pub mod dag;
pub mod ends;
pub mod error;
pub mod exposure;
pub mod ids;
pub mod retry;
pub mod schedule;
pub mod state;
pub mod text;
pub mod verdict;

pub use calendar::Calendar;
pub use cause::{Cause, disk_full};
pub use clock::{Clock, DataClock, LATEST, SystemClock, Time, Unmoved};
pub use dag::{Dag, DagError, Node};
pub use ends::Ends;
pub use error::{Code, Fault};
pub use exposure::{Exposed, check_bind};
pub use ids::{
    DatasetId, IncidentId, JobId, LeaseToken, PredictionId, RequestId, RolloutId, RunId, UploadId, WorkerId,
};
pub use retry::{AttemptPolicy, RetryPolicy};
pub use schedule::{CatchUp, InvalidSchedule, Overlap, Schedule, Tick};
pub use state::{RunState, StepState};
pub use verdict::{JobError, Kind};
