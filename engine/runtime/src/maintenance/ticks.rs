//! Which of a schedule's due ticks fire, by its catch-up and overlap policies. Pure.
//!
//! A tick that has to wait for an unfinished run is stored nowhere: the schedule just doesn't move past it.

use std::time::Duration;

use serde_json::Value;
use tidemill_core::{CatchUp, JobError, Overlap, Schedule, Time};
use tidemill_store::{ScheduleRow, TickOutcome};

/// Missed ticks are recorded for people; of a minute's schedule after a year nobody reads more.
const MISSED_MAX: usize = 100;
const CENTURY: Duration = Duration::from_hours(100 * 366 * 24);

/// What to do about a due schedule.
#[derive(Clone, Debug, PartialEq)]
pub struct TickPlan {
    /// Ticks to record, oldest first; those that fire start a run.
    pub ticks: Vec<(Time, TickOutcome)>,
    /// Unfinished runs of earlier ticks are cancelled first.
    pub cancel_open: bool,
    /// Where the schedule stands afterwards; in the past while a tick waits.
    pub next_at: Time,
}

/// Plans the ticks from `row.next_at` to `now`, both included, while `open` runs of earlier ticks are unfinished.
///
/// With overlap `queue_all` every tick waits for its turn, so there is nothing to catch up.
///
/// # Errors
/// The row's cron line, time zone or a policy isn't one.
pub fn plan_ticks(row: &ScheduleRow, open: usize, now: Time) -> Result<TickPlan, JobError> {
    if row.next_at > now {
        return Ok(TickPlan { ticks: Vec::new(), cancel_open: false, next_at: row.next_at });
    }
    let schedule = Schedule::new(&row.cron, &row.timezone).map_err(JobError::discard)?;
    let overlap: Overlap = policy(&row.overlap)?;
    let catch_up = if overlap == Overlap::QueueAll { CatchUp::All } else { policy(&row.catchup)? };

    let before = row.next_at - Duration::from_micros(1);
    let wanted: Vec<Time> = schedule.catch_up(catch_up, before, now).iter().map(|tick| tick.at).collect();
    let after = |at: Time| schedule.next_after(at).map_or(at + CENTURY, |tick| tick.at);
    let past_all = match (catch_up, wanted.last()) {
        // What one look doesn't list, the next one finds.
        (CatchUp::All, Some(last)) => after(*last),
        _ => after(now),
    };

    let mut ticks = missed(&schedule, before, wanted.first().copied().unwrap_or(past_all).min(now), &wanted);
    let free = usize::from(open == 0);
    let (fired, rest) = match overlap {
        Overlap::Allow => (wanted.len(), Rest::Skip),
        Overlap::CancelOther => (0, Rest::FireNewest),
        Overlap::Skip => (free.min(wanted.len()), Rest::Skip),
        Overlap::QueueOne => (free.min(wanted.len()), Rest::KeepNewest),
        Overlap::QueueAll => (free.min(wanted.len()), Rest::KeepAll),
    };
    let (now_fired, later) = wanted.split_at(fired);
    ticks.extend(now_fired.iter().map(|at| (*at, TickOutcome::Fired)));
    let skip = |at: &Time| (*at, TickOutcome::Skipped);
    let next_at = match (rest, later.split_last()) {
        (_, None) => past_all,
        (Rest::Skip, Some(_)) => {
            ticks.extend(later.iter().map(skip));
            past_all
        }
        (Rest::FireNewest, Some((newest, others))) => {
            ticks.extend(others.iter().map(skip));
            ticks.push((*newest, TickOutcome::Fired));
            past_all
        }
        (Rest::KeepNewest, Some((newest, others))) => {
            ticks.extend(others.iter().map(skip));
            *newest
        }
        (Rest::KeepAll, Some(_)) => later[0],
    };
    Ok(TickPlan { ticks, cancel_open: overlap == Overlap::CancelOther && open > 0, next_at })
}

/// What becomes of due ticks that don't fire right away.
enum Rest {
    Skip,
    FireNewest,
    KeepNewest,
    KeepAll,
}

