//! Asking an attempt to stop, and remembering why.

use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;

/// Why an attempt was asked to stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// Another worker holds the job by now, or nobody: whatever this attempt does changes nothing.
    LeaseLost,
    /// A person stopped the run.
    Cancelled(String),
    /// The worker ends, and the attempt took longer than it may wait: another worker goes on.
    Draining,
}

/// A request to stop, shared between an attempt and those who may stop it. The first reason counts.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    token: CancellationToken,
    reason: Arc<OnceLock<StopReason>>,
}

impl Stop {
    /// Asks to stop; repeats change nothing.
    pub fn request(&self, reason: StopReason) {
        if self.reason.set(reason).is_ok() {
            self.token.cancel();
        }
    }

    /// Why, once asked.
    pub fn reason(&self) -> Option<&StopReason> {
        self.reason.get()
    }

    /// Cancelled once asked.
    pub fn token(&self) -> &CancellationToken {
        &self.token
    }
}
