//! The seam at which fault tests reach into an attempt. Nothing else sets a probe.

use futures::future::BoxFuture;

/// What an attempt asks the database for under its lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A checkpoint, alone or with the job's own writes.
    Checkpoint,
    /// The completion together with the job's own writes.
    Commit,
    /// The completion by the worker, after `run` returned.
    Complete,
}

/// What becomes of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interference {
    /// It is done.
    None,
    /// It is not done, and fails.
    Fail,
    /// It is done, and fails all the same.
    LoseReply,
    /// It is not done, and the attempt never hears back: its process died.
    Die,
}

/// Decides what becomes of each operation, in the order in which they are asked for.
pub trait Probe: Send + Sync {
    /// Called before each operation.
    fn at(&self, operation: Operation) -> Interference;

    /// Returns when the attempt's process is to be dead: [`Interference::Die`] was answered within `run`.
    fn died(&self) -> BoxFuture<'_, ()>;
}
