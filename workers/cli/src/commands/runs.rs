//! Runs: start, list, show, follow, retry, cancel.

mod next;
mod page;

pub(super) use next::next;
pub(super) use page::mark;

use std::io::{IsTerminal as _, Write as _};

use serde_json::{Value, json};

use super::{Session, entity::twice, watch::wait_for};
use crate::{
    args::{LogsArgs, RetryArgs, RetryCode, RunArgs, Runs},
    client::segment,
    failure::{Done, FAILED, Failure},
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
        if params.insert(name.to_owned(), value).is_some() {
            return Err(twice("--param", name));
        }
    }
    let body = json!({ "pipeline": args.pipeline, "date": args.date, "params": params });
    let started = session.client.post("/v1/runs", &body).await?;
    let run = plain(&started["id"]);
    if started["existed"] == true {
        session.say("this idempotency key has started the run before");
    }
    if !args.wait {
        output::object(session.format, &started, "/id", |_| run.clone())?;
        session.say(format!("follow it with: tidemill runs show {run}"));
        return Ok(());
    }
    session.say(format!("run {run}"));
    let page = wait_for(session, &run).await?;
    Ok(output::object(session.format, &page, "/id", page::run)?)
}

/// `tidemill runs …`
pub(crate) async fn runs(session: &Session, command: Runs) -> Done {
    match command {
        Runs::List { state, pipeline, all, since, limit } => {
            let query = [
                ("state", state),
                ("pipeline", pipeline),
                ("all", Some(all.to_string())),
                ("since", since),
                ("limit", Some(limit.to_string())),
            ];
            let rows = session.client.list("/v1/runs", &query).await?;
            output::list(session.format, &rows, "/id", COLUMNS)?;
            session.say_if_cut(rows.len(), limit);
            Ok(())
        }
        Runs::Show { run } => {
            let page = session.client.get(&format!("/v1/runs/{}", segment(&run))).await?;
            Ok(output::object(session.format, &page, "/id", page::run)?)
        }
        Runs::Cancel { run, write } => {
            let path = format!("/v1/runs/{}/cancel", segment(&run));
            let page = session.writing(&write).client.post(&path, &json!({})).await?;
            Ok(output::object(session.format, &page, "/id", |page| {
                format!("{run} is {}", plain(&page["state"]))
            })?)
        }
    }
}

/// `tidemill retry`
pub(crate) async fn retry(session: &Session, args: RetryArgs) -> Done {
    if let Some(run) = &args.run {
        return if args.dry_run {
            would_repeat(session, run).await
        } else {
            retry_one(session, run, &args).await
        };
    }
    let query = [
        ("state", Some("failed".to_owned())),
        ("all", Some("true".to_owned())),
        ("since", args.since.clone()),
        ("pipeline", args.pipeline.clone()),
        ("limit", Some("1000".to_owned())),
    ];
    let failed = session.client.list("/v1/runs", &query).await?;
    output::list(session.format, &failed, "/id", COLUMNS)?;
    if args.dry_run || failed.is_empty() {
        return Ok(());
    }
    if !args.yes && !confirmed(failed.len())? {
        session.say("nothing was retried");
        return Ok(());
    }
    let runs: Vec<String> = failed.iter().map(|run| plain(&run["id"])).collect();
    for run in &runs {
        let retried = post_retry(session, run, args.code).await?;
        session.say(format!("{run} repeats {}{}", plain(&retried["steps"]), with_code(&retried)));
    }
    session.say(format!("{} runs retried", runs.len()));
    let mut last = Ok(());
    for run in runs.iter().filter(|_| args.wait) {
        // All of them are waited for; one that fails again doesn't hide the others.
        if let Err(failure) = wait_for(session, run).await {
            if failure.exit != FAILED {
                return Err(failure);
            }
            last = Err(failure);
        }
    }
    last
}

