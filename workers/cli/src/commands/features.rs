//! Features: list, values now and then, history, parity, backfill.

use serde_json::{Value, json};

use super::{Session, entity, watch::wait_for};
use crate::{
    args::Features,
    failure::{Done, FAILED, Failure},
    output::{self, count, fields, instant, plain, seconds, text},
};

const COLUMNS: &[output::Column] = &[
    text("VIEW", "/view"),
    text("VERSION", "/version"),
    text("ENTITY", "/entity"),
    text("KIND", "/kind"),
    text("OFFLINE ROWS", "/offline_rows").by(count),
    text("NEWEST", "/newest").by(instant),
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
            let page = session.client.get(&format!("/v1/features/{view}")).await?;
            Ok(output::object(session.format, &page, "/view", fields)?)
        }
        Features::Get { views, entity, at, known_at } => {
            let body =
                json!({ "views": views, "entity": entity::parse(&entity)?, "at": at, "known_at": known_at });
            let values = session.client.post("/v1/features/get", &body).await?;
            Ok(output::object(session.format, &values, "/entity", show_values)?)
        }
        Features::History { view, entity, limit } => {
            let body = json!({ "entity": entity::parse(&entity)?, "limit": limit });
            let reply = session.client.post(&format!("/v1/features/{view}/history"), &body).await?;
            let rows = reply["items"].as_array().cloned().unwrap_or_default();
            let columns = [
                text("VALID AT", "/valid_at").by(instant),
                text("CREATED AT", "/created_at").by(instant),
                text("DELETED", "/deleted"),
                text("VALUES", "/values"),
            ];
            Ok(output::list(session.format, &rows, "/valid_at", &columns)?)
        }
        Features::Parity { view } => {
            let report = session.client.post(&format!("/v1/features/{view}/parity"), &json!({})).await?;
            output::object(session.format, &report, "/view", show_parity)?;
            let agree = report["equal"] == report["entities"];
            if agree {
                Ok(())
            } else {
                Err(Failure::new(FAILED, tidemill_core::Fault::new("online and offline differ")))
            }
        }
        Features::Backfill { view, wait } => {
            start(session, &format!("/v1/features/{view}/backfill"), wait).await
        }
        Features::RebuildOnline { view, wait } => {
            start(session, &format!("/v1/features/{view}/rebuild-online"), wait).await
        }
    }
}

async fn start(session: &Session, path: &str, wait: bool) -> Done {
    let started = session.client.post(path, &json!({})).await?;
    let run = plain(&started["run_id"]);
    if wait {
        wait_for(session, &run).await?;
    }
    Ok(output::object(session.format, &started, "/run_id", |_| run)?)
}

fn show_values(values: &Value) -> String {
    let view = |view: &Value| {
        let header = format!(
            "{} v{}  {}  valid at {}\n",
            plain(&view["view"]),
            plain(&view["version"]),
            plain(&view["status"]),
            instant(&view["valid_at"])
        );
        let values = view["values"].as_object().into_iter().flatten();
        header + &values.map(|(name, value)| format!("  {name:24} {}\n", shown(value))).collect::<String>()
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
