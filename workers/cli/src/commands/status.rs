//! What is running, failing, waiting and stale, on one page.

use std::io::Write as _;

use serde_json::Value;

use super::Session;
use crate::{
    failure::Done,
    output::{self, count, instant, plain, seconds},
};

/// `tidemill status`
pub(crate) async fn status(session: &Session) -> Done {
    let status = session.client.get("/v1/status").await?;
    Ok(output::object(session.format, &status, "/project", page)?)
}

fn page(status: &Value) -> String {
    let mut out = Vec::new();
    let rows = |name: &str| status[name].as_array().cloned().unwrap_or_default();
    // Writing to memory does not fail.
    let _ = write_page(&mut out, status, &rows);
    String::from_utf8_lossy(&out).into_owned()
}

fn write_page(out: &mut Vec<u8>, status: &Value, rows: &dyn Fn(&str) -> Vec<Value>) -> std::io::Result<()> {
    writeln!(out, "project {}   data clock {}", plain(&status["project"]), instant(&status["now"]))?;
    let (workers, queue) = (rows("workers"), rows("queue"));
    let sum = |field: &str| queue.iter().filter_map(|row| row[field].as_i64()).sum::<i64>();
    writeln!(
        out,
        "workers {}   jobs: {} running, {} available, {} scheduled",
        workers.len(),
        sum("running"),
        sum("available"),
        sum("scheduled")
    )?;
    for run in rows("running") {
        writeln!(
            out,
            "  ▶ {} {} for {}",
            plain(&run["id"]),
            plain(&run["pipeline"]),
            instant(&run["logical_time"])
        )?;
    }
    for run in rows("failed") {
        let error = run.pointer("/fault/message").map(plain).unwrap_or_default();
        writeln!(out, "  ✗ {} {}: {error}", plain(&run["id"]), plain(&run["pipeline"]))?;
    }
    for source in rows("sources") {
        writeln!(
            out,
            "source {:<16} {:>10} rows  {:>6} dead letters",
            plain(&source["name"]),
            count(&source["rows"]),
            count(&source["dead_letters"])
        )?;
    }
    for view in rows("views") {
        let age = seconds(&view["age_seconds"]);
        writeln!(
            out,
            "view {:<18} v{} {:<8} age {age}",
            plain(&view["view"]),
            plain(&view["version"]),
            plain(&view["status"])
        )?;
    }
    for incident in rows("incidents") {
        writeln!(out, "  ! {} {}", plain(&incident["monitor"]), plain(&incident["summary"]))?;
    }
    for schedule in rows("schedules") {
        writeln!(out, "next {} {}", instant(&schedule["next_at"]), plain(&schedule["name"]))?;
    }
    Ok(())
}
