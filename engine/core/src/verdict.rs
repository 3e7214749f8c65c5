//! A job's error carries what shall happen next.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Serialize};

use crate::{Fault, Time};

/// What a job does, e.g. `features.update`. Registered once, in `fleet`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Kind(Cow<'static, str>);

impl Kind {
    /// A kind known when the program is built.
    pub const fn new(name: &'static str) -> Self {
        Self(Cow::Borrowed(name))
    }

    /// The name, as stored in the queue.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for Kind {
    fn from(name: String) -> Self {
        Self(Cow::Owned(name))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why an attempt ended without a result, and what follows. Unknown means retry; invalid input means discard.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum JobError {
    /// May go better next time: the job's retry policy decides when.
    #[error("{0}")]
    Retry(Fault),
    /// Its process ended: like [`JobError::Retry`], and not charged when the attempt had saved a new checkpoint.
    #[error("{0}")]
    Died(Fault),
    /// A server it needs is away: again after a pause that grows to ten seconds, without charging an attempt, for as
    /// long as that takes.
    #[error("{0}")]
    Unavailable(Fault),
    /// Another transaction was in its way: again in a moment, and charged only when that goes on.
    #[error("{0}")]
    Conflict(Fault),
    /// Not now: again at `until` (real time), without charging an attempt.
    #[error("snoozed until {until}: {reason}")]
    Snooze {
        /// Real time of the next try.
        until: Time,
        /// What it waits for.
        reason: String,
    },
    /// Will never go better: dead letter at once.
    #[error("{0}")]
    Discard(Fault),
    /// A person, or the run's end, stopped it.
    #[error("cancelled: {0}")]
    Cancel(String),
}

impl JobError {
    /// A retry whose message is the whole chain of `error`.
    pub fn retry(error: impl std::error::Error) -> Self {
        Self::Retry(Fault::from_error(&error))
    }

    /// A discard whose message is the whole chain of `error`.
    pub fn discard(error: impl std::error::Error) -> Self {
        Self::Discard(Fault::from_error(&error))
    }
}
