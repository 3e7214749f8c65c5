//! How many calls of user code a request has begun, and how long ago the last one did.
//!
//! The worker counts in a page of memory that both sides see: it costs nothing for each row, and it can still be
//! read when the process hangs, holds the interpreter's lock, or is dead.

use std::{fs::File, io, os::unix::fs::FileExt as _, sync::Arc, time::Duration};

use tempfile::{NamedTempFile, TempPath};
use tokio::time::{Instant, MissedTickBehavior, interval};

/// How often it is looked whether a process is alive and goes on.
pub(crate) const WATCH_EVERY: Duration = Duration::from_millis(50);

/// Our side of the count.
#[derive(Clone, Debug)]
pub(crate) struct Calls {
    file: Arc<File>,
}

impl Calls {
    /// A count of 0, and where the worker finds it; the path is needed until the worker has opened it.
    pub(crate) fn new() -> io::Result<(Self, TempPath)> {
        let file = NamedTempFile::with_prefix("tidemill-calls-")?;
        file.as_file().write_all_at(&[0; 8], 0)?;
        let (file, path) = file.into_parts();
        Ok((Self { file: Arc::new(file) }, path))
    }

    /// Before a request: nothing of it has begun.
    pub(crate) fn reset(&self) -> io::Result<()> {
        self.file.write_all_at(&[0; 8], 0)
    }

    /// Calls begun since.
    pub(crate) fn count(&self) -> u64 {
        let mut bytes = [0; 8];
        // A page that can't be read counts nothing: the limit of what comes first holds then.
        let read = self.file.read_exact_at(&mut bytes, 0);
        read.map_or(0, |()| u64::from_le_bytes(bytes))
    }

    /// Returns, with the limit that has passed, once no call has begun for as long as that: `first` for what comes
    /// before the first call, `each` for a call.
    pub(crate) async fn overdue(&self, first: Duration, each: Duration) -> Duration {
        let mut looks = interval(WATCH_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut seen, mut since) = (0, Instant::now());
        loop {
            looks.tick().await;
            let count = self.count();
            if count != seen {
                (seen, since) = (count, Instant::now());
            }
            let limit = if seen == 0 { first } else { each };
            if since.elapsed() >= limit {
                return limit;
            }
        }
    }
}
