//! The HTTP door: the REST twin of `Predict`, probes, metrics and statistics.

use std::time::Duration;

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, Request, State, rejection::BytesRejection},
    http::{Method, StatusCode, Uri, header::ALLOW},
    middleware::Next,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};
use tidemill_core::{Fault, Time};
use tidemill_inference::Outputs;
use tidemill_online::ViewFeatures;
use tidemill_proto::{Hosts, Reason};
use tidemill_rows::Row;
use tokio::time::Instant;

use crate::{
    Error,
    ask::{Answer, Ask, Prediction},
    door::{BODY_BYTES_MAX, Door, too_large},
    features::{FeaturesAnswer, FeaturesAsk},
    oip,
    openapi::openapi,
    readiness::Readiness,
    warm::Which,
};

/// `POST /v1/models/{model}:predict`, `POST /v1/features/online`, `GET /v1/stats`, `/healthz`, `/readyz`, `/metrics`, `/openapi.json`, `/v2/…`.
pub(crate) fn router(door: Door) -> Router {
    Router::new()
        .route("/v1/models/{call}", post(predict))
        .route("/v1/features/online", post(features))
        .route("/v1/stats", get(stats))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/openapi.json", get(openapi))
        .merge(oip::router())
        .fallback(nowhere)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
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

/// The body of a read of features: the message of the contract.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FeaturesBody {
    #[serde(default)]
    features: Vec<String>,
    entities: Vec<Map<String, Value>>,
}

async fn features(State(door): State<Door>, uri: Uri, body: Result<Bytes, BytesRejection>) -> Response {
    let ask = read::<FeaturesBody>(&uri, body)
        .map(|(FeaturesBody { features, entities }, deadline)| FeaturesAsk { features, entities, deadline });
    let answer = match ask {
        Ok(ask) => door.predictor.features(ask).await,
        Err(error) => Err(error),
    };
    answer.map_or_else(|error| failure(&error), |answer| Json(features_json(&answer)).into_response())
}

fn features_json(answer: &FeaturesAnswer) -> Value {
    let view = |found: &ViewFeatures| {
        let mut told = view_json(found, answer.now);
        told["values"] = row_json(&found.values);
        told["defaulted"] = json!(found.defaulted);
        told
    };
    let entity = |found: &Result<Vec<ViewFeatures>, Error>| match found {
        Ok(views) => json!({ "views": views.iter().map(view).collect::<Vec<_>>() }),
        Err(error) => json!({ "views": [], "error": error.fault() }),
    };
    json!({ "at": answer.now, "entities": answer.entities.iter().map(entity).collect::<Vec<_>>() })
}

async fn predict(
    State(door): State<Door>,
    Path(call): Path<String>,
    method: Method,
    uri: Uri,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let Some(model) = call.strip_suffix(":predict") else { return nowhere(method, uri).await };
    let answer = match ask(model, &uri, body) {
        Ok(ask) => door.predictor.predict(ask).await,
        Err(error) => Err(error),
    };
    answer.map_or_else(|error| failure(&error), |answer| Json(answer_json(&answer)).into_response())
}

/// A path that is served, but not with this method.
async fn wrong_method(method: Method, uri: Uri) -> Response {
    let posted = [":predict", "/infer", "/v1/features/online"].iter().any(|end| uri.path().ends_with(end));
    let allowed = if posted { "POST" } else { "GET" };
    let error = Error::WrongMethod { method: method.to_string(), path: uri.path().to_owned(), allowed };
    ([(ALLOW, allowed)], failure(&error)).into_response()
}

/// A path that isn't served.
async fn nowhere(method: Method, uri: Uri) -> Response {
    failure(&Error::NoSuchCall(format!("{method} {}", uri.path())))
}

/// A JSON body, and the caller's deadline.
fn read<T: DeserializeOwned>(
    uri: &Uri,
    body: Result<Bytes, BytesRejection>,
) -> Result<(T, Option<Instant>), Error> {
    let malformed = |problem: String| Error::Malformed(problem);
    let deadline = timeout(uri.query().unwrap_or_default())?.map(|timeout| Instant::now() + timeout);
    let body = body
        .map_err(|error| too_large(&error).unwrap_or_else(|| malformed(error.body_text().to_lowercase())))?;
    tidemill_spec::json::keys_once(&body).map_err(malformed)?;
    let body = serde_json::from_slice(&body).map_err(|error| malformed(error.to_string()))?;
    Ok((body, deadline))
}

fn ask(model: &str, uri: &Uri, body: Result<Bytes, BytesRejection>) -> Result<Ask, Error> {
    let (body, deadline) = read::<Body>(uri, body)?;
    let which = match (body.version, body.alias) {
        (Some(_), Some(_)) => return Err(Error::Malformed("give `version` or `alias`, not both".to_owned())),
        (Some(version), None) => Which::Version(version),
        (None, Some(alias)) => Which::Alias(alias),
        (None, None) => Which::Champion,
    };
    let Body { entities, request, want_features, .. } = body;
    Ok(Ask { model: model.to_owned(), which, entities, request, want_features, deadline })
}

/// `timeout=500ms`: how long the caller waits.
fn timeout(query: &str) -> Result<Option<Duration>, Error> {
    let Some(given) = query.split('&').find(|part| !part.is_empty()) else { return Ok(None) };
    let value = given.strip_prefix("timeout=").filter(|_| !query.contains('&'));
    let timeout = value.and_then(|value| match value.strip_suffix("ms") {
        Some(digits) => digits.parse().ok().map(Duration::from_millis),
        None => tidemill_spec::units::parse_duration(value),
    });
    // Longer than any prediction may take is no limit.
    let timeout = timeout.map(|timeout| timeout.min(Duration::from_hours(1)));
    let wrong =
        || Error::Malformed(format!("`?{query}` is not understood; write `?timeout=500ms` or nothing"));
    timeout.map(Some).ok_or_else(wrong)
}

fn answer_json(answer: &Answer) -> Value {
    let now = answer.now;
    let predictions: Vec<Value> = answer.predictions.iter().map(|one| prediction_json(one, now)).collect();
    json!({"model": answer.model, "version": answer.version, "predictions": predictions})
}

fn prediction_json(one: &Prediction, now: Time) -> Value {
    let views: Vec<Value> = one.hydrated.views.iter().map(|view| view_json(view, now)).collect();
    let mut told = json!({
        "prediction_id": one.id,
        "version": one.version,
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

fn view_json(view: &ViewFeatures, now: Time) -> Value {
    json!({
        "view": view.view,
        "version": view.version,
        "valid_at": view.valid_at,
        "age_seconds": view.age_seconds(now),
        "status": view.status.as_str(),
    })
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

/// How each version fared over all serving processes: the last minute, five minutes, hour.
async fn stats(State(door): State<Door>) -> Response {
    match door.predictor.stats().await {
        Ok(items) => Json(json!({ "items": items })).into_response(),
        Err(error) => failure(&error),
    }
}

async fn ready(State(door): State<Door>) -> Response {
    let Readiness { ready, problems } = door.predictor.readiness();
    let (status, first) =
        if ready { (StatusCode::OK, "ok") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready") };
    let lines: Vec<&str> = std::iter::once(first).chain(problems.iter().map(String::as_str)).collect();
    (status, lines.join("\n") + "\n").into_response()
}

async fn metrics(State(door): State<Door>) -> Response {
    let kind = [("content-type", "application/openmetrics-text; version=1.0.0; charset=utf-8")];
    (kind, door.registry.render()).into_response()
}
