//! Runs: start, list, show, follow, retry, cancel.

use std::io::{IsTerminal as _, Write as _};

use serde_json::{Value, json};

use super::{Session, watch::wait_for};
use crate::{
    args::{LogsArgs, RetryArgs, RunArgs, Runs},
    failure::{Done, Failure},
    output::{self, count, instant, plain, seconds, text},
};

const COLUMNS: &[output::Column] = &[
    text("RUN", "/id"),
    text("PIPELINE", "/pipeline"),
    text("FOR", "/logical_time").by(instant),
    text("STATE", "/state"),
    text("STEPS", "/steps_done").by(count),
    text("OF", "/steps").by(count),
    text("TOOK", "/seconds").by(seconds),
    text("STARTED", "/created_at").by(instant),
    text("TRIGGER", "/trigger").wide(),
    text("ERROR", "/fault/message"),
];

/// `tidemill run`
pub(crate) async fn start(session: &Session, args: RunArgs) -> Done {
    let mut params = serde_json::Map::new();
    for param in &args.params {
        let Some((name, value)) = param.split_once('=') else {
            return Err(Failure::usage(format!("`--param {param}` has no `=`"), "write --param NAME=VALUE"));
        };
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
        params.insert(name.to_owned(), value);
    }
    let body = json!({
        "pipeline": args.pipeline, "date": args.date, "params": params, "key": args.idempotency_key,
    });
    let started = session.client.post("/v1/runs", &body).await?;
    let run = plain(&started["id"]);
    if !args.wait {
        output::object(session.format, &started, "/id", |_| run.clone())?;
        return Ok(());
    }
    session.say(format!("run {run}"));
    let page = wait_for(session, &run).await?;
    Ok(output::object(session.format, &page, "/id", show_page)?)
}

/// `tidemill runs …`
pub(crate) async fn runs(session: &Session, command: Runs) -> Done {
    match command {
        Runs::List { state, pipeline, all, limit } => {
            let query = [
                ("state", state),
                ("pipeline", pipeline),
                ("all", Some(all.to_string())),
                ("limit", Some(limit.to_string())),
            ];
            let rows = session.client.list("/v1/runs", &query).await?;
            Ok(output::list(session.format, &rows, "/id", COLUMNS)?)
        }
        Runs::Show { run } => {
            let page = session.client.get(&format!("/v1/runs/{run}")).await?;
            Ok(output::object(session.format, &page, "/id", show_page)?)
        }
        Runs::Cancel { run } => {
            let page = session.client.post(&format!("/v1/runs/{run}/cancel"), &json!({})).await?;
            Ok(output::object(session.format, &page, "/id", |page| {
                format!("{run} is {}", plain(&page["state"]))
            })?)
        }
    }
}

/// `tidemill retry`
pub(crate) async fn retry(session: &Session, args: RetryArgs) -> Done {
    if let Some(run) = &args.run {
        let retried = session.client.post(&format!("/v1/runs/{run}/retry"), &json!({})).await?;
        let steps = plain(&retried["steps"]);
        if steps.is_empty() {
            session.say(format!("{run} has no failed step"));
        }
        if args.wait && !steps.is_empty() {
            let page = wait_for(session, run).await?;
            return Ok(output::object(session.format, &page, "/id", show_page)?);
        }
        return Ok(output::object(session.format, &retried, "/id", |_| format!("{run} repeats: {steps}"))?);
    }
    let query = [("since", args.since.clone()), ("pipeline", args.pipeline.clone())];
    let failed = session.client.list("/v1/runs/failed", &query).await?;
    output::list(session.format, &failed, "/id", COLUMNS)?;
    if args.dry_run || failed.is_empty() {
        return Ok(());
    }
    if !args.yes && !confirmed(failed.len())? {
        session.say("nothing was retried");
        return Ok(());
    }
    for run in &failed {
        let run = plain(&run["id"]);
        session.client.post(&format!("/v1/runs/{run}/retry"), &json!({})).await?;
        if args.wait {
            wait_for(session, &run).await?;
        }
    }
    session.say(format!("{} runs retried", failed.len()));
    Ok(())
}

/// Asks on a terminal; elsewhere `--yes` is needed.
fn confirmed(runs: usize) -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage(
            format!("{runs} runs would be retried"),
            "add --yes, or look first with --dry-run",
        ));
    }
    eprint!("retry these {runs} runs? [y/N] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// `tidemill logs`
pub(crate) async fn logs(session: &Session, args: LogsArgs) -> Done {
    let query = [("step", args.step), ("attempt", args.attempt.map(|attempt| attempt.to_string()))];
    let lines = session.client.list(&format!("/v1/runs/{}/logs", args.run), &query).await?;
    if session.format != output::Format::Table {
        return Ok(output::list(session.format, &lines, "/line", &[])?);
    }
    let mut out = std::io::stdout().lock();
    for line in &lines {
        writeln!(out, "{}#{} │ {}", plain(&line["step"]), plain(&line["attempt"]), plain(&line["line"]))?;
    }
    Ok(())
}

/// A run for people.
fn show_page(page: &Value) -> String {
    let mut lines = vec![format!(
        "run {}  {} {}  {}  {}",
        plain(&page["id"]),
        plain(&page["pipeline"]),
        instant(&page["logical_time"]),
        plain(&page["state"]).to_uppercase(),
        seconds(&page["seconds"]),
    )];
    for step in page["step_list"].as_array().into_iter().flatten() {
        lines.push(format!(
            "  {:<10} {:<20} {}",
            plain(&step["state"]),
            plain(&step["name"]),
            plain(&step["kind"])
        ));
        for attempt in step["attempts"].as_array().into_iter().flatten() {
            let message = attempt.pointer("/fault/message").map(plain).unwrap_or_default();
            lines.push(format!(
                "      attempt {} {} {message}",
                plain(&attempt["attempt"]),
                plain(&attempt["outcome"])
            ));
        }
        for (name, field) in [("outputs", "outputs"), ("metrics", "metrics"), ("why", "reason")] {
            if !step[field].is_null() && step[field] != json!({}) {
                lines.push(format!("      {name} {}", plain(&step[field])));
            }
        }
        let detail = step.pointer("/fault/detail").map(plain).unwrap_or_default();
        lines.extend(detail.lines().map(|line| format!("      │ {line}")));
    }
    lines.join("\n")
}
