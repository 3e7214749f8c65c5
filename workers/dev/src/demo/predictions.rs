//! Every flight of 1 June, predicted by id over gRPC, and held against the point-in-time join of the same moment.

use std::time::Instant;

use anyhow::{Context as _, ensure};
use futures::{StreamExt as _, stream};
use prost_types::{Struct, value::Kind};
use serde_json::{Value, json};
use tidemill_proto::serving::v1::{
    PredictRequest, predict_request::Which, prediction_service_client::PredictionServiceClient,
};
use tonic::transport::Channel;

use super::{stage::Stage, summary::Summary};
use crate::Tree;

/// Requests under way at once.
const CONCURRENCY: usize = 8;

type Client = PredictionServiceClient<Channel>;

pub(super) async fn first_of_june(stage: &Stage, tree: &Tree, summary: &mut Summary) -> anyhow::Result<()> {
    let act = Instant::now();
    let entities = offline_rows(stage).await?;
    let client =
        Client::connect(format!("http://{}", tree.endpoints().serve)).await.context("reach serve")?;
    await_model(&client, &entities[0]).await?;

    let timed = Instant::now();
    let replies: Vec<anyhow::Result<(f64, Struct)>> =
        stream::iter(&entities).map(|row| predict(client.clone(), row)).buffered(CONCURRENCY).collect().await;
    let per_second = f64::from(u32::try_from(replies.len())?) / timed.elapsed().as_secs_f64();

    let errors = replies.iter().filter(|reply| reply.is_err()).count();
    let equal = replies.iter().zip(&entities).filter(|(reply, row)| agrees(reply, row)).count();
    let mut latencies: Vec<f64> = replies.iter().flatten().map(|(ms, _)| *ms).collect();
    latencies.sort_by(f64::total_cmp);
    let quantile = |percent: usize| latencies.get(latencies.len() * percent / 100).copied();
    ensure!(!latencies.is_empty(), "no prediction succeeded: {:?}", replies.first());
    summary.predictions = json!({
        "count": entities.len(), "errors": errors, "p50_ms": quantile(50), "p95_ms": quantile(95),
        "per_second": per_second, "online_equals_offline": equal,
    });
    let line = format!(
        "predicted {} flights of 1 June by id   {per_second:.0}/s   p95 {:.1} ms   online = offline for {equal} of {}",
        entities.len(),
        quantile(95).unwrap_or_default(),
        entities.len()
    );
    summary.act("predict", act, line);
    Ok(())
}

/// The flights with the features that the point-in-time join gives for the data clock's moment.
async fn offline_rows(stage: &Stage) -> anyhow::Result<Vec<Value>> {
    let (labels, out) = (stage.data("entities/2013-06-01.csv"), stage.data("offline-2013-06-01.jsonl"));
    stage
        .cli(&["datasets", "build", "--labels", &labels, "--inputs", "late_flight", "--out", &out, "--force"])
        .await?;
    let text = std::fs::read_to_string(&out).context("read the joined rows")?;
    text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

/// The champion takes traffic a moment after its promotion.
async fn await_model(client: &Client, row: &Value) -> anyhow::Result<()> {
    let mut looks = tokio::time::interval(std::time::Duration::from_millis(100));
    for _ in 0..300 {
        looks.tick().await;
        if predict(client.clone(), row).await.is_ok() {
            return Ok(());
        }
    }
    predict(client.clone(), row).await.context("the model did not get ready").map(|_| ())
}

async fn predict(mut client: Client, row: &Value) -> anyhow::Result<(f64, Struct)> {
    let key = |name: &str| (name.to_owned(), to_proto(&row[name]));
    let entity = Struct { fields: ["carrier", "flight", "date", "origin"].map(key).into() };
    let request = PredictRequest {
        model: "late_flight".to_owned(),
        entities: vec![entity],
        request: Vec::new(),
        want_features: true,
        which: Some(Which::Alias("champion".to_owned())),
    };
    let started = Instant::now();
    let reply = client.predict(request).await?.into_inner();
    let milliseconds = started.elapsed().as_secs_f64() * 1e3;
    let prediction = reply.predictions.into_iter().next().context("a prediction")?;
    Ok((milliseconds, prediction.features.context("the features")?))
}

/// Whether every column that was served equals the joined one.
fn agrees(reply: &anyhow::Result<(f64, Struct)>, row: &Value) -> bool {
    let Ok((_, served)) = reply else { return false };
    !served.fields.is_empty()
        && served
            .fields
            .iter()
            .all(|(name, value)| same(value.kind.as_ref(), row.get(name).unwrap_or(&Value::Null)))
}

/// Sums are added in another order online, so floats may differ in the last digits.
fn same(served: Option<&Kind>, joined: &Value) -> bool {
    match (served, joined) {
        (Some(Kind::NumberValue(a)), Value::Number(b)) => {
            b.as_f64().is_some_and(|b| (a - b).abs() <= 1e-12 * a.abs().max(b.abs()))
        }
        (Some(Kind::StringValue(a)), Value::String(b)) => a == b,
        (Some(Kind::BoolValue(a)), Value::Bool(b)) => a == b,
        (None | Some(Kind::NullValue(_)), Value::Null) => true,
        _ => false,
    }
}

fn to_proto(value: &Value) -> prost_types::Value {
    let kind = match value {
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or(f64::NAN)),
        Value::String(text) => Kind::StringValue(text.clone()),
        Value::Bool(truth) => Kind::BoolValue(*truth),
        _ => Kind::NullValue(0),
    };
    prost_types::Value { kind: Some(kind) }
}
