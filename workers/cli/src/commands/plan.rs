//! What applying a project would do, before it is done.

use serde_json::Value;

use super::{
    Session,
    project::{change, checked, code_row, request},
};
use crate::{
    args::PlanArgs,
    failure::{CHANGES, Done, Failure},
    output::{self, count, instant, plain},
};

/// `tidemill plan`
pub(crate) async fn plan(session: &Session, args: &PlanArgs) -> Done {
    let loaded = checked(session, &args.project)?;
    let body = request(&loaded, &args.project, args.replace);
    let mut plan = session.client.post("/v1/plan", &body).await?;
    let mut items = plan["items"].as_array().cloned().unwrap_or_default();
    items.extend(code_row(&plan["code"]));
    let some = !items.is_empty();
    if some || session.format.for_programs() {
        let page = page(&plain(&plan["id"]), &items);
        plan["items"] = items.into();
        output::object(session.format, &plan, "/id", |_| page)?;
    } else {
        session.say("nothing would change: all objects are in force as declared");
    }
    if some && args.detailed_exitcode { Err(Failure::silent(CHANGES)) } else { Ok(()) }
}

fn page(id: &str, items: &[Value]) -> String {
    let of = |kinds: &[&str]| {
        let is = |item: &&Value| kinds.iter().any(|kind| item["change"] == *kind);
        items.iter().filter(is).count()
    };
    let again = items.iter().filter(|item| item["change"] == "unchanged").count();
    let mut page = format!(
        "Plan: {} to add, {} to change, {} to destroy\n",
        of(&["added"]),
        of(&["changed"]) + again,
        of(&["removed"])
    );
    for item in items {
        page += &told(item);
    }
    page + &format!("Apply with: tidemill apply --plan {id}\n")
}

/// An object, and below it what follows for data.
fn told(item: &Value) -> String {
    let rows = &item["rows"];
    let mut lines = if rows.is_null() { vec![change(item)] } else { filled(&plain(&item["object"]), rows) };
    let next: Vec<String> = item["next"].as_array().into_iter().flatten().map(instant).collect();
    if !next.is_empty() {
        lines.push(format!("      next: {}", next.join(", ")));
    }
    lines.join("\n") + "\n"
}

fn files(number: &Value) -> String {
    if number == 1 { "1 file".to_owned() } else { format!("{} files", count(number)) }
}

/// A view whose rows are filled anew.
fn filled(object: &str, rows: &Value) -> Vec<String> {
    let differences: Vec<String> = rows["differences"].as_array().into_iter().flatten().map(plain).collect();
    let mut lines = vec![
        format!("  ~ {object}  v{} → v{}      {}", rows["from"], rows["to"], differences.join("; ")),
        format!("      backfill {} rows, {}", count(&rows["rows"]), files(&rows["files"])),
    ];
    let read_by = rows["read_by"].as_array().into_iter().flatten().map(|read_by| {
        let (model, alias) = (plain(&read_by["model"]), plain(&read_by["alias"]));
        format!("model/{model}@{alias} (stays on v{} until you retrain)", read_by["version"])
    });
    let read_by: Vec<String> = read_by.collect();
    if !read_by.is_empty() {
        lines.push(format!("      read by: {}", read_by.join(", ")));
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_plan_says_what_would_change_and_what_follows_for_data() {
        let items = [
            json!({"object": "monitor/drift", "change": "added", "version": 1, "building": null, "next": []}),
            json!({
                "object": "view/aircraft_delay", "change": "changed", "version": 7, "building": 4, "next": [],
                "rows": {
                    "view": "aircraft_delay", "from": 3, "to": 4, "rows": 336_776, "files": 12,
                    "differences": ["`mean_delay_7d`: window 7d → 14d"],
                    "read_by": [{"model": "late_flight", "alias": "champion", "version": 3}],
                },
            }),
            json!({
                "object": "pipeline/train_daily", "change": "changed", "version": 2, "building": null,
                "next": ["2013-06-01T07:30:00Z", "2013-06-02T07:30:00Z"],
            }),
            json!({"object": "label/late", "change": "removed", "version": 1, "building": null, "next": []}),
        ];
        insta::assert_snapshot!(page("9b1e0c34aa21", &items));
    }
}
