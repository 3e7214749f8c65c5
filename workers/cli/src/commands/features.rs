//! Features: list, values now and then, history, parity, backfill.

mod page;

pub(super) use page::{behind, failed, stored};
use serde_json::{Value, json};

use super::{Session, entity, watch::wait_for};
use crate::{
    args::{Features, Write},
    client::segment,
    failure::{Done, FAILED, Failure},
    output::{self, count, fields, instant, plain, seconds, text},
};

const COLUMNS: &[output::Column] = &[
    text("VIEW", "/view"),
    text("VERSION", "/version"),
    text("ENTITY", "/entity"),
    text("KIND", "/kind"),
    text("OFFLINE ROWS", "").by(stored),
    text("ONLINE", "/online_entities").by(count),
    text("NEWEST", "/newest_at").by(instant),
    text("AGE", "/age_seconds").by(seconds),
    text("STATUS", "/status"),
    text("OWNER", "/owner").wide(),
];

/// `tidemill features …`
pub(crate) async fn features(session: &Session, command: Features) -> Done {
    match command {
        Features::List => {
            let rows = session.client.list("/v1/features", &[]).await?;
            Ok(output::list(session.format, &rows, "/view", COLUMNS)?)
        }
        Features::Show { view } => {
            let page = session.client.get(&format!("/v1/features/{}", segment(&view))).await?;
            Ok(output::object(session.format, &page, "/view", page::view)?)
        }
        Features::Get { views, entity, at, known_at } => {
            let body =
                json!({ "views": views, "entity": entity::parse(&entity)?, "at": at, "known_at": known_at });
            let values = session.client.post("/v1/features/get", &body).await?;
            Ok(output::object(session.format, &values, "/entity", show_values)?)
        }
        Features::History { view, entity, limit } => {
            let body = json!({ "entity": entity::parse(&entity)?, "limit": limit });
            let reply =
                session.client.post(&format!("/v1/features/{}/history", segment(&view)), &body).await?;
            let mut rows = reply["items"].as_array().cloned().unwrap_or_default();
            if !session.format.for_programs() {
                rows.iter_mut().for_each(gather_values);
            }
            let columns = [
                text("VALID AT", "/valid_at").by(instant),
                text("CREATED AT", "/created_at").by(instant),
                text("DELETED", "/deleted"),
                text("VALUES", "/values"),
            ];
            Ok(output::list(session.format, &rows, "/valid_at", &columns)?)
        }
        Features::Parity { view } => {
            let report =
                session.client.post(&format!("/v1/features/{}/parity", segment(&view)), &json!({})).await?;
            output::object(session.format, &report, "/view", show_parity)?;
            let agree = report["equal"] == report["entities"];
            if agree {
                Ok(())
            } else {
                Err(Failure::new(FAILED, tidemill_core::Fault::new("online and offline differ")))
            }
        }
        Features::Backfill { view, from: Some(from), to, dry_run, wait, write } => {
            let rows = json!({ "from": from, "to": to });
            recompute(session, &view, &rows, (dry_run, wait), &write).await
        }
        Features::Replay { view, dry_run, no_wait, write } => {
            let rows = json!({ "dead_letters": true });
            recompute(session, &view, &rows, (dry_run, !no_wait), &write).await
        }
        Features::Backfill { view, from: None, wait, write, .. } => {
            let path = format!("/v1/features/{}/backfill", segment(&view));
            start(&session.writing(&write), &path, wait).await
        }
        Features::RebuildOnline { view, wait, write } => {
            let path = format!("/v1/features/{}/rebuild-online", segment(&view));
            start(&session.writing(&write), &path, wait).await
        }
    }
}

/// The columns of a row that are its own, in one text.
fn gather_values(row: &mut Value) {
    const TIMES: [&str; 4] = ["valid_at", "created_at", "seq", "deleted"];
    let own = row.as_object().into_iter().flatten().filter(|(name, _)| !TIMES.contains(&name.as_str()));
    let values = own.map(|(name, value)| format!("{name} {}", shown(value))).collect::<Vec<_>>().join(", ");
    row["values"] = values.into();
}

