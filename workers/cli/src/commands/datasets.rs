//! Training sets: those that runs registered, and joins for notebooks.

use std::path::Path;

use serde_json::{Value, json};
use tidemill_core::Fault;

use super::Session;
use crate::{
    args::Datasets,
    failure::{Done, Failure, USAGE},
    output::{self, count, fields, figure, instant, text},
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

/// `tidemill datasets …`
pub(crate) async fn datasets(session: &Session, command: Datasets) -> Done {
    match command {
        Datasets::List => {
            let rows = session.client.list("/v1/datasets", &[]).await?;
            Ok(output::list(session.format, &rows, "/id", COLUMNS)?)
        }
        Datasets::Show { dataset } => {
            let page = session.client.get(&format!("/v1/datasets/{dataset}")).await?;
            Ok(output::object(session.format, &page, "/id", fields)?)
        }
        Datasets::Build { labels, inputs, known_at, out } => {
            let body = std::fs::read(&labels).map_err(|error| {
                Failure::new(USAGE, Fault::coded(101, format!("{} can't be read: {error}", labels.display())))
            })?;
            let extension = |path: &Path| path.extension().map(|end| end.to_string_lossy().to_lowercase());
            let query = [
                ("format", extension(&labels)),
                ("inputs", Some(inputs.join(","))),
                ("known_at", known_at),
                ("out", extension(&out)),
            ];
            let (bytes, report) = session.client.post_bytes("/v1/datasets/build", &query, body).await?;
            std::fs::write(&out, &bytes)?;
            let mut report = report.unwrap_or_else(|| json!({}));
            report["file"] = Value::from(out.display().to_string());
            Ok(output::object(session.format, &report, "/file", fields)?)
        }
    }
}
