//! The protocol over HTTP: JSON, and tensors as bytes behind it where `Inference-Header-Content-Length` says how long the
//! JSON is.
//!
//! Clients show `error` as it comes, so it is text; code and hint stand beside it.

use axum::{
    Json as Body, Router,
    body::Bytes,
    extract::{Path, State, rejection::BytesRejection},
    http::{
        HeaderMap, StatusCode,
        header::{CONTENT_ENCODING, CONTENT_TYPE},
    },
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

use super::{
    Infer, Inferred, Settings, binary, infer,
    metadata::{EXTENSIONS, SERVER, Tensor, VERSION, metadata, readiness},
    tensor::{Given, Head},
};
use crate::{
    Error,
    door::{Door, too_large},
};

/// How many bytes of a body are JSON; the others are tensors.
const JSON_LENGTH: &str = "inference-header-content-length";

/// `/v2` and everything below it.
pub(crate) fn router() -> Router<Door> {
    Router::new()
        .route("/v2", get(server))
        .route("/v2/health/live", get(|| async { Body(json!({"live": true})) }))
        .route("/v2/health/ready", get(server_ready))
        .route("/v2/models/{model}", get(model))
        .route("/v2/models/{model}/versions/{version}", get(model))
        .route("/v2/models/{model}/ready", get(model_ready))
        .route("/v2/models/{model}/versions/{version}/ready", get(model_ready))
        .route("/v2/models/{model}/infer", post(model_infer))
        .route("/v2/models/{model}/versions/{version}/infer", post(model_infer))
}

/// The parts of a path.
#[derive(Debug, Deserialize)]
struct Named {
    model: String,
    #[serde(default)]
    version: String,
}

async fn server() -> Response {
    Body(json!({"name": SERVER, "version": VERSION, "extensions": EXTENSIONS})).into_response()
}

async fn server_ready(State(door): State<Door>) -> Response {
    let readiness = door.predictor.readiness();
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Body(json!({"ready": readiness.ready}))).into_response()
}

async fn model(State(door): State<Door>, Path(Named { model, version }): Path<Named>) -> Response {
    match metadata(&door.predictor, &model, &version) {
        Ok(metadata) => {
            let tensors = |tensors: &[Tensor]| tensors.iter().map(Tensor::json).collect::<Vec<_>>();
            Body(json!({
                "name": metadata.name,
                "versions": metadata.versions,
                "platform": metadata.platform,
                "inputs": tensors(&metadata.inputs),
                "outputs": tensors(&metadata.outputs),
                "properties": {
                    "vector": tensors(&metadata.vector),
                    "optional": metadata.optional,
                    "classes": metadata.classes,
                },
            }))
            .into_response()
        }
        Err(error) => failure(&error),
    }
}

/// Whether a model's champion, or a version, answers, and why not.
async fn model_ready(State(door): State<Door>, Path(Named { model, version }): Path<Named>) -> Response {
    match readiness(&door.predictor, &model, &version) {
        Ok(None) => Body(json!({"name": model, "ready": true})).into_response(),
        Ok(Some(reason)) => {
            let told = json!({"name": model, "ready": false, "reason": reason});
            (StatusCode::SERVICE_UNAVAILABLE, Body(told)).into_response()
        }
        Err(error) => failure(&error),
    }
}

async fn model_infer(
    State(door): State<Door>,
    Path(Named { model, version }): Path<Named>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let (infer_, reply) = match asked(model, version, &headers, body) {
        Ok(asked) => asked,
        Err(error) => return failure(&error),
    };
    match infer(&door.predictor, infer_).await {
        Ok(answer) => reply.told(answer),
        Err(error) => failure(&error),
    }
}

/// The body of a request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    id: Option<String>,
    #[serde(default)]
    parameters: Map<String, Json>,
    inputs: Vec<Input>,
    #[serde(default)]
    outputs: Vec<Output>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    name: String,
    datatype: String,
    shape: Vec<i64>,
    #[serde(default)]
    parameters: Map<String, Json>,
    data: Option<Json>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Output {
    name: String,
    #[serde(default)]
    parameters: Map<String, Json>,
}

/// How the answer is written.
#[derive(Debug)]
struct Reply {
    id: Option<String>,
    /// Whether outputs are bytes: of all that are not named.
    binary: bool,
    /// Of those that are.
    named: Vec<(String, bool)>,
}