async fn start(session: &Session, path: &str, wait: bool) -> Done {
    let started = session.client.post(path, &json!({})).await?;
    let run = plain(&started["run_id"]);
    if wait {
        wait_for(session, &run).await?;
    }
    Ok(output::object(session.format, &started, "/run_id", |_| run)?)
}

/// Computes rows of a view again, or says which.
async fn recompute(
    session: &Session,
    view: &str,
    rows: &Value,
    (dry_run, wait): (bool, bool),
    write: &Write,
) -> Done {
    let path = format!("/v1/features/{}/recompute", segment(view));
    if dry_run {
        let scope = session.client.post(&format!("{path}?dry_run=true"), rows).await?;
        return Ok(output::object(session.format, &scope, "/view", touched)?);
    }
    let started = session.writing(write).client.post(&path, rows).await?;
    session.say(touched(&started).trim_end());
    let run = plain(&started["run_id"]);
    if !wait {
        return Ok(output::object(session.format, &started, "/run_id", |_| run)?);
    }
    let page = wait_for(session, &run).await?;
    Ok(output::object(session.format, &page, "/id", |page| fields(&page["step_list"][0]["outputs"]))?)
}

/// What computing rows again touches.
fn touched(scope: &Value) -> String {
    let view = plain(&scope["view"]);
    let version = |version: &Value| {
        format!(
            "view {view} v{} ({}): {} rows are computed again, {} dead letters give way to what comes out\n",
            plain(&version["version"]),
            plain(&version["state"]),
            count(&version["rows"]),
            count(&version["dead_letters"])
        )
    };
    let list = |name: &str| scope[name].as_array().cloned().unwrap_or_default();
    let versions: String = list("versions").iter().map(version).collect();
    let readers =
        list("readers").iter().map(|reader| format!("  {} follows\n", plain(reader))).collect::<String>();
    versions + &readers
}

fn show_values(values: &Value) -> String {
    let view = |view: &Value| {
        let valid_at = match instant(&view["valid_at"]) {
            none if none.is_empty() => "no row".to_owned(),
            time => format!("valid at {time}"),
        };
        let (name, version, status) = (plain(&view["view"]), plain(&view["version"]), plain(&view["status"]));
        let defaulted = view["defaulted"].as_array().map(Vec::as_slice).unwrap_or_default();
        let line = |(name, value): (&String, &Value)| {
            let note = if defaulted.iter().any(|other| other == name) { "  (default)" } else { "" };
            format!("  {name:24} {}{note}\n", shown(value))
        };
        let values = view["values"].as_object().into_iter().flatten();
        let note = |what: &str, said: String| {
            if said.is_empty() { said } else { format!("  {what}: {said}\n") }
        };
        let notes = note("catching up, commits to consume", behind(view)) + &note("failed", failed(view));
        format!("{name} v{version}  {status}  {valid_at}\n{notes}{}", values.map(line).collect::<String>())
    };
    values["views"].as_array().into_iter().flatten().map(view).collect()
}

fn shown(value: &Value) -> String {
    if value.is_null() { "null".to_owned() } else { plain(value) }
}

fn show_parity(report: &Value) -> String {
    let differing = report["differing"].as_array().cloned().unwrap_or_default();
    let head = format!(
        "{}: online = offline for {} of {} entities",
        plain(&report["view"]),
        count(&report["equal"]),
        count(&report["entities"])
    );
    std::iter::once(head).chain(differing.iter().map(|row| format!("  {row}"))).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_computing_rows_again_touches_is_told_version_by_version() {
        let scope = json!({
            "view": "judged", "readers": ["view/strain@2"],
            "versions": [
                { "version": 3, "state": "current", "rows": 1_200, "dead_letters": 4 },
                { "version": 1, "state": "retired", "rows": 1_150, "dead_letters": 0 },
            ],
        });
        insta::assert_snapshot!(touched(&scope), @r"
        view judged v3 (current): 1,200 rows are computed again, 4 dead letters give way to what comes out
        view judged v1 (retired): 1,150 rows are computed again, 0 dead letters give way to what comes out
          view/strain@2 follows
        ");
    }
}
