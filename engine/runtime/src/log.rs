//! Log lines of one attempt on their way to the store.
//!
//! Lines are numbered when they are taken from the buffer, and a write that failed is repeated with the same
//! numbers, so none is doubled or lost while the database is away. Memory is bounded.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicI64, Ordering},
};

use tidemill_core::{RunId, Time};
use tidemill_store::{Error, NewLogLine, Store};

/// The store keeps 10,000 lines of an attempt; more are not held back for it.
const LINES_MAX: usize = 10_000;

#[derive(Debug)]
pub(crate) struct LogBuffer {
    waiting: Mutex<Vec<NewLogLine>>,
    /// Lines written so far; held while a write is under way, so that writes keep their order.
    written: tokio::sync::Mutex<usize>,
    last_progress: AtomicI64,
}

impl Default for LogBuffer {
    fn default() -> Self {
        let (waiting, written) = (Mutex::default(), tokio::sync::Mutex::default());
        Self { waiting, written, last_progress: AtomicI64::new(i64::MIN) }
    }
}

impl LogBuffer {
    pub(crate) fn push(&self, at: Time, text: &str) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for line in text.lines() {
            if waiting.len() < LINES_MAX {
                waiting.push(NewLogLine { at, line: line.to_owned() });
            }
        }
    }

    /// Whether a second has passed since the last progress that was due.
    pub(crate) fn progress_due(&self, now: Time) -> bool {
        let (now, last) = (now.timestamp(), self.last_progress.load(Ordering::Relaxed));
        now > last
            && self.last_progress.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    pub(crate) async fn flush(
        &self,
        store: &Store,
        run: RunId,
        step: &str,
        attempt: u32,
    ) -> Result<(), Error> {
        let mut written = self.written.lock().await;
        let lines = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if lines.is_empty() {
            return Ok(());
        }
        let first = i32::try_from(*written + 1).unwrap_or(i32::MAX);
        store.append_log(run, step, attempt, first, &lines).await?;
        *written += lines.len();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).drain(..lines.len());
        Ok(())
    }
}
