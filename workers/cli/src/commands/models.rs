//! Models: versions, metrics, latencies, aliases.

use serde_json::{Value, json};

use super::Session;
use crate::{
    args::Models,
    client::Client,
    failure::Done,
    output::{self, count, fields, figure, instant, plain, text},
};

const COLUMNS: &[output::Column] = &[
    text("MODEL", "/name"),
    text("CHAMPION", "/champion"),
    text("VERSIONS", "/versions").by(count),
    text("RUNTIME", "/runtime"),
    text("ENTITY", "/entity"),
    text("OWNER", "/owner").wide(),
];

/// `tidemill models …`
pub(crate) async fn models(session: &Session, command: Models) -> Done {
    match command {
        Models::List => {
            let rows = session.client.list("/v1/models", &[]).await?;
            Ok(output::list(session.format, &rows, "/name", COLUMNS)?)
        }
        Models::Show { model } => {
            let mut page = session.client.get(&format!("/v1/models/{model}")).await?;
            add_latencies(&mut page, &session.places.serve, &model).await;
            Ok(output::object(session.format, &page, "/name", show)?)
        }
        Models::Promote { model, version, alias } => {
            let body = json!({ "version": version, "alias": alias });
            alias_call(session, &format!("/v1/models/{model}/promote"), &body).await
        }
        Models::Rollback { model, alias } => {
            alias_call(session, &format!("/v1/models/{model}/rollback"), &json!({ "alias": alias })).await
        }
    }
}

async fn alias_call(session: &Session, path: &str, body: &Value) -> Done {
    let done = session.client.post(path, body).await?;
    Ok(output::object(session.format, &done, "/version", |done| {
        format!("{} v{} → {}", plain(&done["model"]), plain(&done["version"]), plain(&done["alias"]))
    })?)
}

/// The serving role knows latencies; without it the page goes without them.
async fn add_latencies(page: &mut Value, serve: &str, model: &str) {
    let Ok(client) = Client::new(serve, Some(std::time::Duration::from_secs(2))) else { return };
    let Ok(stats) = client.get("/v1/stats").await else { return };
    for version in page["version_list"].as_array_mut().into_iter().flatten() {
        let row = stats["items"].as_array().into_iter().flatten();
        let of_version = row.filter(|row| row["model"] == model && row["version"] == version["version"]);
        if let Some(row) = of_version.into_iter().next() {
            version["latency"] = row.clone();
        }
    }
}

fn show(page: &Value) -> String {
    let columns = [
        text("VERSION", "/version"),
        text("ALIASES", "/aliases"),
        text("REGISTERED", "/created_at").by(instant),
        text("DATASET", "/dataset"),
        text("METRICS", "/metrics"),
        text("REQUESTS", "/latency/requests").by(count),
        text("P50 MS", "/latency/p50_ms").by(figure),
        text("P95 MS", "/latency/p95_ms").by(figure),
        text("P99 MS", "/latency/p99_ms").by(figure),
    ];
    let mut head = page.clone();
    let versions = head.as_object_mut().and_then(|head| head.remove("version_list")).unwrap_or_default();
    let rows = versions.as_array().cloned().unwrap_or_default();
    format!("{}\n{}", fields(&head), output::table(&rows, &columns.iter().collect::<Vec<_>>()))
}
