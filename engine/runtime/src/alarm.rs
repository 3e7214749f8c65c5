//! Notices that a part of the worker has panicked: a worker that only seems to live is worse than one that ends.

use std::{
    sync::{Arc, OnceLock},
    thread,
};

use tokio_util::sync::CancellationToken;

/// Shared by the parts of one worker.
#[derive(Clone, Debug, Default)]
pub(crate) struct Alarm {
    fallen: Arc<OnceLock<&'static str>>,
    rung: CancellationToken,
}

/// Held by a part for as long as it runs.
#[derive(Debug)]
pub(crate) struct Watched {
    alarm: Alarm,
    part: &'static str,
}

impl Alarm {
    /// Rings when the returned value is dropped by a panic.
    pub(crate) fn watch(&self, part: &'static str) -> Watched {
        Watched { alarm: self.clone(), part }
    }

    /// Returns the part that has panicked, once one has. Its message is on standard error.
    pub(crate) async fn rung(&self) -> &'static str {
        self.rung.cancelled().await;
        self.fallen.get().copied().unwrap_or("a part")
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if thread::panicking() && self.alarm.fallen.set(self.part).is_ok() {
            self.alarm.rung.cancel();
        }
    }
}
