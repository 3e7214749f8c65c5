//! Real time, moved by hand.

use std::{sync::Mutex, time::Duration};

use tidemill_core::{Clock, Time};

/// A clock that stands still until a test moves it.
#[derive(Debug)]
pub struct ManualClock(Mutex<Time>);

impl ManualClock {
    /// A clock that shows `now`.
    pub fn at(now: Time) -> Self {
        Self(Mutex::new(now))
    }

    /// Sets what it shows, forward or backward.
    pub fn set(&self, now: Time) {
        *self.lock() = now;
    }

    /// Moves it forward.
    pub fn advance(&self, by: Duration) {
        *self.lock() += by;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Time> {
        self.0.lock().expect("nothing panics while it holds the clock")
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Time {
        *self.lock()
    }
}
