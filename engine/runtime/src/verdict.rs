//! From how an attempt went to what the store is told. Pure.

use std::time::Duration;

use tidemill_core::{AttemptPolicy, Fault, JobError, Time};
use tidemill_store::Ending;

use crate::{
    execute::{Done, Ended},
    stop::StopReason,
};

/// What a verdict depends on besides the error.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    pub(crate) policy: AttemptPolicy,
    /// Attempts charged before this one.
    pub(crate) charged: u32,
    pub(crate) first_started_at: Time,
    pub(crate) now: Time,
    /// In `[0, 1)`.
    pub(crate) chance: f64,
    /// The database was started again meanwhile: a failure is not the job's own.
    pub(crate) interrupted: bool,
}

/// How long a job waits that a restart of the database has failed, up to twice as long by chance.
const AFTER_RESTART: Duration = Duration::from_millis(500);

/// How an attempt ended that didn't commit its own end.
pub(crate) fn conclude(result: Result<Done, JobError>, stop: Option<&StopReason>, facts: &Facts) -> Ended {
    match (result, stop) {
        (_, Some(StopReason::LeaseLost)) => Ended::Abandoned,
        // What was finished before the request was heard stays finished.
        (Ok(Done::Completed(outputs)), _) => Ended::Settle(Ending::Completed(outputs)),
        (Ok(Done::Skipped(reason)), _) => Ended::Settle(Ending::Skipped(reason)),
        (Ok(Done::Committed), _) => {
            let fault = Fault::coded(1007, "the job returned `Committed` without a commit");
            Ended::Settle(Ending::Discard(fault))
        }
        (Err(_), Some(StopReason::Cancelled(reason))) => Ended::Settle(Ending::Cancel(reason.clone())),
        (Err(_), Some(StopReason::Draining)) => {
            Ended::Settle(Ending::Snooze(Duration::ZERO, "its worker shut down".to_owned()))
        }
        (Err(error), None) => Ended::Settle(ending(error, facts)),
    }
}

fn ending(error: JobError, facts: &Facts) -> Ending {
    match error {
        JobError::Retry(fault) if facts.interrupted => {
            let delay = AFTER_RESTART.mul_f64(1.0 + facts.chance);
            Ending::Snooze(delay, format!("the database was started again: {}", fault.message))
        }
        JobError::Retry(fault) => {
            let elapsed = (facts.now - facts.first_started_at).to_std().unwrap_or(Duration::ZERO);
            match facts.policy.retry.delay_after(facts.charged + 1, elapsed, facts.chance) {
                Some(delay) => Ending::Retry(delay, fault),
                None => Ending::Discard(fault),
            }
        }
        JobError::Snooze { until, reason } => {
            Ending::Snooze((until - facts.now).to_std().unwrap_or(Duration::ZERO), reason)
        }
        JobError::Discard(fault) => Ending::Discard(fault),
        JobError::Cancel(reason) => Ending::Cancel(reason),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use tidemill_core::{Clock as _, RetryPolicy, SystemClock};

    use super::*;

    fn facts(charged: u32) -> Facts {
        let retry = RetryPolicy::Fixed { delay: Duration::from_mins(1), max_attempts: 3 };
        let now = SystemClock.now();
        let policy = AttemptPolicy { retry, ..AttemptPolicy::default() };
        Facts { policy, charged, first_started_at: now, now, chance: 0.0, interrupted: false }
    }

    #[test]
    fn a_failure_waits_for_its_backoff_until_attempts_run_out() {
        let fault = Fault::new("no");
        for (charged, again) in [(0, true), (1, true), (2, false)] {
            let facts = facts(charged);
            let expected = if again {
                Ending::Retry(Duration::from_mins(1), fault.clone())
            } else {
                Ending::Discard(fault.clone())
            };
            let ended = conclude(Err(JobError::Retry(fault.clone())), None, &facts);
            assert_eq!(ended, Ended::Settle(expected));
        }
    }

    #[test]
    fn a_restart_of_the_database_charges_nobody() {
        let last = Facts { interrupted: true, ..facts(2) };
        let failed = Err(JobError::Retry(Fault::new("connection reset")));
        let Ended::Settle(Ending::Snooze(delay, reason)) = conclude(failed, None, &last) else {
            panic!("it comes again");
        };
        assert_eq!(delay, AFTER_RESTART);
        assert_eq!(reason, "the database was started again: connection reset");
        let own = conclude(Err(JobError::Discard(Fault::new("bad args"))), None, &last);
        assert!(matches!(own, Ended::Settle(Ending::Discard(_))));
    }

    #[test]
    fn why_it_was_stopped_counts_more_than_how_it_failed() {
        let failed = || Err(JobError::Retry(Fault::new("broken pipe")));
        let facts = facts(0);
        let lost = conclude(failed(), Some(&StopReason::LeaseLost), &facts);
        assert_eq!(lost, Ended::Abandoned);
        let cancelled = conclude(failed(), Some(&StopReason::Cancelled("enough".to_owned())), &facts);
        assert_eq!(cancelled, Ended::Settle(Ending::Cancel("enough".to_owned())));
        let drained = conclude(failed(), Some(&StopReason::Draining), &facts);
        assert!(matches!(drained, Ended::Settle(Ending::Snooze(..))));
    }

    #[test]
    fn what_was_finished_stays_finished() {
        let stop = StopReason::Cancelled("enough".to_owned());
        let ended = conclude(Ok(Done::Completed(Value::Null)), Some(&stop), &facts(0));
        assert_eq!(ended, Ended::Settle(Ending::Completed(Value::Null)));
    }
}
