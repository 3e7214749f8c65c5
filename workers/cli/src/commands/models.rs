//! Models: versions, metrics, latencies, aliases.

mod canary;
mod register;

use serde_json::{Value, json};

use super::Session;
use crate::{
    args::Models,
    client::segment,
    failure::Done,
    output::{self, count, facts, figure, instant, plain, text},
};

const COLUMNS: &[output::Column] = &[
    text("MODEL", "/name"),
    text("CHAMPION", "/champion"),
    text("VERSIONS", "/versions").by(count),
    text("RUNTIME", "/runtime"),
    text("ENTITY", "/entity"),
    text("OWNER", "/owner").wide(),
    text("NOTE", "/declared").by(note),
];

/// `tidemill models …`
pub(crate) async fn models(session: &Session, command: Models) -> Done {
    match command {
        Models::List => {
            let rows = session.client.list("/v1/models", &[]).await?;
            Ok(output::list(session.format, &rows, "/name", columns(&rows))?)
        }
        Models::Show { model } => {
            let page = session.client.get(&format!("/v1/models/{}", segment(&model))).await?;
            Ok(output::object(session.format, &page, "/name", show)?)
        }
        Models::Register(args) => register::register(session, args).await,
        Models::Canary(args) => canary::canary(session, args).await,
        Models::Promote { model, version, alias, write } => {
            let path = format!("/v1/models/{}/promote", segment(&model));
            let body = json!({ "version": version, "alias": alias });
            alias_call(&session.writing(&write), &path, &body).await
        }
        Models::Rollback { model, alias, remove, write } => {
            let path = format!("/v1/models/{}/rollback", segment(&model));
            alias_call(&session.writing(&write), &path, &json!({ "alias": alias, "remove": remove })).await
        }
    }
}

async fn alias_call(session: &Session, path: &str, body: &Value) -> Done {
    let done = session.client.post(path, body).await?;
    Ok(output::object(session.format, &done, "/version", moved)?)
}

/// Where the alias is now, and which serving processes don't follow yet.
fn moved(done: &Value) -> String {
    let (model, alias) = (plain(&done["model"]), plain(&done["alias"]));
    let head = match done["version"].as_i64() {
        Some(version) => format!("{model} v{version} → {alias}"),
        None => format!("{model} has no {alias} any more"),
    };
    let of = |name: &str| done[name].as_array().map(Vec::as_slice).unwrap_or_default();
    let serving = of("serving").iter().map(|address| format!("  ✓ {}", plain(address)));
    let waiting = of("waiting").iter().map(|waiting| format!("  ! {}", plain(waiting)));
    std::iter::once(head).chain(serving).chain(waiting).collect::<Vec<_>>().join("\n")
}

/// The note is a column only where there is one.
fn columns(rows: &[Value]) -> &'static [output::Column] {
    let noted = rows.iter().any(|row| row["declared"] == false);
    if noted { COLUMNS } else { &COLUMNS[..COLUMNS.len() - 1] }
}

/// What is said of a model that was taken out of the project: it goes on answering.
fn note(declared: &Value) -> String {
    if *declared == false { "not in the project any more".to_owned() } else { String::new() }
}

fn show(page: &Value) -> String {
    let typed = |value: &Value| {
        let columns = value.as_object().into_iter().flatten();
        columns.map(|(name, ty)| format!("{name}: {}", output_type(ty))).collect::<Vec<_>>().join(", ")
    };
    let input = |input: &Value| match input.get("keys") {
        Some(keys) => format!("keys: {}", plain(keys)),
        None => format!(
            "{}: {}",
            input.pointer("/view/view").map(plain).unwrap_or_default(),
            input.pointer("/view/features").map(plain).unwrap_or_default()
        ),
    };
    let mut inputs = page["inputs"].as_array().into_iter().flatten().map(input);
    let mut known = vec![
        ("model", plain(&page["name"])),
        ("about", plain(&page["description"])),
        ("owner", plain(&page["owner"])),
        ("runtime", plain(&page["runtime"])),
        ("entity", plain(&page["entity"])),
        ("outputs", typed(&page["outputs"])),
        ("inputs", inputs.next().unwrap_or_default()),
    ];
    known.extend(inputs.map(|input| ("", input)));
    if page["declared"] == false {
        let name = plain(&page["name"]);
        let remedy = format!("tidemill models rollback {name} --alias champion --remove");
        known.push((
            "note",
            format!("{}; its aliases answer until they are removed: {remedy}", note(&page["declared"])),
        ));
    }
    let versions = [
        text("VERSION", "/version"),
        text("ALIASES", "/aliases"),
        text("REGISTERED", "/created_at").by(instant),
        text("DATASET", "/dataset"),
        text("LEAKS ALLOWED", "/leak_allowed"),
    ];
    let latencies = [
        text("VERSION", "/version"),
        text("LAST", "/last"),
        text("REQUESTS", "/requests").by(count),
        text("ERRORS", "/errors").by(count),
        text("P50 MS", "/p50_ms").by(milliseconds),
        text("P95 MS", "/p95_ms").by(milliseconds),
        text("P99 MS", "/p99_ms").by(milliseconds),
        text("HYDRATE P95", "/hydrate/p95_ms").by(milliseconds),
        text("MODEL P95", "/model/p95_ms").by(milliseconds),
    ];
    let metrics = [
        text("VERSION", "/version"),
        text("OVER", "/subject"),
        text("METRIC", "/metric"),
        text("VALUE", "/value").by(figure),
    ];
    let serving = [
        text("PROCESS", "/address"),
        text("VERSION", "/version"),
        text("ALIASES", "/aliases"),
        text("STATE", "/state"),
        text("REASON", "/reason"),
    ];
    facts(&known)
        + &output::section("versions", &page["version_list"], &versions)
        + &output::section("figures", &figures(&page["version_list"]), &metrics)
        + &output::section("latencies", &windows(&page["version_list"]), &latencies)
        + &canary::section(page)
        + &output::section("serving", &page["serving"], &serving)
}

