//! From how an attempt went to what the store is told. Pure.

use std::time::Duration;

use serde_json::Value;
use tidemill_core::{AttemptPolicy, Fault, JobError, Time};
use tidemill_store::Ending;

use crate::stop::StopReason;

/// How an attempt ended, for whoever ran it.
#[derive(Clone, Debug, PartialEq)]
pub enum Ended {
    /// The store has still to be told.
    Settle(Ending),
    /// The job told the store itself.
    Committed,
    /// The lease is another's: there is nothing to tell.
    Abandoned,
}

/// A job that got through.
#[derive(Debug)]
pub(crate) enum Done {
    Completed(Value),
    Skipped(String),
    Committed,
}

/// What a verdict depends on besides the error.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    pub(crate) policy: AttemptPolicy,
    /// Attempts charged before this one.
    pub(crate) charged: u32,
    /// Attempts before this one that were not charged.
    pub(crate) waited: u32,
    pub(crate) first_started_at: Time,
    pub(crate) now: Time,
    /// The attempt saved a checkpoint that differs from the one it began with.
    pub(crate) progressed: bool,
    /// In `[0, 1)`.
    pub(crate) chance: f64,
    /// The database was started again meanwhile: a failure is not the job's own.
    pub(crate) interrupted: bool,
}

/// How long a job waits that a restart of the database has failed, up to twice as long by chance.
const AFTER_RESTART: Duration = Duration::from_millis(500);

/// How long a job waits whose server is away: twice as long each time, and up to half of it less by chance.
const AWAY_FIRST: Duration = Duration::from_millis(500);
const AWAY_MAX: Duration = Duration::from_secs(10);

/// The wait before the next look at a server that was away `waited` times before.
pub(crate) fn pause(waited: u32, chance: f64) -> Duration {
    let full = AWAY_FIRST.saturating_mul(1 << waited.min(16)).min(AWAY_MAX);
    full.mul_f64(1.0 - chance / 2.0)
}

/// So often an attempt whose process ended after a new checkpoint is not charged: code that saves something new
/// each time and never gets further must end too.
const PROGRESS_MAX: u32 = 100;

/// So often a job that met another transaction is not charged, what it waited for otherwise included: two that meet each
/// time must end too.
const CONFLICTS_MAX: u32 = 20;

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
        JobError::Conflict(fault) if facts.waited < CONFLICTS_MAX => {
            Ending::Snooze(pause(0, facts.chance), format!("another transaction was in the way: {fault}"))
        }
        JobError::Retry(fault) | JobError::Died(fault) if facts.interrupted => {
            let delay = AFTER_RESTART.mul_f64(1.0 + facts.chance);
            Ending::Snooze(delay, format!("the database was restarted: {}", fault.message))
        }
        JobError::Died(fault) if facts.progressed && facts.waited < PROGRESS_MAX => {
            Ending::Snooze(pause(0, facts.chance), format!("continues from a new checkpoint: {fault}"))
        }
        JobError::Retry(fault) | JobError::Died(fault) | JobError::Conflict(fault) => {
            let elapsed = (facts.now - facts.first_started_at).to_std().unwrap_or(Duration::ZERO);
            match facts.policy.retry.delay_after(facts.charged + 1, elapsed, facts.chance) {
                Some(delay) => Ending::Retry(delay, fault),
                None => Ending::Discard(fault),
            }
        }
        JobError::Unavailable(fault) => {
            Ending::Snooze(pause(facts.waited, facts.chance), format!("waits for a server: {fault}"))
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
        Facts {
            policy,
            charged,
            waited: 0,
            first_started_at: now,
            now,
            progressed: false,
            chance: 0.0,
            interrupted: false,
        }
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
        assert_eq!(reason, "the database was restarted: connection reset");
        let own = conclude(Err(JobError::Discard(Fault::new("bad args"))), None, &last);
        assert!(matches!(own, Ended::Settle(Ending::Discard(_))));
    }

    #[test]
    fn a_server_that_is_away_is_waited_for_however_long_and_charges_nobody() {
        for (waited, seconds) in [(0, 0.5), (1, 1.0), (4, 8.0), (5, 10.0), (1000, 10.0)] {
            let last = Facts { waited, ..facts(2) };
            let away = JobError::Unavailable(Fault::coded(612, "redis did not answer"));
            let Ended::Settle(Ending::Snooze(delay, reason)) = conclude(Err(away), None, &last) else {
                panic!("it comes again");
            };
            assert_eq!(delay.as_secs_f64(), seconds);
            assert_eq!(reason, "waits for a server: [TM0612] redis did not answer");
        }
    }

    #[test]
    fn another_transaction_in_the_way_charges_nobody_unless_it_always_is() {
        let met = || Err(JobError::Conflict(Fault::new("deadlock detected")));
        let Ended::Settle(Ending::Snooze(delay, reason)) = conclude(met(), None, &facts(2)) else {
            panic!("it comes again");
        };
        assert_eq!(delay, AWAY_FIRST);
        assert_eq!(reason, "another transaction was in the way: deadlock detected");
        let again = Facts { waited: CONFLICTS_MAX, ..facts(0) };
        assert!(matches!(conclude(met(), None, &again), Ended::Settle(Ending::Retry(..))));
        let for_ever = Facts { waited: CONFLICTS_MAX, ..facts(2) };
        assert!(matches!(conclude(met(), None, &for_ever), Ended::Settle(Ending::Discard(_))));
    }

    #[test]
    fn a_process_that_dies_after_a_new_checkpoint_is_not_charged_and_one_that_gets_nowhere_is() {
        let died = || Err(JobError::Died(Fault::new("the Python process ended: signal 9")));
        let last = facts(2);
        let nowhere = conclude(died(), None, &last);
        assert!(matches!(nowhere, Ended::Settle(Ending::Discard(_))));
        let further = conclude(died(), None, &Facts { progressed: true, ..last });
        assert!(matches!(further, Ended::Settle(Ending::Snooze(..))));
        let for_ever = conclude(died(), None, &Facts { progressed: true, waited: PROGRESS_MAX, ..last });
        assert!(matches!(for_ever, Ended::Settle(Ending::Discard(_))));
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
