//! Log lines of one attempt on their way to the store.
//!
//! Lines are numbered when they are taken from the buffer, and a write that failed is repeated with the same
//! numbers, so none is doubled or lost while the database is away. Memory is bounded.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicI64, Ordering},
};

use tidemill_core::{RunId, Time};
use tidemill_store::{Error, NewLogLine, Store, Tx};

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
        let mut waiting = self.lock();
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

    /// Writes what waits in a transaction of its own.
    pub(crate) async fn flush(
        &self,
        store: &Store,
        run: RunId,
        step: &str,
        attempt: u32,
    ) -> Result<(), Error> {
        if self.lock().is_empty() {
            return Ok(());
        }
        // The connection first: whoever has the lock below can go on, and those who wait for it wait for nothing else.
        let mut tx = store.begin().await?;
        if let Some(lines) = self.write(store, &mut tx, run, step, attempt).await? {
            tx.commit().await?;
            lines.kept();
        }
        Ok(())
    }

    /// Writes what waits as part of `tx`; none if nothing does.
    pub(crate) async fn write(
        &self,
        store: &Store,
        tx: &mut Tx,
        run: RunId,
        step: &str,
        attempt: u32,
    ) -> Result<Option<Lines<'_>>, Error> {
        let written = self.written.lock().await;
        let lines = self.lock().clone();
        if lines.is_empty() {
            return Ok(None);
        }
        let first = i32::try_from(*written + 1).unwrap_or(i32::MAX);
        store.append_log(tx, run, step, attempt, first, &lines).await?;
        Ok(Some(Lines { buffer: self, written, count: lines.len() }))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<NewLogLine>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lines in a transaction that is not committed yet. Dropped: they wait on, and are written again.
#[derive(Debug)]
pub(crate) struct Lines<'b> {
    buffer: &'b LogBuffer,
    written: tokio::sync::MutexGuard<'b, usize>,
    count: usize,
}

impl Lines<'_> {
    /// The transaction was committed.
    pub(crate) fn kept(mut self) {
        *self.written += self.count;
        self.buffer.lock().drain(..self.count);
    }
}
