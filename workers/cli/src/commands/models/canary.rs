//! Rollouts: begun, and shown on a model's page.

use serde_json::{Value, json};

use super::super::Session;
use crate::{
    args::CanaryArgs,
    client::segment,
    failure::Done,
    output::{self, count, instant, plain, text},
};

/// `tidemill models canary …`
pub(super) async fn canary(session: &Session, args: CanaryArgs) -> Done {
    let path = format!("/v1/models/{}/canary", segment(&args.model));
    let body = json!({
        "version": args.version, "alias": args.alias, "steps": args.steps, "every": args.every,
        "entities_min": args.min_entities, "error_rate_max": args.max_error_rate, "p95_ms_max": args.max_p95_ms,
    });
    let begun = session.writing(&args.write).client.post(&path, &body).await?;
    Ok(output::object(session.format, &begun, "/rollout", said)?)
}

fn said(begun: &Value) -> String {
    let model = plain(&begun["model"]);
    format!(
        "{model} v{} answers {} % of {}: {}\n  tidemill models show {model} says how it does; rollback ends it",
        plain(&begun["candidate"]),
        plain(&begun["percent"]),
        plain(&begun["alias"]),
        plain(&begun["rollout"]),
    )
}

/// The rollouts of a model's page, the newest first.
pub(super) fn section(page: &Value) -> String {
    let columns = [
        text("VERSION", "/candidate"),
        text("ALIAS", "/alias"),
        text("STATE", "").by(state),
        text("BEGAN", "/began_at").by(instant),
        text("ASKED", "/arms/candidate/requests").by(count),
        text("FAILED", "/arms/candidate/errors").by(count),
        text("P95 MS", "/arms/candidate/p95_ms"),
        text("P95 BESIDE", "/arms/control/p95_ms"),
        text("WHY", "/reason"),
    ];
    output::section("rollouts", &page["rollouts"], &columns)
}

fn state(rollout: &Value) -> String {
    match rollout["state"].as_str() {
        Some("running") => format!("{} %", plain(&rollout["percent"])),
        Some("rolled_back") => "rolled back".to_owned(),
        _ => plain(&rollout["state"]),
    }
}
