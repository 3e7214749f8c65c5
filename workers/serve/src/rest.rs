//! The HTTP door: the REST twin of `Predict`, probes, metrics and statistics.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Bytes,
    extract::{Path, Request, State, rejection::BytesRejection},
    http::{Method, StatusCode, Uri},
    middleware::Next,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tidemill_core::{Fault, Time};
use tidemill_inference::Outputs;
use tidemill_proto::{Hosts, Reason};
use tidemill_rows::Row;
use tidemill_telemetry::Registry;

use crate::{
    Error,
    predict::{Answer, Ask, Prediction, Predictor, Which},
};

/// What the doors below share.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    pub(crate) predictor: Arc<Predictor>,
    pub(crate) registry: Registry,
}

/// `POST /v1/models/{model}:predict`, `GET /v1/stats`, `/healthz`, `/readyz`, `/metrics`.
pub(crate) fn router(door: Door) -> Router {
    Router::new()
        .route("/v1/models/{call}", post(predict))
        .route("/v1/stats", get(stats))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .fallback(nowhere)
        .method_not_allowed_fallback(nowhere)
        .with_state(door)
}

/// Answers what was meant for this server: not pages of others, nor names of their choice.
pub(crate) async fn guard(State(hosts): State<Hosts>, request: Request, next: Next) -> Response {
    let Some(Reason { message, hint, .. }) = hosts.refuse(&request) else { return next.run(request).await };
    let fault = Fault::coded(186, message).hint(hint.unwrap_or_default());
    (StatusCode::FORBIDDEN, Json(json!({"error": fault}))).into_response()
}

/// The body of a predict call: the message of the contract, without the model.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    entities: Vec<Map<String, Value>>,
    #[serde(default)]
    request: Vec<Map<String, Value>>,
    version: Option<u32>,
    alias: Option<String>,
    #[serde(default)]
    want_features: bool,
}

async fn predict(
    State(door): State<Door>,
    Path(call): Path<String>,
    method: Method,
    uri: Uri,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let Some(model) = call.strip_suffix(":predict") else { return nowhere(method, uri).await };
    let answer = match ask(model, body) {
        Ok(ask) => door.predictor.predict(ask).await,
        Err(error) => Err(error),
    };
    answer.map_or_else(|error| failure(&error), |answer| Json(answer_json(&answer)).into_response())
}

/// A path or method that isn't served.
async fn nowhere(method: Method, uri: Uri) -> Response {
    failure(&Error::NoSuchCall(format!("{method} {}", uri.path())))
}

fn ask(model: &str, body: Result<Bytes, BytesRejection>) -> Result<Ask, Error> {
    let malformed = |problem: String| Error::Malformed(problem);
    let body = body.map_err(|error| malformed(error.body_text().to_lowercase()))?;
    let body: Body = serde_json::from_slice(&body).map_err(|error| malformed(error.to_string()))?;
    let which = match (body.version, body.alias) {
        (Some(_), Some(_)) => return Err(Error::Malformed("give `version` or `alias`, not both".to_owned())),
        (Some(version), None) => Which::Version(version),
        (None, Some(alias)) => Which::Alias(alias),
        (None, None) => Which::Champion,
    };
    let Body { entities, request, want_features, .. } = body;
    Ok(Ask { model: model.to_owned(), which, entities, request, want_features, deadline: None })
}

fn answer_json(answer: &Answer) -> Value {
    let now = answer.now;
    let predictions: Vec<Value> = answer.predictions.iter().map(|one| prediction_json(one, now)).collect();
    json!({"model": answer.model, "version": answer.version, "predictions": predictions})
}

fn prediction_json(one: &Prediction, now: Time) -> Value {
    let views: Vec<Value> = one
        .hydrated
        .views
        .iter()
        .map(|view| {
            json!({
                "view": view.view,
                "version": view.version,
                "valid_at": view.valid_at,
                "age_seconds": view.age_seconds(now),
                "status": view.status.as_str(),
            })
        })
        .collect();
    let mut told = json!({
        "prediction_id": one.id,
        "views": views,
        "defaulted": one.hydrated.defaulted,
    });
    match &one.outputs {
        Ok(outputs) => told["outputs"] = outputs_json(outputs),
        Err(error) => told["error"] = json!(error.fault()),
    }
    if let Some(features) = &one.features {
        told["features"] = row_json(features);
    }
    told
}

fn outputs_json(outputs: &Outputs) -> Value {
    outputs.iter().map(|(name, output)| (name.clone(), output.to_json())).collect::<Map<_, _>>().into()
}

fn row_json(row: &Row) -> Value {
    row.iter().map(|(name, value)| (name.clone(), value.to_json())).collect::<Map<_, _>>().into()
}

fn failure(error: &Error) -> Response {
    let status = StatusCode::from_u16(error.http()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, Json(json!({"error": error.fault()}))).into_response()
}

/// Counts and p50, p95, p99 of each version since the process started.
async fn stats(State(door): State<Door>) -> Response {
    Json(json!({"items": door.predictor.metrics.stats()})).into_response()
}

async fn ready(State(door): State<Door>) -> Response {
    match door.predictor.unready().await {
        reasons if reasons.is_empty() => "ok\n".into_response(),
        reasons => (StatusCode::SERVICE_UNAVAILABLE, reasons.join("\n") + "\n").into_response(),
    }
}

async fn metrics(State(door): State<Door>) -> Response {
    let kind = [("content-type", "application/openmetrics-text; version=1.0.0; charset=utf-8")];
    (kind, door.registry.render()).into_response()
}
