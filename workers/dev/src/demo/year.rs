//! The rest of the year: what the models are worth in June, and what the monitor sees month by month.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::{
    MODELS, source_rows,
    stage::{Stage, step},
    summary::Summary,
    webhook::Webhook,
};

pub(super) async fn upload_the_rest(stage: &Stage, summary: &mut Summary) -> anyhow::Result<()> {
    let act = Instant::now();
    // The champion stays the one of 1 June: moving the clock would train it anew every night.
    for schedule in stage.list(&["schedules", "list"]).await? {
        stage.cli(&["schedules", "pause", schedule["name"].as_str().unwrap_or_default()]).await?;
    }
    stage.upload(|month| month >= "2013-06").await?;
    stage.cli(&["clock", "set", "2014-01-02T00:00:00-05:00"]).await?;
    stage.await_idle().await?;
    let rows = source_rows(stage, summary).await?;
    summary.act("rest", act, format!("June to December uploaded, clock moved on: {rows}"));
    Ok(())
}

/// Each model on June, with its own features, and the leaky one with honest features too.
pub(super) async fn score_june(stage: &Stage, summary: &mut Summary) -> anyhow::Result<()> {
    let act = Instant::now();
    let version = |role: &str| summary.models[role]["version"].to_string();
    let own = MODELS.iter().map(|(role, model, _)| evaluate(stage, model, version(role), model));
    let served = evaluate(stage, "late_flight_leak", version("leak"), "late_flight");
    let (own, served) = futures::future::try_join(futures::future::try_join_all(own), served).await?;
    for ((role, ..), auc) in MODELS.iter().zip(own) {
        summary.models.get_mut(*role).context("a model")?["auc_june"] = json!(auc);
    }
    summary.leak_served_auc = Some(served);
    let auc = |role: &str| summary.models[role]["auc_june"].as_f64().unwrap_or(0.0);
    let line = format!(
        "June AUC {:.3} · request only {:.3} · leaked notebook {:.3}, served {:.3}",
        auc("point_in_time"),
        auc("request_only"),
        auc("leak"),
        summary.leak_served_auc.unwrap_or(0.0)
    );
    summary.act("june", act, line);
    Ok(())
}

/// AUC of a model's version on June's labels, with the features of the model `inputs`.
async fn evaluate(stage: &Stage, model: &str, version: String, inputs: &str) -> anyhow::Result<f64> {
    let params = [format!("model=\"{model}\""), format!("version={version}"), format!("inputs=\"{inputs}\"")];
    let [model, version, inputs] = params.each_ref().map(String::as_str);
    let arguments = [
        "run",
        "evaluate",
        "--date",
        "2013-06-01",
        "--param",
        model,
        "--param",
        version,
        "--param",
        inputs,
        "--wait",
    ];
    let run = stage.cli(&arguments).await?;
    let outputs = &step(&run, "score")["outputs"];
    outputs["auc"].as_f64().with_context(|| format!("an AUC in {outputs}"))
}

pub(super) async fn scan_months(
    stage: &Stage,
    webhook: &Webhook,
    summary: &mut Summary,
) -> anyhow::Result<()> {
    let act = Instant::now();
    for month in 6..=12 {
        let window = format!("2013-{month:02}");
        let report = stage.report(&format!("late_flight_drift-{window}.html"))?;
        let scan =
            ["monitors", "run", "late_flight_drift", "--window", &window, "--html", &report, "--force"];
        summary.drift.push(figures(&window, &stage.cli(&scan).await?, &report));
    }
    await_webhook(webhook).await?;
    let september = summary.drift.iter().find(|row| row["month"] == "2013-09").context("September")?;
    let figure = |row: &Value, name: &str| row[name].as_f64().unwrap_or(f64::NAN);
    let reference = stage.cli(&["datasets", "show", &dataset(summary)]).await?;
    let line = format!(
        "September: predictions drifted (PSI {:.2}), late rate {:.3} → {:.3} → incident, webhook delivered, report {}",
        figure(september, "psi_prediction"),
        figure(&reference["train"], "label_rate"),
        figure(september, "late_rate"),
        september["report"].as_str().unwrap_or_default(),
    );
    summary.act("drift", act, line);
    Ok(())
}

/// What the honest model was trained on: the monitor's reference.
fn dataset(summary: &Summary) -> String {
    summary.models["point_in_time"]["dataset"].as_str().unwrap_or_default().to_owned()
}

/// The month's figures out of a scan.
fn figures(month: &str, scan: &Value, report: &str) -> Value {
    let value = |check: &str, column: &str| {
        let mut results = scan["results"].as_array().into_iter().flatten();
        results
            .find(|row| row["check"] == check && row["column"] == column)
            .map_or(Value::Null, |row| row["value"].clone())
    };
    json!({
        "month": month,
        "psi_prediction": value("psi", "prediction"),
        "late_rate": scan["label_rate"],
        "mean_prediction": scan["mean_prediction"],
        "auc": scan["auc"],
        "incident": !scan["incident"].is_null(),
        "report": report,
    })
}

/// An incident's message is delivered by a job, a moment after the scan.
async fn await_webhook(webhook: &Webhook) -> anyhow::Result<()> {
    let mut looks = tokio::time::interval(Duration::from_millis(50));
    for _ in 0..400 {
        if webhook.received() > 0 {
            return Ok(());
        }
        looks.tick().await;
    }
    ensure!(webhook.received() > 0, "no webhook was delivered within 20 s");
    Ok(())
}
