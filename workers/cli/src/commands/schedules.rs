//! Schedules: list, hold, let go on.

use serde_json::{Value, json};

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
    match command {
        Schedules::List => {
            let rows = session.client.list("/v1/schedules", &[]).await?;
            Ok(output::list(session.format, &rows, "/name", COLUMNS)?)
        }
        Schedules::Pause { name, write } => {
            let path = format!("/v1/schedules/{}/pause", segment(&name));
            let done = session.writing(&write).client.post(&path, &json!({})).await?;
            Ok(output::object(session.format, &done, "/name", paused)?)
        }
        Schedules::Resume { name, skip_missed, dry_run, write } => {
            let name = segment(&name);
            let path = format!("/v1/schedules/{name}/resume?skip_missed={skip_missed}&dry_run={dry_run}");
            let done = session.writing(&write).client.post(&path, &json!({})).await?;
            Ok(output::object(session.format, &done, "/name", resumed)?)
        }
    }
}

fn paused(row: &Value) -> String {
    // Where each tick waits for its turn, there is nothing to catch up.
    let queued = row["overlap"] == "queue_all";
    let later = match row["catchup"].as_str() {
        _ if queued => "each tick that passes meanwhile fires at `resume`, one after another",
        Some("all") => "each tick that passes meanwhile fires at `resume`",
        Some("none") => "ticks that pass meanwhile don't fire",
        _ => "of the ticks that pass meanwhile the newest fires at `resume`",
    };
    let policy = if queued { "overlap" } else { "catchup" };
    format!("{} is paused; {later} ({policy}: {})", plain(&row["name"]), plain(&row[policy]))
}

fn resumed(row: &Value) -> String {
    let name = plain(&row["name"]);
    let fires: Vec<String> = row["fires"].as_array().into_iter().flatten().map(instant).collect();
    let left_out = row["left_out"].as_u64().unwrap_or(0);
    let (verb, fire) =
        if row["paused"] == true { ("would go on", "would fire") } else { ("goes on", "fires") };
    let passed = fires.len() as u64 + left_out;
    let now = match (fires.as_slice(), passed) {
        ([], 0) => "no tick passed meanwhile".to_owned(),
        ([], _) => format!("none of the {passed} ticks that passed meanwhile {fire}"),
        (fires, _) => format!(
            "{fire} now for {} ({} of {passed} ticks that passed meanwhile; catchup: {}, overlap: {})",
            listed(fires),
            fires.len(),
            plain(&row["catchup"]),
            plain(&row["overlap"]),
        ),
    };
    let hint = if row["paused"] == true && !fires.is_empty() { "; --skip-missed lets them go" } else { "" };
    format!("{name} {verb}: {now}; next {}{hint}", instant(&row["next_at"]))
}

/// A few of them by name.
fn listed(fires: &[String]) -> String {
    match fires {
        [few @ .., last] if fires.len() > 4 => format!("{}, {} more and {last}", few[0], few.len() - 1),
        few => few.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resume_says_what_fires_and_what_comes_next() {
        let row = |paused: bool, fires: &[&str], left_out: u64| {
            resumed(&json!({
                "name": "pipeline/tidy", "paused": paused, "fires": fires, "left_out": left_out,
                "next_at": "2024-06-05T03:30:00Z", "catchup": "last", "overlap": "skip",
            }))
        };
        let (none, one) = ([], ["2024-06-04T03:30:00Z"]);
        let next = "next 2024-06-05 03:30:00Z";
        for (got, expected) in [
            (row(false, &none, 0), format!("pipeline/tidy goes on: no tick passed meanwhile; {next}")),
            (
                row(false, &one, 2),
                format!(
                    "pipeline/tidy goes on: fires now for 2024-06-04 03:30:00Z (1 of 3 ticks that passed meanwhile; \
                     catchup: last, overlap: skip); {next}"
                ),
            ),
            (
                row(true, &one, 2),
                format!(
                    "pipeline/tidy would go on: would fire now for 2024-06-04 03:30:00Z (1 of 3 ticks that passed \
                     meanwhile; catchup: last, overlap: skip); {next}; --skip-missed lets them go"
                ),
            ),
            (
                row(false, &none, 3),
                format!("pipeline/tidy goes on: none of the 3 ticks that passed meanwhile fires; {next}"),
            ),
        ] {
            assert_eq!(got, expected);
        }
        assert_eq!(listed(&["a", "b", "c", "d", "e"].map(str::to_owned)), "a, 3 more and e");
    }
}
