//! Commands that take rows away: each shows what it will touch, asks, and does it.

use std::{
    fmt::Write as _,
    io::{IsTerminal as _, Write as _},
};

use serde_json::{Value, json};

use super::{Session, entity, watch::wait_for};
use crate::{
    args::{Entities, Removal},
    client::segment,
    failure::{Done, Failure},
    output::{self, count, fields, plain},
};

/// `tidemill entities …`
pub(super) async fn entities(session: &Session, command: Entities) -> Done {
    let Entities::Erase { entity: name, keys, removal } = command;
    let path = format!("/v1/entities/{}/erase", segment(&name));
    let body = json!({ "key": entity::keys("--key", &keys)? });
    remove(session, &path, &body, &removal, erased).await
}

/// Shows what will be touched and does it, where that is wanted.
pub(super) async fn remove(
    session: &Session,
    path: &str,
    body: &Value,
    removal: &Removal,
    show: fn(&Value) -> String,
) -> Done {
    let scope = session.client.post(&format!("{path}?dry_run=true"), body).await?;
    if removal.dry_run {
        return Ok(output::object(session.format, &scope, "/source", show)?);
    }
    session.say(show(&scope).trim_end());
    if !removal.yes && !confirmed()? {
        session.say("nothing was taken away");
        return Ok(());
    }
    let started = session.writing(&removal.write).client.post(path, body).await?;
    let run = plain(&started["run_id"]);
    if removal.no_wait {
        return Ok(output::object(session.format, &started, "/run_id", |_| run)?);
    }
    let page = wait_for(session, &run).await?;
    Ok(output::object(session.format, &page, "/id", |page| fields(&page["step_list"][0]["outputs"]))?)
}

/// Asks on a terminal; elsewhere `--yes` is needed.
fn confirmed() -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage("this would be taken away", "add --yes, or look first with --dry-run"));
    }
    eprint!("take this away? [y/N] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// What taking a source's rows away will touch.
pub(super) fn source(scope: &Value) -> String {
    let mut page = format!(
        "source {}: {} rows and {} dead letters of {} uploads go\n",
        plain(&scope["source"]),
        count(&scope["rows"]),
        count(&scope["dead_letters"]),
        count(&scope["uploads"])
    );
    let mut line = |text: String| {
        let _ = writeln!(page, "  {text}");
    };
    if scope["uploads_under_way"] != 0 {
        line(format!("uploads under way: {}; they come after, and stay", count(&scope["uploads_under_way"])));
    }
    for view in items(&scope["views"]) {
        let online = if view["online"] == true { ", online too" } else { "" };
        let (name, version) = (plain(&view["view"]), plain(&view["version"]));
        line(format!(
            "view {name} v{version} ({}) is filled anew: {} rows{online}",
            plain(&view["state"]),
            count(&view["rows"])
        ));
    }
    line(
        "earlier versions of the lake, which training sets were read from, can be read for another day"
            .to_owned(),
    );
    page
}

/// What erasing an entity will touch.
fn erased(scope: &Value) -> String {
    let key: Vec<String> = scope["key"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| format!("{name}={}", plain(value)))
        .collect();
    let mut page = format!("entity {} {}:\n", plain(&scope["entity"]), key.join(" "));
    let mut line = |text: String| {
        let _ = writeln!(page, "  {text}");
    };
    for (table, rows) in scope["tables"].as_object().into_iter().flatten() {
        line(format!("{table}: {} rows go, at every version", count(rows)));
    }
    if scope["old_rows"] != 0 {
        line(format!("{} rows go that only earlier versions of the lake have", count(&scope["old_rows"])));
    }
    for view in items(&scope["online"]) {
        line(format!("view {}: its values go from Redis", plain(view)));
    }
    for view in items(&scope["refilled"]) {
        line(format!("{} counted the rows of others, too: it is filled anew", plain(view)));
    }
    if scope["uploads"] != 0 {
        line(format!(
            "the files of {} uploads go; their other rows stay in the lake",
            count(&scope["uploads"])
        ));
    }
    if scope["uploads_failed"] != 0 {
        line(format!(
            "{} uploads that failed go: send them again afterwards",
            count(&scope["uploads_failed"])
        ));
    }
    for dataset in items(&scope["datasets"]) {
        let models = plain(&dataset["models"]);
        let models = if models.is_empty() { "no model".to_owned() } else { models };
        let (id, rows) = (plain(&dataset["dataset"]), count(&dataset["rows"]));
        line(format!("dataset {id} keeps {rows} rows and is flagged; trained on it: {models}"));
    }
    page
}

fn items(list: &Value) -> &[Value] {
    list.as_array().map(Vec::as_slice).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_will_be_touched_is_told_line_by_line() {
        let scope = json!({
            "source": "orders", "rows": 1_200, "dead_letters": 3, "uploads": 2, "uploads_under_way": 1,
            "views": [{ "view": "last_order", "version": 2, "state": "current", "rows": 1_150, "online": true }],
        });
        insta::assert_snapshot!(source(&scope), @r"
        source orders: 1,200 rows and 3 dead letters of 2 uploads go
          uploads under way: 1; they come after, and stay
          view last_order v2 (current) is filled anew: 1,150 rows, online too
          earlier versions of the lake, which training sets were read from, can be read for another day
        ");
        let scope = json!({
            "entity": "customer", "key": { "customer_id": 7 }, "tables": { "source/orders": 12 }, "old_rows": 4,
            "online": ["last_order"], "refilled": ["view/shop@1"], "uploads": 2, "uploads_failed": 0,
            "datasets": [{ "dataset": "dst_1", "rows": 3, "models": ["late@1", "late@2"] }],
        });
        insta::assert_snapshot!(erased(&scope), @r"
        entity customer customer_id=7:
          source/orders: 12 rows go, at every version
          4 rows go that only earlier versions of the lake have
          view last_order: its values go from Redis
          view/shop@1 counted the rows of others, too: it is filled anew
          the files of 2 uploads go; their other rows stay in the lake
          dataset dst_1 keeps 3 rows and is flagged; trained on it: late@1, late@2
        ");
    }
}
