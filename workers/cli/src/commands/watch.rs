//! Waiting for a run to end, with its progress on standard error.

use std::time::{Duration, Instant};

use serde_json::Value;
use tidemill_core::Fault;

use super::Session;
use crate::{
    failure::{FAILED, Failure, INTERRUPTED, TIMED_OUT},
    output::{plain, seconds},
};

/// Waits until the run has ended, prints it, and fails when it did.
pub(crate) async fn wait_for(session: &Session, run: &str) -> Result<Value, Failure> {
    let started = Instant::now();
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
        let page = session.client.get(&format!("/v1/runs/{run}")).await?;
        let line = progress(&page);
        if line != shown {
            session.say(&line);
            shown = line;
        }
        match page["state"].as_str() {
            Some("completed") => return Ok(page),
            Some("failed" | "cancelled") => return Err(ended_badly(&page)),
            _ => {}
        }
        if session.wait.is_some_and(|limit| started.elapsed() > limit) {
            let fault = Fault::coded(103, format!("{run} has not ended in time"))
                .hint(format!("tidemill runs show {run}"));
            return Err(Failure::new(TIMED_OUT, fault));
        }
    }
}

/// `✓ data  ▶ train  · register`
fn progress(page: &Value) -> String {
    let steps = page["step_list"].as_array().map(Vec::as_slice).unwrap_or_default();
    let step = |step: &Value| {
        let mark = match step["state"].as_str() {
            Some("completed") => "✓",
            Some("running") => "▶",
            Some("skipped") => "–",
            Some("failed") => "✗",
            Some("retryable") => "↻",
            _ => "·",
        };
        format!("{mark} {}", plain(&step["name"]))
    };
    format!("  {}", steps.iter().map(step).collect::<Vec<_>>().join("  "))
}

fn ended_badly(page: &Value) -> Failure {
    let run = plain(&page["id"]);
    let failed = page["step_list"].as_array().into_iter().flatten().find(|step| step["state"] == "failed");
    let mut fault = serde_json::from_value::<Fault>(page["fault"].clone())
        .unwrap_or_else(|_| Fault::new(format!("{run} was {}", plain(&page["state"]))));
    if let Some(step) = failed {
        let attempts = step["attempts"].as_array().map_or(0, Vec::len);
        fault.message = format!(
            "{} failed after {}: step `{}`, attempt {attempts}: {}",
            plain(&page["pipeline"]),
            seconds(&page["seconds"]),
            plain(&step["name"]),
            fault.message
        );
    }
    let next = format!("tidemill retry {run}   or   tidemill logs {run}");
    let hint = fault.hint.take().map_or_else(|| next.clone(), |hint| format!("{hint}\n  next: {next}"));
    Failure::new(FAILED, fault.hint(hint))
}
