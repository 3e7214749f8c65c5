//! Waiting for a run to end, with its progress on standard error.

use std::time::{Duration, Instant};

use serde_json::Value;
use tidemill_core::Fault;

use super::{
    Session,
    runs::{mark, next},
};
use crate::{
    client::segment,
    failure::{FAILED, Failure, INTERRUPTED, TIMED_OUT, UNREACHABLE},
    output::{plain, seconds},
};

/// How long a server may be silent while a run is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// Runs of more steps are told by their number, and not at every change.
const STEPS_NAMED_MAX: usize = 8;
/// Between two lines about such a run.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// Said meanwhile.
const SILENT: &str = "  the server does not answer; waiting for it";

/// Waits until the run has ended, prints it, and fails when it did.
pub(crate) async fn wait_for(session: &Session, run: &str) -> Result<Value, Failure> {
    let started = Instant::now();
    let mut silent_since = started;
    let mut said_at: Option<Instant> = None;
    let mut shown = String::new();
    let mut looks = tokio::time::interval(Duration::from_millis(150));
    loop {
        tokio::select! {
            _ = looks.tick() => {}
            _ = tokio::signal::ctrl_c() => {
                session.say(format!("\nthe run goes on; follow it with: tidemill runs show {run}"));
                return Err(Failure::new(INTERRUPTED, Fault::new("")));
            }
        }
        if session.wait.is_some_and(|limit| started.elapsed() > limit) {
            let fault = Fault::coded(103, format!("{run} has not ended in time"))
                .hint(format!("it goes on; follow it with: tidemill runs show {run}"));
            return Err(Failure::new(TIMED_OUT, fault));
        }
        let page = match session.client.get(&format!("/v1/runs/{}", segment(run))).await {
            Ok(page) => page,
            // The work goes on without the control plane; so does the wait, for a while.
            Err(failure) if failure.exit == UNREACHABLE && silent_since.elapsed() < PATIENCE => {
                if shown != SILENT {
                    session.say(SILENT);
                    SILENT.clone_into(&mut shown);
                }
                continue;
            }
            Err(failure) => return Err(failure),
        };
        silent_since = Instant::now();
        let line = progress(&page);
        let many = page["step_list"].as_array().is_some_and(|steps| steps.len() > STEPS_NAMED_MAX);
        let due = !many || page["state"] != "running" || said_at.is_none_or(|at| at.elapsed() >= LINE_EVERY);
        if line != shown && due {
            session.say(&line);
            shown = line;
            said_at = Some(Instant::now());
        }
        match page["state"].as_str() {
            Some("completed") => return Ok(page),
            Some("failed" | "cancelled") => return Err(ended_badly(&page)),
            _ => {}
        }
    }
}

/// `✓ data  ▶ train  · register`, or `✓ 37 of 201 steps  ▶ 4`.
fn progress(page: &Value) -> String {
    let steps = page["step_list"].as_array().map(Vec::as_slice).unwrap_or_default();
    if steps.len() > STEPS_NAMED_MAX {
        let of = |state: &str| steps.iter().filter(|step| step["state"] == state).count();
        let (done, running, failed) = (of("completed"), of("running"), of("failed"));
        let counted = |mark: &str, count: usize| match count {
            0 => String::new(),
            _ => format!("  {mark} {count}"),
        };
        let rest = counted("▶", running) + &counted("✗", failed);
        return format!("  ✓ {done} of {} steps{rest}", steps.len());
    }
    let step = |step: &Value| {
        let mark = mark(step["state"].as_str().unwrap_or_default());
        format!("{mark} {}", plain(&step["name"]))
    };
    format!("  {}", steps.iter().map(step).collect::<Vec<_>>().join("  "))
}

/// How it ended, and what to do next.
fn ended_badly(page: &Value) -> Failure {
    let run = plain(&page["id"]);
    let mut failed =
        page["step_list"].as_array().into_iter().flatten().filter(|step| step["state"] == "failed");
    let mut fault = serde_json::from_value::<Fault>(page["fault"].clone())
        .unwrap_or_else(|_| Fault::new(format!("{run} was {}", plain(&page["state"]))));
    if let Some(step) = failed.next() {
        let attempts = step["attempts"].as_array().map_or(0, Vec::len);
        fault.message = format!(
            "{} failed after {}: step `{}`, attempt {attempts}: {}",
            plain(&page["pipeline"]),
            seconds(&page["seconds"]),
            plain(&step["name"]),
            fault.message
        );
    }
    let next = format!("{}   or   tidemill logs {run}", next(page));
    let hint = fault.hint.take().map_or_else(|| next.clone(), |hint| format!("{hint}\nthen: {next}"));
    Failure::new(FAILED, fault.hint(hint))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_failed_run_says_where_and_what_next() {
        let page = json!({
            "id": "run_1", "pipeline": "train_daily", "state": "failed", "seconds": 72.0,
            "fault": { "code": "TM0702", "message": "MemoryError", "hint": "raise `resources.memory`" },
            "step_list": [
                { "name": "data", "state": "completed", "attempts": [{}] },
                { "name": "train", "state": "failed", "attempts": [{}, {}, {}] },
                { "name": "register", "state": "pending", "attempts": [] },
            ],
        });
        assert_eq!(progress(&page), "  ✓ data  ✗ train  · register");
        let chunks: Vec<Value> =
            (0..9).map(|n| json!({ "state": if n < 5 { "completed" } else { "running" } })).collect();
        assert_eq!(progress(&json!({ "step_list": chunks })), "  ✓ 5 of 9 steps  ▶ 4");
        let failure = ended_badly(&page);
        assert_eq!(failure.exit, FAILED);
        assert_eq!(
            failure.fault.message,
            "train_daily failed after 1m 12s: step `train`, attempt 3: MemoryError"
        );
        let hint = failure.fault.hint.unwrap();
        assert_eq!(hint, "raise `resources.memory`\nthen: tidemill retry run_1   or   tidemill logs run_1");
    }
}