/// The newest of the due ticks in `(before, upto]` that the catch-up policy lets go.
fn missed(schedule: &Schedule, before: Time, upto: Time, wanted: &[Time]) -> Vec<(Time, TickOutcome)> {
    let mut missed: Vec<Time> = schedule.due(before, upto).map(|tick| tick.at).collect();
    missed.retain(|at| !wanted.contains(at));
    missed.drain(..missed.len().saturating_sub(MISSED_MAX));
    missed.into_iter().map(|at| (at, TickOutcome::Missed)).collect()
}

fn policy<P: serde::de::DeserializeOwned>(word: &str) -> Result<P, JobError> {
    serde_json::from_value(Value::String(word.to_owned())).map_err(JobError::discard)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(day: u32) -> Time {
        format!("2013-06-{day:02}T00:00:00Z").parse().unwrap()
    }

    fn daily(catchup: &str, overlap: &str) -> ScheduleRow {
        ScheduleRow {
            name: "pipeline/daily".to_owned(),
            cron: "0 0 * * *".to_owned(),
            timezone: "UTC".to_owned(),
            catchup: catchup.to_owned(),
            overlap: overlap.to_owned(),
            target: Value::Null,
            paused: false,
            next_at: at(1),
            last_tick: None,
            last_outcome: None,
            last_run: None,
        }
    }

    /// The plan at midnight of `day`, as `+1 ~2 !3 → 4`: fired, skipped, missed, where it stands.
    fn check(catchup: &str, overlap: &str, open: usize, day: u32, expected: &str) {
        let plan = plan_ticks(&daily(catchup, overlap), open, at(day)).unwrap();
        let day_of = |at: Time| at.format("%-d").to_string();
        let mark = |outcome: &TickOutcome| match outcome {
            TickOutcome::Fired => '+',
            TickOutcome::Skipped => '~',
            TickOutcome::Missed => '!',
        };
        let mut words: Vec<String> =
            plan.ticks.iter().map(|(at, outcome)| format!("{}{}", mark(outcome), day_of(*at))).collect();
        words.push(format!("→ {}", day_of(plan.next_at)));
        assert_eq!(words.join(" "), expected, "{catchup} {overlap} open={open}");
        assert_eq!(plan.cancel_open, overlap == "cancel_other" && open > 0);
    }

    #[test]
    fn catch_up_decides_which_missed_ticks_fire() {
        check("all", "allow", 0, 3, "+1 +2 +3 → 4");
        check("last", "allow", 0, 3, "!1 !2 +3 → 4");
        check("none", "allow", 0, 3, "!1 !2 +3 → 4");
        check("last", "allow", 0, 1, "+1 → 2");
    }

    #[test]
    fn overlap_decides_what_an_unfinished_run_means() {
        check("all", "allow", 1, 2, "+1 +2 → 3");
        check("all", "skip", 0, 2, "+1 ~2 → 3");
        check("all", "skip", 1, 2, "~1 ~2 → 3");
        check("all", "queue_one", 0, 3, "+1 ~2 → 3");
        check("all", "queue_one", 1, 3, "~1 ~2 → 3");
        check("all", "queue_one", 0, 1, "+1 → 2");
        check("all", "queue_all", 0, 3, "+1 → 2");
        check("last", "queue_all", 1, 3, "→ 1");
        check("all", "cancel_other", 1, 3, "~1 ~2 +3 → 4");
        check("last", "skip", 1, 3, "!1 !2 ~3 → 4");
    }

    #[test]
    fn before_the_next_tick_nothing_is_due() {
        let row = ScheduleRow { next_at: at(5), ..daily("all", "skip") };
        assert_eq!(
            plan_ticks(&row, 1, at(4)).unwrap(),
            TickPlan { ticks: vec![], cancel_open: false, next_at: at(5) }
        );
    }

    #[test]
    fn missed_ticks_of_a_long_past_are_not_all_recorded() {
        let row = ScheduleRow { cron: "* * * * *".to_owned(), ..daily("last", "skip") };
        let plan = plan_ticks(&row, 0, at(2)).unwrap();
        assert_eq!(plan.ticks.len(), MISSED_MAX + 1);
        assert_eq!(plan.ticks.last(), Some(&(at(2), TickOutcome::Fired)));
    }
}
