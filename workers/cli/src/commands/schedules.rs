//! Schedules: list, hold, let go on.

use serde_json::json;

use super::Session;
use crate::{
    args::Schedules,
    client::segment,
    failure::Done,
    output::{self, instant, plain, text},
};

const COLUMNS: &[output::Column] = &[
    text("SCHEDULE", "/name"),
    text("CRON", "/cron"),
    text("TIME ZONE", "/timezone"),
    text("NEXT", "/next_at").by(instant),
    text("LAST", "/last_tick").by(instant),
    text("LAST OUTCOME", "/last_outcome"),
    text("PAUSED", "/paused"),
    text("CATCH-UP", "/catchup").wide(),
    text("OVERLAP", "/overlap").wide(),
];

/// `tidemill schedules …`
pub(crate) async fn schedules(session: &Session, command: Schedules) -> Done {
    let (name, verb, write) = match command {
        Schedules::List => {
            let rows = session.client.list("/v1/schedules", &[]).await?;
            return Ok(output::list(session.format, &rows, "/name", COLUMNS)?);
        }
        Schedules::Pause { name, write } => (name, "pause", write),
        Schedules::Resume { name, write } => (name, "resume", write),
    };
    let path = format!("/v1/schedules/{}/{verb}", segment(&name));
    let done = session.writing(&write).client.post(&path, &json!({})).await?;
    Ok(output::object(session.format, &done, "/name", |row| format!("{}: {verb}d", plain(&row["name"])))?)
}
