//! Stopping the statements of a connection when nobody waits for them any more.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use duckdb::{Connection, InterruptHandle};

/// How long an interrupted statement goes on before it is told again.
const TOLD_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// Stops the statements of a connection when it is dropped before the work is done.
pub struct Stop {
    interrupt: Arc<InterruptHandle>,
    stopped: Arc<AtomicBool>,
    done: Arc<AtomicBool>,
}

impl std::fmt::Debug for Stop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stop").field("done", &self.done).finish_non_exhaustive()
    }
}

impl Stop {
    /// Of the statements of a connection.
    pub fn of(connection: &Connection) -> Self {
        Self { interrupt: connection.interrupt_handle(), stopped: Arc::default(), done: Arc::default() }
    }

    /// Whether it was stopped.
    pub fn stopped(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stopped)
    }

    /// Says, when it is dropped, that the work is done.
    pub fn done(&self) -> Done {
        Done(Arc::clone(&self.done))
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        if self.done.load(SeqCst) {
            return;
        }
        self.stopped.store(true, SeqCst);
        let (interrupt, done) = (Arc::clone(&self.interrupt), Arc::clone(&self.done));
        // A statement that was about to begin when it was told forgets it: it is told until the work is done.
        std::thread::spawn(move || {
            while !done.load(SeqCst) {
                interrupt.interrupt();
                std::thread::sleep(TOLD_AGAIN_AFTER);
            }
        });
    }
}

/// Says that the work is done, also where it panics.
#[derive(Debug)]
pub struct Done(Arc<AtomicBool>);

impl Drop for Done {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}
