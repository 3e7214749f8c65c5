//! Schedules: list, hold, let go on.

use serde_json::json;

use super::Session;
use crate::{
    args::Schedules,
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
    let (name, verb) = match command {
        Schedules::List => {
            let rows = session.client.list("/v1/schedules", &[]).await?;
            return Ok(output::list(session.format, &rows, "/name", COLUMNS)?);
        }
        Schedules::Pause { name } => (name, "pause"),
        Schedules::Resume { name } => (name, "resume"),
    };
    let done = session.client.post(&format!("/v1/schedules/{verb}"), &json!({ "name": name })).await?;
    Ok(output::object(session.format, &done, "/name", |row| format!("{}: {verb}d", plain(&row["name"])))?)
}