fn asked(
    model: String,
    version: String,
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<(Infer, Reply), Error> {
    let body = body.map_err(|error| {
        too_large(&error).unwrap_or_else(|| Error::Tensors(error.body_text().to_lowercase()))
    })?;
    if headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        return Err(Error::Tensors(
            "compressed bodies are not read; send it without Content-Encoding".to_owned(),
        ));
    }
    let (json, bytes) = body.split_at(json_length(headers, body.len())?);
    tidemill_spec::json::keys_once(json).map_err(Error::Tensors)?;
    let request: Request = serde_json::from_slice(json).map_err(|error| Error::Tensors(error.to_string()))?;
    let settings = Settings::read(&request.parameters)?;
    let inputs = tensors(request.inputs, bytes).map_err(Error::Tensors)?;
    let otherwise = settings.binary_data_output;
    let named = request.outputs.into_iter().map(|Output { name, parameters }| {
        let binary = binary(&name, &parameters, otherwise)?;
        Ok((name, binary))
    });
    let named = named.collect::<Result<Vec<_>, Error>>()?;
    let outputs = named.iter().map(|(name, _)| name.clone()).collect();
    let reply = Reply { id: request.id, binary: otherwise, named };
    Ok((Infer { model, version, settings, inputs, outputs, deadline: None }, reply))
}

/// Where the JSON ends.
fn json_length(headers: &HeaderMap, body: usize) -> Result<usize, Error> {
    let Some(length) = headers.get(JSON_LENGTH) else { return Ok(body) };
    let length = length.to_str().ok().and_then(|length| length.parse().ok());
    length.filter(|length| *length <= body).ok_or_else(|| {
        Error::Tensors(format!(
            "Inference-Header-Content-Length is no number of bytes up to {body}, the body's"
        ))
    })
}

/// Each input's elements: its own `data`, or the next of the bytes.
fn tensors(inputs: Vec<Input>, mut bytes: &[u8]) -> Result<Vec<Given>, String> {
    let mut given = Vec::new();
    for Input { name, datatype, shape, parameters, data } in inputs {
        let head = Head::read(&name, &datatype, &shape)?;
        given.push(match (data, parameters.get("binary_data_size")) {
            (Some(data), None) => head.json(data)?,
            (None, Some(size)) => {
                let size = size.as_u64().and_then(|size| usize::try_from(size).ok());
                let (own, others) = size.and_then(|size| bytes.split_at_checked(size)).ok_or_else(|| {
                    format!(
                        "input `{name}`: `binary_data_size` is more than the {} bytes behind the JSON",
                        bytes.len()
                    )
                })?;
                bytes = others;
                head.raw(own)?
            }
            (Some(_), Some(_)) => return Err(format!("input `{name}` has `data` and `binary_data_size`")),
            (None, None) => return Err(format!("input `{name}` has neither `data` nor `binary_data_size`")),
        });
    }
    match bytes.len() {
        0 => Ok(given),
        more => Err(format!("{more} bytes behind the JSON are of no input")),
    }
}

impl Reply {
    fn told(&self, answer: Inferred) -> Response {
        let (mut outputs, mut bytes) = (Vec::new(), Vec::new());
        let mut any = false;
        for told in &answer.outputs {
            let named = self.named.iter().find(|(name, _)| *name == told.name);
            let mut output = json!({"name": told.name, "datatype": told.datatype(), "shape": told.shape()});
            if named.map_or(self.binary, |(_, binary)| *binary) {
                let raw = told.raw();
                output["parameters"] = json!({"binary_data_size": raw.len()});
                bytes.extend(raw);
                any = true;
            } else {
                output["data"] = told.json();
            }
            outputs.push(output);
        }
        let version = answer.version.to_string();
        let mut reply = json!({"model_name": answer.model, "model_version": version});
        if let Some(id) = &self.id {
            reply["id"] = id.as_str().into();
        }
        reply["outputs"] = outputs.into();
        if !any {
            return Body(reply).into_response();
        }
        let mut whole = reply.to_string().into_bytes();
        let length = whole.len().to_string();
        whole.extend(bytes);
        let headers = [(CONTENT_TYPE.as_str(), "application/octet-stream"), (JSON_LENGTH, length.as_str())];
        (headers, whole).into_response()
    }
}

fn failure(error: &Error) -> Response {
    let status = StatusCode::from_u16(error.http()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let fault = error.fault();
    (status, Body(json!({"error": fault.to_string(), "code": fault.code, "hint": fault.hint})))
        .into_response()
}
