//! Log lines of one attempt on their way to the store.
//!
//! Lines are numbered as they are said, and a write that failed is repeated with the same numbers, so none is doubled
//! or lost while the database is away. Memory is bounded: of more lines than that, the first and the last are kept.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicI64, Ordering},
};

use tidemill_core::{Ends, RunId, Time};
use tidemill_store::{Error, NewLogLine, Store, Tx};

/// Lines of the beginning and of the end that wait for the store; it keeps no more bytes than these have at most.
const LINES_MAX: usize = 4_000;

#[derive(Debug)]
pub(crate) struct LogBuffer {
    waiting: Mutex<Waiting>,
    /// Held while a write is under way, so that writes keep their order.
    writing: tokio::sync::Mutex<()>,
    last_progress: AtomicI64,
}

#[derive(Debug)]
struct Waiting {
    said: i32,
    lines: Ends<NewLogLine>,
}

impl Default for LogBuffer {
    fn default() -> Self {
        let waiting = Mutex::new(Waiting { said: 0, lines: Ends::new(LINES_MAX) });
        Self { waiting, writing: tokio::sync::Mutex::default(), last_progress: AtomicI64::new(i64::MIN) }
    }
}

impl LogBuffer {
    pub(crate) fn push(&self, at: Time, text: &str) {
        let mut waiting = self.lock();
        // Text without a line is an empty one.
        for line in text.lines().chain(text.is_empty().then_some("")) {
            waiting.said = waiting.said.saturating_add(1);
            let line = NewLogLine::new(waiting.said, at, line);
            waiting.lines.push(line);
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
        if self.lock().lines.iter().next().is_none() {
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
        let writing = self.writing.lock().await;
        let lines: Vec<NewLogLine> = self.lock().lines.iter().cloned().collect();
        let Some(last) = lines.last().map(|line| line.number) else { return Ok(None) };
        store.append_log(tx, run, step, attempt, &lines).await?;
        Ok(Some(Lines { buffer: self, last, _writing: writing }))
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lines in a transaction that is not committed yet. Dropped: they wait on, and are written again.
#[derive(Debug)]
pub(crate) struct Lines<'b> {
    buffer: &'b LogBuffer,
    /// Number of the last one.
    last: i32,
    _writing: tokio::sync::MutexGuard<'b, ()>,
}

impl Lines<'_> {
    /// The transaction was committed.
    pub(crate) fn kept(self) {
        self.buffer.lock().lines.retain(|line| line.number > self.last);
    }
}