/// `float`, `class of a, b`, `vector of 8`.
fn output_type(ty: &Value) -> String {
    match (ty.get("classes"), ty.get("size")) {
        (Some(classes), _) => format!("class of {}", plain(classes)),
        (None, Some(size)) => format!("vector of {size}"),
        (None, None) => plain(ty),
    }
}

/// A row for each figure of each version.
fn figures(versions: &Value) -> Value {
    let mut rows = Vec::new();
    for version in versions.as_array().into_iter().flatten() {
        for (subject, metrics) in version["metrics"].as_object().into_iter().flatten() {
            for (metric, value) in metrics.as_object().into_iter().flatten() {
                rows.push(json!({
                    "version": version["version"], "subject": subject, "metric": metric, "value": value,
                }));
            }
        }
    }
    rows.into()
}

/// A row for each window of each version that was asked in it.
fn windows(versions: &Value) -> Value {
    let mut rows = Vec::new();
    for version in versions.as_array().into_iter().flatten() {
        for last in ["1m", "5m", "1h"] {
            let fared = &version["latency"][last];
            if fared["requests"].as_u64().unwrap_or_default() > 0 {
                let mut row = fared.clone();
                (row["version"], row["last"]) = (version["version"].clone(), last.into());
                rows.push(row);
            }
        }
    }
    rows.into()
}

fn milliseconds(value: &Value) -> String {
    value.as_f64().map_or_else(|| plain(value), |number| format!("{number:.1}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_have_their_types() {
        assert_eq!(output_type(&json!("float")), "float");
        assert_eq!(output_type(&json!({ "type": "class", "classes": ["a", "b"] })), "class of a, b");
        assert_eq!(output_type(&json!({ "type": "vector", "size": 8 })), "vector of 8");
    }

    #[test]
    fn a_model_that_the_project_has_no_more_says_so_and_how_it_is_taken_out() {
        let page = show(&json!({ "name": "late", "declared": false, "runtime": "lightgbm" }));
        assert!(page.contains("not in the project any more"), "{page}");
        assert!(page.contains("tidemill models rollback late --alias champion --remove"), "{page}");
        let rows =
            [json!({ "name": "late", "declared": false }), json!({ "name": "early", "declared": true })];
        let table = |rows: &[Value]| output::table(rows, &columns(rows).iter().collect::<Vec<_>>());
        assert_eq!(table(&rows).matches("not in the project any more").count(), 1, "{}", table(&rows));
        assert!(!table(&rows[1..]).contains("NOTE"));
    }

    #[test]
    fn a_model_says_what_it_reads_and_how_its_versions_fare() {
        let page = json!({
            "name": "late_flight", "description": "Lands late", "owner": "", "runtime": "lightgbm", "entity": "flight",
            "inputs": [{ "keys": ["carrier"] }, { "view": { "view": "route_week", "features": ["arr_delay_7d"] } }],
            "outputs": { "late_probability": "float" },
            "version_list": [{
                "version": 2, "aliases": ["champion"], "created_at": "2026-01-01T00:00:00Z", "dataset": "dst_1",
                "leak_allowed": [], "metrics": { "dst_1.holdout": { "auc": 0.766_31, "log_loss": 0.4 } },
                "latency": {
                    "model": "late_flight", "version": 2, "1m": { "requests": 0 },
                    "5m": {
                        "requests": 754, "errors": 3, "p50_ms": 1.24, "p95_ms": 2.1, "p99_ms": 3.7,
                        "hydrate": { "p95_ms": 0.61 }, "model": { "p95_ms": 1.32 },
                    },
                },
            }],
            "serving": [
                { "address": "127.0.0.1:7436", "version": 2, "aliases": ["champion"], "state": "ready", "reason": null },
                { "address": "127.0.0.1:7446", "version": 2, "aliases": [], "state": "failed", "reason": "no memory" },
            ],
        });
        insta::assert_snapshot!(show(&page));
    }
}
