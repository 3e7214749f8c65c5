//! One run for people: what happened, where, what is kept, and the next command.

use serde_json::{Value, json};

use super::next::next;
use crate::output::{instant, plain, seconds};

/// The page of a run.
pub(super) fn run(page: &Value) -> String {
    let state = plain(&page["state"]);
    let took = if page["seconds"].is_null() {
        String::new()
    } else {
        format!(" after {}", seconds(&page["seconds"]))
    };
    let day = instant(&page["logical_time"]);
    let what = format!("{} {day}", plain(&page["pipeline"]));
    let mut lines =
        vec![format!("run {}  {}   {}{took}", plain(&page["id"]), what.trim_end(), state.to_uppercase())];
    let steps = page["step_list"].as_array().map(Vec::as_slice).unwrap_or_default();
    let width = steps.iter().map(|step| plain(&step["name"]).chars().count()).max().unwrap_or(0);
    for each in steps {
        step(each, width, &mut lines);
    }
    if matches!(state.as_str(), "failed" | "cancelled") {
        ending(page, steps, &mut lines);
    }
    lines.join("\n")
}

fn step(step: &Value, width: usize, lines: &mut Vec<String>) {
    let state = plain(&step["state"]);
    let attempts = step["attempts"].as_array().map(Vec::as_slice).unwrap_or_default();
    let how = match state.as_str() {
        "completed" => attempts.last().and_then(took).unwrap_or_default(),
        "failed" => format!("attempt {}: {}", attempts.len(), said(&step["fault"])),
        "retryable" => format!("attempt {} failed, waits to be repeated", attempts.len()),
        other => other.to_owned(),
    };
    let name = plain(&step["name"]);
    lines.push(format!("  {} {name:width$}  {how}  ({})", mark(&state), plain(&step["kind"])));
    // What went wrong before the last attempt; of the last one the line above tells.
    let earlier =
        if state == "failed" { attempts.split_last().map_or(attempts, |(_, rest)| rest) } else { attempts };
    for attempt in earlier.iter().filter(|attempt| !attempt["fault"].is_null()) {
        lines.push(format!(
            "      attempt {} {}: {}",
            plain(&attempt["attempt"]),
            plain(&attempt["outcome"]),
            said(&attempt["fault"])
        ));
    }
    if let Some(reason) = step["reason"].as_str() {
        lines.push(format!("      because {reason}"));
    }
    for field in ["outputs", "params", "metrics"] {
        if !step[field].is_null() && step[field] != json!({}) {
            lines.push(format!("      {field}  {}", pairs(&step[field])));
        }
    }
    let detail = step.pointer("/fault/detail").map(plain).unwrap_or_default();
    lines.extend(detail.lines().map(|line| format!("      │ {line}")));
}

fn ending(page: &Value, steps: &[Value], lines: &mut Vec<String>) {
    let id = plain(&page["id"]);
    let names = |wanted: &dyn Fn(&&Value) -> bool| {
        steps.iter().filter(wanted).map(|step| plain(&step["name"])).collect::<Vec<_>>().join(", ")
    };
    let kept = names(&|step| step["state"] == "completed");
    let checkpoints = names(&|step| step["state"] != "completed" && !step["checkpoint"].is_null());
    if !kept.is_empty() {
        lines.push(format!("  kept: {kept}"));
    }
    if !checkpoints.is_empty() {
        lines.push(format!("  checkpoint kept: {checkpoints}"));
    }
    let failed = steps.iter().find(|step| step["state"] == "failed").map(|step| plain(&step["name"]));
    let logs = failed.map_or_else(String::new, |step| format!("   or   tidemill logs {id} --step {step}"));
    lines.push(format!("  next: {}{logs}", next(page)));
}

fn said(fault: &Value) -> String {
    let code = fault["code"].as_str().map(|code| format!("[{code}] ")).unwrap_or_default();
    format!("{code}{}", plain(&fault["message"]))
}

fn took(attempt: &Value) -> Option<String> {
    let time = |field: &str| chrono::DateTime::parse_from_rfc3339(attempt[field].as_str()?).ok();
    let took = time("finished_at")? - time("started_at")?;
    Some(seconds(&json!(took.as_seconds_f64())))
}

/// `rows 146722, version 3`
fn pairs(value: &Value) -> String {
    let Some(object) = value.as_object() else { return plain(value) };
    object.iter().map(|(name, value)| format!("{name} {}", plain(value))).collect::<Vec<_>>().join(", ")
}

/// One sign for each state, the same everywhere.
pub(in crate::commands) fn mark(state: &str) -> &'static str {
    match state {
        "completed" => "✓",
        "running" => "▶",
        "skipped" => "–",
        "failed" | "cancelled" => "✗",
        "retryable" => "↻",
        _ => "·",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(number: u32, outcome: &str, seconds: u32, fault: &Value) -> Value {
        json!({
            "attempt": number, "outcome": outcome, "started_at": "2026-01-01T00:00:00Z",
            "finished_at": format!("2026-01-01T00:00:{seconds:02}Z"), "fault": fault,
        })
    }

    #[test]
    fn a_failed_run_says_what_where_what_is_kept_and_what_next() {
        let fault = json!({
            "code": "TM0701", "message": "MemoryError at models/late.py:41",
            "detail": "models/late.py:41 in train\n    booster.update()",
        });
        let none = Value::Null;
        let page = json!({
            "id": "run_1", "pipeline": "train_daily", "logical_time": "2013-06-01T04:00:00Z", "state": "failed",
            "seconds": 72.0, "fault": fault,
            "step_list": [
                { "name": "data", "kind": "dataset.build", "state": "completed", "fault": none, "reason": none,
                  "outputs": { "dataset": "dst_1", "rows": 146_722 }, "checkpoint": none,
                  "attempts": [attempt(1, "completed", 4, &none)] },
                { "name": "train", "kind": "python", "state": "failed", "fault": fault, "reason": none,
                  "outputs": none, "metrics": { "auc": 0.76 }, "checkpoint": 120,
                  "attempts": [attempt(1, "failed", 9, &fault), attempt(2, "failed", 9, &fault)] },
                { "name": "register", "kind": "model.register", "state": "pending", "fault": none, "reason": none,
                  "outputs": none, "checkpoint": none, "attempts": [] },
                { "name": "rollout", "kind": "model.promote", "state": "skipped", "fault": none,
                  "reason": "its condition is false", "outputs": none, "checkpoint": none, "attempts": [] },
            ],
        });
        insta::assert_snapshot!(run(&page));
    }

    #[test]
    fn what_a_step_declares_is_mended_by_applying_it_and_by_another_run() {
        for (code, next) in [
            ("TM0324", "  next: tidemill apply && tidemill run nightly"),
            ("TM0704", "  next: tidemill retry run_1"),
        ] {
            let page =
                json!({ "id": "run_1", "pipeline": "nightly", "state": "failed", "fault": { "code": code } });
            assert_eq!(run(&page).lines().last(), Some(next), "{code}");
        }
    }
}
