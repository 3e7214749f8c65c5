//! Training sets: those that runs registered, and joins for notebooks.

use std::path::Path;

use serde_json::{Value, json};
use tidemill_core::Fault;

use super::Session;
use crate::{
    args::Datasets,
    client::segment,
    failure::{Done, Failure, USAGE},
    files,
    output::{self, count, facts, figure, instant, plain, text},
};

const COLUMNS: &[output::Column] = &[
    text("DATASET", "/id"),
    text("LABEL", "/label"),
    text("FROM", "/from").by(instant),
    text("TO", "/to").by(instant),
    text("ROWS", "/rows").by(count),
    text("HOLDOUT", "/holdout_rows").by(count),
    text("LABEL RATE", "/label_rate").by(figure),
    text("LAKE VERSION", "/lake_version").wide(),
    text("LEAKS ALLOWED", "/leak_allowed").wide(),
];

/// Endings of files of rows.
const FORMATS: &[&str] = &["parquet", "csv", "jsonl"];

/// `tidemill datasets …`
pub(crate) async fn datasets(session: &Session, command: Datasets) -> Done {
    match command {
        Datasets::List => {
            let rows = session.client.list("/v1/datasets", &[]).await?;
            Ok(output::list(session.format, &rows, "/id", COLUMNS)?)
        }
        Datasets::Show { dataset } => {
            let found = session.client.get(&format!("/v1/datasets/{}", segment(&dataset))).await?;
            Ok(output::object(session.format, &found, "/id", page)?)
        }
        Datasets::Build { labels, inputs, label, known_at, out, force } => {
            let (from, to) = (files::ending(&labels, FORMATS)?, files::ending(&out, FORMATS)?);
            let same = |path: &Path| path.canonicalize().ok();
            if same(&out).is_some_and(|out| same(&labels) == Some(out)) {
                let message = format!("`{}` is both the labels and the result", out.display());
                return Err(Failure::usage(message, "name another file with --out"));
            }
            files::free(&out, force)?;
            let body = std::fs::read(&labels).map_err(|error| {
                Failure::new(USAGE, Fault::coded(101, format!("{} can't be read: {error}", labels.display())))
            })?;
            let query = [
                ("format", Some(from.to_owned())),
                ("inputs", Some(inputs.join(","))),
                ("label", label),
                ("known_at", known_at),
                ("out", Some(to.to_owned())),
            ];
            let (bytes, report) = session.client.post_bytes("/v1/datasets/build", &query, body).await?;
            files::write(&out, &bytes, force)?;
            let mut report = report.unwrap_or_else(|| json!({}));
            report["file"] = Value::from(out.display().to_string());
            Ok(output::object(session.format, &report, "/file", built)?)
        }
    }
}

/// What was built, for people.
fn built(report: &Value) -> String {
    let views = report["view_versions"].as_object().into_iter().flatten();
    let views: Vec<String> = views.map(|(view, version)| format!("{view}@{version}")).collect();
    facts(&[
        ("file", plain(&report["file"])),
        ("rows", count(&report["rows"])),
        ("lake version", plain(&report["lake_version"])),
        ("views", views.join(", ")),
        ("labels", self::labels(&report["coverage"])),
        ("classes", classes(&report["classes"])),
        ("leaks allowed", plain(&report["leak_allowed"])),
        ("warnings", lines(&report["warnings"])),
        ("corrections", corrections(&report["changed_under_known_at"])),
        (
            "instants",
            if report["naive_timestamps"] == true { "without an offset: read as UTC" } else { "" }.to_owned(),
        ),
    ])
}

/// How many labels were asked, and what became of them.
fn labels(coverage: &Value) -> String {
    if coverage.is_null() {
        return String::new();
    }
    let counted = [
        ("asked", "asked"),
        ("matured", "matured"),
        ("left_out", "of them without an answer"),
        ("purged", "that mature inside the holdout"),
    ];
    let known = counted.into_iter().filter(|(name, _)| !coverage[*name].is_null());
    let told = known.map(|(name, said)| format!("{} {said}", count(&coverage[name])));
    told.collect::<Vec<_>>().join(", ")
}

/// The share of each value of the label in the rows to train on.
fn classes(classes: &Value) -> String {
    let classes = || classes.as_object().into_iter().flatten();
    let rows = |count: &Value| count.as_f64().unwrap_or_default();
    let all: f64 = classes().map(|(_, count)| rows(count)).sum();
    let share =
        |(name, of): (&String, &Value)| format!("{name} {} ({:.1} %)", count(of), 100.0 * rows(of) / all);
    classes().map(share).collect::<Vec<_>>().join(", ")
}

/// That the files hold rows of an entity that was erased since.
fn erased(at: &Value) -> String {
    if at.is_null() { String::new() } else { format!("it holds rows of an entity erased {}", instant(at)) }
}

fn corrections(changed: &Value) -> String {
    match changed {
        Value::Null => "not known: a view can't say".to_owned(),
        rows => format!("{} rows would change under known_at: label", count(rows)),
    }
}

/// Each item on a line of its own.
fn lines(items: &Value) -> String {
    items.as_array().into_iter().flatten().map(plain).collect::<Vec<_>>().join("\n")
}

/// A training set for people: what was asked, what was pinned, what came out, and what of it would have leaked.
fn page(set: &Value) -> String {
    let versions = |value: &Value| {
        let views = value.as_object().into_iter().flatten();
        views.map(|(view, version)| format!("{view}@{version}")).collect::<Vec<_>>().join(", ")
    };
    let head = facts(&[
        ("dataset", plain(&set["id"])),
        ("label", plain(&set["label"])),
        ("model", plain(&set["model"])),
        ("from", instant(&set["from"])),
        ("to", instant(&set["to"])),
        ("holdout from", instant(&set["holdout_from"])),
        ("rows", count(&set["rows"])),
        ("holdout rows", count(&set["holdout_rows"])),
        ("labels", labels(&set["coverage"])),
        ("asked of", plain(&set["coverage"]["population"])),
        ("label rate", figure(&set["label_rate"])),
        ("classes", classes(&set["classes"])),
        ("data clock", instant(&set["clock"])),
        ("lake version", plain(&set["lake_version"])),
        ("views", versions(&set["view_versions"])),
        ("corrections", corrections(&set["changed_under_known_at"])),
        ("leaks allowed", plain(&set["leak_allowed"])),
        ("warnings", lines(&set["warnings"])),
        ("registered", instant(&set["created_at"])),
        ("erased", erased(&set["erased_at"])),
        ("run", plain(&set["run"])),
        ("sha256", set.pointer("/train/sha256").map(plain).unwrap_or_default()),
    ]);
    let columns: Vec<Value> = set["columns"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, ty)| json!({ "name": name, "type": ty }))
        .collect();
    head + &output::section("columns", &columns.into(), &[text("COLUMN", "/name"), text("TYPE", "/type")])
}
