//! What is running, failing, waiting and stale, on one page.

use serde_json::Value;

use super::{
    Session,
    features::{failed, stored},
    monitors::subject,
};
use crate::{
    failure::Done,
    output::{self, count, facts, instant, plain, seconds, text},
};

/// `tidemill status`
pub(crate) async fn status(session: &Session) -> Done {
    let mut status = session.client.get("/v1/status").await?;
    status["server"] = session.places.server.as_str().into();
    Ok(output::object(session.format, &status, "/project", page)?)
}

fn page(status: &Value) -> String {
    let project = plain(&status["project"]);
    if project.is_empty() {
        let server = plain(&status["server"]);
        return format!("nothing is declared yet at {server}; next: tidemill init NAME, then tidemill apply");
    }
    let rows = |name: &str| status[name].as_array().map(Vec::as_slice).unwrap_or_default();
    let sum = |field: &str| rows("queue").iter().filter_map(|row| row[field].as_i64()).sum::<i64>();
    let clock = instant(&status["now"]);
    let mut head = vec![
        ("project", project),
        ("server", plain(&status["server"])),
        ("data clock", clock),
        ("workers", workers(rows("workers"))),
        (
            "jobs",
            format!(
                "{} running, {} available, {} scheduled",
                sum("running"),
                sum("available"),
                sum("scheduled")
            ),
        ),
    ];
    head.extend(rows("away").iter().map(|store| {
        let [name, error, meaning] = ["store", "error", "meaning"].map(|field| plain(&store[field]));
        ("away", format!("✗ {name}: {error}; {meaning}"))
    }));
    let about = |run: &Value| {
        format!("{} {} {}", plain(&run["id"]), plain(&run["pipeline"]), instant(&run["logical_time"]))
    };
    head.extend(rows("running").iter().map(|run| ("running", format!("▶ {}", about(run)))));
    head.extend(rows("failed").iter().map(|run| {
        let error = run.pointer("/fault/message").map(plain).unwrap_or_default();
        ("failed", format!("✗ {}: {}", about(run), error.lines().next().unwrap_or_default()))
    }));
    head.extend(
        rows("views")
            .iter()
            .filter(|view| !view["failed"].is_null())
            .map(|view| ("failed", format!("✗ view {}: {}", plain(&view["view"]), failed(view)))),
    );
    head.extend(
        rows("incidents").iter().map(|incident| {
            ("incident", format!("! {}: {}", subject(incident), plain(&incident["summary"])))
        }),
    );
    head.extend(serving(&status["serving"]).into_iter().map(|line| ("serving", line)));
    let sources = [
        text("SOURCE", "/name"),
        text("ROWS", "/rows").by(count),
        text("DEAD LETTERS", "/dead_letters").by(count),
        text("NEWEST EVENT", "/newest_event").by(instant),
    ];
    let views = [
        text("VIEW", "/view"),
        text("VERSION", "/version"),
        text("ROWS", "").by(stored),
        text("FRESHNESS", "/status"),
        text("AGE", "/age_seconds").by(seconds),
        text("COMMITS BEHIND", "/commits_behind").by(count),
        text("SINCE", "/backlog/seconds").by(seconds),
    ];
    let schedules =
        [text("SCHEDULE", "/name"), text("NEXT", "/next_at").by(instant), text("PAUSED", "/paused")];
    facts(&head)
        + &output::section("sources", &status["sources"], &sources)
        + &output::section("feature views", &status["views"], &views)
        + &output::section("schedules", &status["schedules"], &schedules)
}

/// How many processes serve, and a line for each version that one of them can't serve.
fn serving(serving: &Value) -> Vec<String> {
    if let Some(problem) = serving["problem"].as_str() {
        return vec![format!("! not known: {problem}")];
    }
    let rows = |name: &str| serving[name].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut lines = vec![match rows("processes").len() {
        0 => "none; nobody predicts: tidemill serve".to_owned(),
        1 => "1 process".to_owned(),
        more => format!("{more} processes"),
    }];
    let failed = rows("versions").iter().filter(|row| row["state"] == "failed");
    lines.extend(failed.map(|row| {
        let (model, version, address) =
            (plain(&row["model"]), plain(&row["version"]), plain(&row["address"]));
        format!("! {model} v{version} at {address}: {}", plain(&row["reason"]))
    }));
    lines
}

fn workers(workers: &[Value]) -> String {
    if workers.is_empty() {
        return "none; jobs wait: tidemill worker".to_owned();
    }
    let sum = |field: &str| workers.iter().filter_map(|worker| worker[field].as_i64()).sum::<i64>();
    format!("{}, {} of {} slots busy", workers.len(), sum("running"), sum("slots"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_glance_shows_what_runs_what_fails_and_what_is_stale() {
        let run = |id: &str| {
            json!({ "id": id, "pipeline": "train_daily", "logical_time": "2013-06-01T04:00:00Z",
            "fault": { "message": "MemoryError\nmore" } })
        };
        let status = json!({
            "project": "flights", "server": "http://127.0.0.1:7433", "now": "2013-06-01T04:00:00Z",
            "workers": [{ "running": 1, "slots": 4 }, { "running": 0, "slots": 4 }],
            "queue": [{ "kind": "python", "running": 1, "available": 2, "scheduled": 0 }],
            "away": [{ "store": "redis", "error": "redis did not answer: connection refused", "meaning": "jobs wait" }],
            "running": [run("run_1")], "failed": [run("run_2")],
            "incidents": [
                { "monitor": "drift", "summary": "psi prediction 0.36 (limit 0.2)" },
                { "model": "late", "summary": "version 2 at 127.0.0.1:7436: [TM0707] No module named 'shape'" },
            ],
            "sources": [{ "name": "weather", "rows": 10_854, "dead_letters": 0, "newest_event": null }],
            "views": [{ "view": "origin_load", "kind": "windows", "version": 1, "offline_rows": 54_000, "status": "stale",
                        "age_seconds": 90_000.0, "commits_behind": 1 }],
            "serving": { "problem": null, "processes": ["127.0.0.1:7436"], "versions": [
                { "model": "late", "version": 1, "address": "127.0.0.1:7436", "state": "ready", "reason": null },
                { "model": "late", "version": 2, "address": "127.0.0.1:7436", "state": "failed",
                  "reason": "[TM0707] No module named 'shape'" },
            ] },
            "schedules": [{ "name": "pipeline/train_daily", "next_at": "2013-06-01T07:30:00Z", "paused": false }],
        });
        insta::assert_snapshot!(page(&status));
        assert!(page(&json!({ "project": "" })).contains("tidemill apply"));
    }
}
