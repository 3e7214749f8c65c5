//! A write that carries the header `Idempotency-Key` is done once: a repeat gets the first one's answer.
//!
//! Only answers of success are kept; what failed may be asked for again under the same key.

use axum::{
    Json,
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    http::{Method, header::CONTENT_TYPE},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use serde_json::Value;
use tidemill_catalog::Claim;
use tidemill_core::Fault;

use crate::{Api, door::cut_off, error::ApiError};

/// The header.
pub(crate) const HEADER: &str = "idempotency-key";

/// Longer keys are refused, before they reach an index.
const KEY_BYTES_MAX: usize = 200;

/// Bytes of a body that a key may cover; files are keyed by their content instead.
const BODY_BYTES_MAX: usize = 64 << 20;

/// Answers a repeat from what was kept.
pub(crate) async fn once(State(api): State<Api>, request: Request, next: Next) -> Result<Response, ApiError> {
    let key = request.headers().get(HEADER).filter(|_| request.method() == Method::POST);
    let Some(key) = key.map(|key| key.to_str().unwrap_or_default().to_owned()) else {
        return Ok(next.run(request).await);
    };
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        let fault = Fault::coded(118, format!("an idempotency key is 1 to {KEY_BYTES_MAX} characters"));
        return Err(ApiError::malformed(fault.hint("take a UUID, or a name for what is done")));
    }
    let path = format!("POST {}", request.uri());
    let (parts, body) = request.into_parts();
    let bytes = to_bytes(body, BODY_BYTES_MAX).await.map_err(|error| cut_off(&error, BODY_BYTES_MAX))?;
    let catalog = &api.stores.catalog;
    match catalog.claim_reply(&key, &path, &bytes).await? {
        Claim::Answered(answer) => return Ok(Json(answer).into_response()),
        Claim::Differs => {
            let fault = Fault::coded(118, format!("the key `{key}` was used for another request"));
            return Err(ApiError::invalid(fault.hint("take a new key for new work")));
        }
        Claim::Busy => {
            let fault = Fault::coded(118, format!("the first request with the key `{key}` is still at work"));
            return Err(ApiError::busy(fault.hint("ask again in a moment")));
        }
        Claim::Free => {}
    }
    let answer = next.run(Request::from_parts(parts, Body::from(bytes))).await;
    keep(&api, &key, &path, answer).await
}

async fn keep(api: &Api, key: &str, path: &str, answer: Response) -> Result<Response, ApiError> {
    let catalog = &api.stores.catalog;
    let json = answer.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == "application/json");
    if !answer.status().is_success() || !json {
        catalog.release_reply(key, path).await?;
        return Ok(answer);
    }
    let (parts, body) = answer.into_parts();
    let bytes: Bytes = to_bytes(body, BODY_BYTES_MAX).await.unwrap_or_default();
    match serde_json::from_slice::<Value>(&bytes) {
        Ok(body) => catalog.keep_reply(key, path, &body).await?,
        Err(_) => catalog.release_reply(key, path).await?,
    }
    Ok(Response::from_parts(parts, Body::from(bytes)))
}
