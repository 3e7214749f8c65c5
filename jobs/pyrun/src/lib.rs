//! A pool of long-lived Python processes for user code: transforms, pipeline steps, models.
//!
//! Reading order: [`PyOptions`] (which Python, whose code, which limits), [`PyPool`] (warm processes),
//! [`Transform`], [`StepCall`] and [`WrapCall`] (what they run), [`Process`] (one process: start, handshake, calls, limits, kill), `protocol` (the frames). The other end is
//! the package `tidemill` in `workers/python`.
//!
//! User code never shares a process, an environment or a process group with ours: what it may see is named,
//! what it may use is limited, and nothing of it outlives the request that is dropped.

mod calls;
mod error;
mod options;
mod output;
mod pool;
mod process;
mod protocol;
mod spawn;
mod step;
mod transform;
mod tree;
mod wrap;

pub use error::PyError;
pub use options::PyOptions;
pub use pool::{PyPool, PyPools};
pub use process::Process;
pub use step::{DatasetFiles, StepCall, StepEvent, StepResult, StepSink};
pub use transform::{Mode, Printed, Transform, Transformed};
pub use wrap::WrapCall;
