//! One feature view for people: what it is, how each feature is computed, how fresh it is.

use serde_json::{Value, json};
use tidemill_spec::units::format_duration;

use crate::output::{self, count, facts, instant, plain, seconds, text};

/// The page of a view.
pub(super) fn view(page: &Value) -> String {
    let declared = &page["definition"];
    let input = match (declared.pointer("/input/source"), declared.pointer("/input/views")) {
        (Some(source), _) => format!("source {}", plain(source)),
        (_, views) => format!("views {}", views.map(plain).unwrap_or_default()),
    };
    let freshness = match (plain(&page["status"]), seconds(&page["age_seconds"])) {
        (status, age) if age.is_empty() => status,
        (status, age) => format!("{status}, newest row {age} old"),
    };
    let head = facts(&[
        ("view", format!("{} v{}", plain(&page["view"]), plain(&page["version"]))),
        ("about", plain(&page["description"])),
        ("owner", plain(&page["owner"])),
        ("entity", plain(&page["entity"])),
        ("computed from", input),
        ("python", plain(&declared["python"])),
        ("ttl", duration(&declared["ttl"])),
        ("rows", stored(page)),
        ("dead letters", count(&page["dead_letters"])),
        ("newest", instant(&page["newest_at"])),
        ("freshness", freshness),
        ("commits behind", behind(page)),
        ("failed", failed(page)),
        ("leak", if declared["leak_allowed"] == true { "allowed".to_owned() } else { String::new() }),
    ]);
    let features: Vec<Value> = declared["features"].as_object().into_iter().flatten().map(|(name, feature)| {
        json!({
            "name": name, "type": feature["type"], "rule": rule(&feature["rule"]), "default": feature["default"],
            "online": online(&declared["online"], name),
        })
    }).collect();
    let columns = [
        text("FEATURE", "/name"),
        text("TYPE", "/type"),
        text("COMPUTED AS", "/rule"),
        text("DEFAULT", "/default"),
        text("ONLINE", "/online"),
    ];
    let versions =
        [text("VERSION", "/version"), text("STATE", "/state"), text("CREATED", "/created_at").by(instant)];
    let letters = [
        text("VERSION", "/version"),
        text("VALID AT", "/valid_at").by(instant),
        text("REASON", "/reason"),
        text("ROW", "/row"),
    ];
    head + &output::section("features", &features.into(), &columns)
        + &output::section("versions of its rows", &page["versions"], &versions)
        + &output::section("newest dead letters", &page["dead_letter_list"], &letters)
}

/// `31, the first of them 2m ago`
pub(in super::super) fn behind(view: &Value) -> String {
    match seconds(&view["backlog"]["seconds"]) {
        age if age.is_empty() => count(&view["commits_behind"]),
        age => format!("{}, the first of them {age} ago", count(&view["backlog"]["commits"])),
    }
}

/// What holds a view up for good, and the remedy.
pub(in super::super) fn failed(view: &Value) -> String {
    let failed = &view["failed"];
    if failed.is_null() {
        return String::new();
    }
    let (what, of) = (plain(&failed["what"]), plain(&failed["view"]));
    let (why, remedy) = (plain(&failed["fault"]["message"]), plain(&failed["fault"]["hint"]));
    format!("the {what} of `{of}`: {why}; {remedy}")
}

/// What the lake holds of a view: rows, tiles of which windows are made, or nothing at all.
pub(in super::super) fn stored(view: &Value) -> String {
    let rows = count(&view["offline_rows"]);
    match view["kind"].as_str() {
        _ if rows.is_empty() => "when asked".to_owned(),
        Some("windows") => format!("{rows} tiles"),
        _ => rows,
    }
}

/// As the YAML says it: `mean arr_delay over 7d`.
fn rule(rule: &Value) -> String {
    let Some((kind, of)) = rule.as_object().and_then(|rule| rule.iter().next()) else {
        return match rule.as_str() {
            Some("age") => "minutes since the newest row".to_owned(),
            _ => plain(rule),
        };
    };
    match kind.as_str() {
        "window" => {
            let column = match plain(&of["column"]) {
                rows if rows.is_empty() => "rows".to_owned(),
                column => column,
            };
            let counted = match plain(&of["where"]) {
                all if all.is_empty() => String::new(),
                condition => format!(" where {condition}"),
            };
            format!("{} of {column}{counted} over {}", aggregate(&of["aggregate"]), duration(&of["window"]))
        }
        kind => format!("{kind} {}", plain(of)),
    }
}

/// `mean`, `percentile 0.95`.
fn aggregate(of: &Value) -> String {
    let with_share = of.as_object().and_then(|of| of.iter().next());
    with_share.map_or_else(|| plain(of), |(word, of)| format!("{word} {}", plain(&of["p"])))
}

fn duration(value: &Value) -> String {
    let seconds = value["secs"].as_u64();
    seconds.map(|seconds| format_duration(std::time::Duration::from_secs(seconds))).unwrap_or_default()
}

fn online(declared: &Value, feature: &str) -> &'static str {
    let listed = || declared["some"].as_array().into_iter().flatten().any(|name| name == feature);
    if declared == "all" || listed() { "yes" } else { "no" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_says_how_each_feature_is_computed() {
        let shop = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pipelines/flights");
        let objects = tidemill_spec::load(&shop).unwrap().objects;
        let page = |name: &str| {
            view(&json!({
                "view": name, "version": 1, "entity": "x", "offline_rows": 133_542, "status": "fresh",
                "newest_at": "2013-06-01T03:59:00Z", "age_seconds": 60.0, "commits_behind": 0,
                "definition": objects.views[name], "kind": objects.views[name].kind(), "dead_letters": 1,
                "dead_letter_list": [{
                    "version": 1, "valid_at": "2013-05-31T12:00:00Z", "row": { "origin": "EWR" }, "reason": "ValueError: no",
                }],
                "versions": [{ "version": 1, "state": "current", "created_at": "2026-01-01T00:00:00Z" }],
            }))
        };
        insta::assert_snapshot!(["flight_schedule", "aircraft_delay", "origin_load"].map(page).join("\n"));
    }

    #[test]
    fn a_window_says_what_it_computes_and_of_which_rows() {
        let window = |aggregate: Value, column: Value, condition: Value| {
            let window = json!({ "secs": 3600, "nanos": 0 });
            rule(&json!({ "window": {
                "aggregate": aggregate, "column": column, "where": condition, "window": window,
            } }))
        };
        assert_eq!(window(json!("count"), Value::Null, Value::Null), "count of rows over 1h");
        let clicks = window(json!("count"), Value::Null, json!("action = 'click'"));
        assert_eq!(clicks, "count of rows where action = 'click' over 1h");
        let share = window(json!({ "percentile": { "p": 0.95 } }), json!("delay"), Value::Null);
        assert_eq!(share, "percentile 0.95 of delay over 1h");
    }
}
