//! When a failed attempt is tried again.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// When, if at all, a failed job runs again.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetryPolicy {
    /// One attempt only.
    Never,
    /// The same delay each time.
    Fixed {
        /// Wait between attempts.
        delay: Duration,
        /// All attempts, the first included; at least 1.
        max_attempts: u32,
    },
    /// Delays that double, with up to half of each left to chance.
    Exponential {
        /// Wait after the first failure.
        first: Duration,
        /// No wait is longer.
        max_delay: Duration,
        /// All attempts, the first included; at least 1.
        max_attempts: u32,
        /// No attempt starts later than this after the first one started.
        max_elapsed: Option<Duration>,
    },
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self::Exponential {
            first: Duration::from_secs(1),
            max_delay: Duration::from_mins(5),
            max_attempts: 5,
            max_elapsed: None,
        }
    }
}

impl RetryPolicy {
    /// All attempts it allows, the first included.
    pub fn max_attempts(&self) -> u32 {
        match *self {
            Self::Never => 1,
            Self::Fixed { max_attempts, .. } | Self::Exponential { max_attempts, .. } => max_attempts,
        }
    }

    /// The wait before the next attempt, or `None` when it was the last.
    ///
    /// `failed`: attempts charged so far, at least 1. `elapsed`: since the first attempt started.
    /// `chance`: in `[0, 1)`, drawn by the caller.
    pub fn delay_after(&self, failed: u32, elapsed: Duration, chance: f64) -> Option<Duration> {
        if failed >= self.max_attempts() {
            return None;
        }
        match *self {
            Self::Never => None,
            Self::Fixed { delay, .. } => Some(delay),
            Self::Exponential { first, max_delay, max_elapsed, .. } => {
                let full = first.saturating_mul(1_u32 << failed.saturating_sub(1).min(20)).min(max_delay);
                let delay = full.mul_f64(1.0 - chance.clamp(0.0, 1.0) / 2.0);
                (max_elapsed.is_none_or(|limit| elapsed + delay <= limit)).then_some(delay)
            }
        }
    }
}

/// How a kind of job, or a step, is attempted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct AttemptPolicy {
    /// When a failure is tried again.
    #[serde(default)]
    pub retry: RetryPolicy,
    /// Real time that one attempt may take.
    #[serde(default)]
    pub timeout: Option<Duration>,
    /// Workers that may die under this job in a row before it goes to dead letter; twice as many while others ran
    /// beside it.
    #[serde(default = "default_max_crashes")]
    pub max_crashes: u32,
}

fn default_max_crashes() -> u32 {
    // More than a person kills by hand, or a bad hour of a machine; a job that does it each time gets there soon.
    5
}

impl Default for AttemptPolicy {
    fn default() -> Self {
        Self { retry: RetryPolicy::default(), timeout: None, max_crashes: default_max_crashes() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn delays_stay_within_half_and_the_whole(failed in 1_u32..40, chance in 0.0..1.0_f64) {
            let policy = RetryPolicy::Exponential {
                first: Duration::from_millis(100),
                max_delay: Duration::from_mins(1),
                max_attempts: 50,
                max_elapsed: None,
            };
            let full = Duration::from_millis(100).saturating_mul(1 << (failed - 1).min(20)).min(Duration::from_mins(1));
            let delay = policy.delay_after(failed, Duration::ZERO, chance).unwrap();
            prop_assert!(delay <= full && delay * 2 + Duration::from_nanos(2) >= full);
        }

        #[test]
        fn the_last_attempt_has_no_successor(max_attempts in 1_u32..10) {
            let policy = RetryPolicy::Fixed { delay: Duration::ZERO, max_attempts };
            prop_assert_eq!(policy.delay_after(max_attempts, Duration::ZERO, 0.0), None);
        }
    }
}
