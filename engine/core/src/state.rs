//! Life cycles, as words: the same in code, SQL and output.

use serde::{Deserialize, Serialize};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl $name {
            /// Every state, in the order of a life.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word that SQL and output use.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = UnknownState;

            fn from_str(text: &str) -> Result<Self, UnknownState> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(UnknownState(text.to_owned())),
                }
            }
        }
    };
}

/// The text names no state of this life cycle.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a state")]
pub struct UnknownState(pub String);

words!(/// The life of a step of a run.
StepState {
    /// Waits for other steps.
    Pending = "pending",
    /// Its job waits for its time.
    Scheduled = "scheduled",
    /// Its job may be claimed.
    Available = "available",
    /// Its job is under a lease.
    Running = "running",
    /// Its job failed and waits for the next attempt.
    Retryable = "retryable",
    /// Done, its outputs can be read.
    Completed = "completed",
    /// Its condition was false, or a step it needs was skipped.
    Skipped = "skipped",
    /// Its job was discarded.
    Failed = "failed",
    /// Stopped with its run.
    Cancelled = "cancelled",
});

words!(/// The life of a run.
RunState {
    /// Some step is not final.
    Running = "running",
    /// No new step starts until it is resumed.
    Paused = "paused",
    /// Every step completed or was skipped.
    Completed = "completed",
    /// A step failed.
    Failed = "failed",
    /// Stopped by a person.
    Cancelled = "cancelled",
});

impl StepState {
    /// Whether nothing will change any more, short of a retry by a person.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Skipped | Self::Failed | Self::Cancelled)
    }
}

impl RunState {
    /// Whether nothing will change any more, short of a retry by a person.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}