/// What `retry RUN` would do: the failed and cancelled steps, then what waits for them.
async fn would_repeat(session: &Session, run: &str) -> Done {
    let page = session.client.get(&format!("/v1/runs/{}", segment(run))).await?;
    let rows = |wanted: &[&str]| {
        let steps = page["step_list"].as_array().into_iter().flatten();
        let of_state = |step: &&Value| wanted.contains(&step["state"].as_str().unwrap_or_default());
        steps.filter(of_state).cloned().collect::<Vec<_>>()
    };
    let mut steps = rows(&["failed", "cancelled"]);
    if !steps.is_empty() {
        steps.extend(rows(&["pending"]));
    }
    let columns = [
        text("STEP", "/name"),
        text("KIND", "/kind"),
        text("STATE", "/state"),
        text("ERROR", "/fault/message"),
    ];
    Ok(output::list(session.format, &steps, "/name", &columns)?)
}

async fn retry_one(session: &Session, run: &str, args: &RetryArgs) -> Done {
    let retried = post_retry(session, run, args.code).await?;
    let steps = plain(&retried["steps"]);
    if steps.is_empty() {
        session.say(format!("{run} has no failed step; nothing to repeat"));
        if session.format.for_programs() {
            output::object(session.format, &retried, "/id", |_| String::new())?;
        }
        return Ok(());
    }
    let code = with_code(&retried);
    if args.wait {
        session.say(format!("{run} repeats {steps}{code}"));
        let page = wait_for(session, run).await?;
        return Ok(output::object(session.format, &page, "/id", page::run)?);
    }
    Ok(output::object(session.format, &retried, "/id", |_| {
        format!("{run} repeats {steps}, and what waits for it{code}")
    })?)
}

async fn post_retry(session: &Session, run: &str, code: RetryCode) -> Result<Value, Failure> {
    let path = format!("/v1/runs/{}/retry?code={}", segment(run), code.word());
    session.client.post(&path, &json!({})).await
}

/// Which code and which definition the steps run with, where there is a choice.
fn with_code(retried: &Value) -> String {
    [code_of(retried), definition_of(retried)].concat()
}

fn code_of(retried: &Value) -> String {
    let changed = plain(&retried["code"]["changed"]);
    match retried["code"]["used"].as_str() {
        _ if changed.is_empty() => String::new(),
        Some("pinned") => {
            format!(
                "\n  with the code from the start of the run; changed since: {changed} (--code current runs the code in force now)"
            )
        }
        _ => format!(
            "\n  with the code in force now; changed since the start of the run: {changed} (--code pinned runs the earlier code)"
        ),
    }
}

fn definition_of(retried: &Value) -> String {
    let (used, in_force) = (&retried["definition"]["used"], &retried["definition"]["in_force"]);
    if !in_force.is_i64() || used == in_force {
        return String::new();
    }
    format!(
        "\n  steps as version {used} of the pipeline declares them; version {in_force} is for new runs: tidemill run PIPELINE"
    )
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
    let lines = session.client.list(&format!("/v1/runs/{}/logs", segment(&args.run)), &query).await?;
    if session.format != output::Format::Table && session.format != output::Format::Wide {
        return Ok(output::list(session.format, &lines, "/line", &[])?);
    }
    if lines.is_empty() {
        session.say("nothing was written");
    }
    let mut out = std::io::stdout().lock();
    for line in &lines {
        writeln!(out, "{}#{} │ {}", plain(&line["step"]), plain(&line["attempt"]), plain(&line["line"]))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retry_says_which_code_it_runs_where_there_is_a_choice() {
        let retried = |code: Value, versions: (u64, u64)| {
            with_code(&json!({ "code": code, "definition": { "used": versions.0, "in_force": versions.1 } }))
        };
        assert_eq!(retried(json!({ "used": "current", "changed": [] }), (1, 1)), "");
        assert_eq!(
            retried(json!({ "used": "current", "changed": ["models/late.py"] }), (1, 1)),
            "\n  with the code in force now; changed since the start of the run: models/late.py (--code pinned runs the earlier code)"
        );
        assert_eq!(
            retried(json!({ "used": "pinned", "changed": ["a.py", "b.py"] }), (1, 2)),
            "\n  with the code from the start of the run; changed since: a.py, b.py (--code current runs the code in force now)\
             \n  steps as version 1 of the pipeline declares them; version 2 is for new runs: tidemill run PIPELINE"
        );
    }
}
