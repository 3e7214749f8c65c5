//! What every request must be before a handler sees it, and what becomes of a handler that panics.
//!
//! In this order: meant for this server ([`Hosts`]), a path that can be read, of a content type that no form of a foreign
//! page can send, within its route's size, without NUL, which no store of ours takes, and with each key once. A refusal
//! has the form of every other error: JSON for REST, a status for gRPC.

use std::panic::AssertUnwindSafe;

use axum::{
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{
        Method, StatusCode, Uri,
        header::{CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING},
    },
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use futures::FutureExt as _;
use serde_json::Value;
use tidemill_core::Fault;
use tidemill_proto::Hosts;

use crate::error::ApiError;

/// Bytes of a body, unless its route says otherwise.
const BODY_BYTES_MAX: usize = 1 << 20;
/// A project: its files as JSON, escapes included.
const PROJECT_BYTES_MAX: usize = 64 << 20;
/// Files of labels, which are written to disk as they come.
pub(crate) const LABELS_BYTES_MAX: usize = 256 << 20;

/// One file of a model.
pub(crate) const FILE_BYTES_MAX: usize = 8 << 30;

/// The routes that take bytes instead of JSON, and write them to disk as they come.
const STREAMED: [&str; 2] = ["/v1/datasets/build", "/v1/files"];

/// Lets in what may come in.
pub(crate) async fn guard(State(hosts): State<Hosts>, request: Request, next: Next) -> Response {
    let rpc = is_rpc(request.uri());
    let answer = async {
        if let Some(reason) = hosts.refuse(&request) {
            return Err(ApiError::forbidden(&reason));
        }
        let request = if rpc { request } else { readable(request).await? };
        let ran = AssertUnwindSafe(next.run(request)).catch_unwind().await;
        ran.map_err(|panic| ApiError::panicked(panic.as_ref()))
    };
    answer.await.unwrap_or_else(|error| if rpc { rpc_error(error) } else { error.into_response() })
}

/// `/package.Service/Method`
fn is_rpc(uri: &Uri) -> bool {
    uri.path().split('/').nth(1).is_some_and(|service| service.contains('.'))
}

fn rpc_error(error: ApiError) -> Response {
    error.into_status().into_http()
}

async fn readable(request: Request) -> Result<Request, ApiError> {
    readable_path(request.uri())?;
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return Ok(request);
    }
    let path = request.uri().path().to_owned();
    content_type(&request, &path)?;
    let most = bytes_max(&path);
    if length(&request).is_some_and(|length| length > most as u64) {
        return Err(too_large(most));
    }
    if STREAMED.contains(&path.as_str()) {
        return Ok(request);
    }
    let (parts, body) = request.into_parts();
    let bytes = to_bytes(body, most).await.map_err(|error| cut_off(&error, most))?;
    // Rows are judged one by one: a bad one is a dead letter.
    if !takes_rows(&path) {
        without_nul(&bytes)?;
        keys_once(&bytes)?;
    }
    Ok(Request::from_parts(parts, Body::from(bytes)))
}

/// `/v1/sources/SOURCE/push`
fn takes_rows(path: &str) -> bool {
    path.starts_with("/v1/sources/") && path.ends_with("/push")
}

fn bytes_max(path: &str) -> usize {
    match path {
        "/v1/apply" | "/v1/plan" => PROJECT_BYTES_MAX,
        "/v1/datasets/build" => LABELS_BYTES_MAX,
        "/v1/files" => FILE_BYTES_MAX,
        _ => BODY_BYTES_MAX,
    }
}

fn length(request: &Request) -> Option<u64> {
    request.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// A body that did not come whole: too large, or its sender went away.
pub(crate) fn cut_off(error: &axum::Error, most: usize) -> ApiError {
    // Axum's own words; the type is not public.
    if std::error::Error::source(error).unwrap_or(error).to_string().contains("length limit") {
        return too_large(most);
    }
    ApiError::malformed(Fault::coded(116, "the request's body did not come whole"))
}

/// More than the route takes.
pub(crate) fn too_large(most: usize) -> ApiError {
    let size = if most < 1 << 20 { format!("{} KiB", most >> 10) } else { format!("{} MiB", most >> 20) };
    let fault = Fault::coded(
        187,
        format!("the request's body is larger than {size}, the most that this route takes"),
    );
    ApiError::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        fault.hint("upload rows to a source: tidemill sources upload SOURCE FILE"),
    )
}

/// Every escape is one, of UTF-8 without NUL.
fn readable_path(uri: &Uri) -> Result<(), ApiError> {
    let text = uri.path_and_query().map_or("", |text| text.as_str());
    let wrong = |what: &str| {
        let fault = Fault::coded(116, format!("the request can't be read: its path or query {what}"));
        ApiError::malformed(fault.hint("write names as UTF-8, percent-encoded, without NUL"))
    };
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte == b'%' {
            let escape = rest.split_off(..2).and_then(|digits| std::str::from_utf8(digits).ok());
            let escaped = escape.and_then(|digits| u8::from_str_radix(digits, 16).ok());
            decoded.push(escaped.ok_or_else(|| wrong("has a `%` without two digits"))?);
        } else {
            decoded.push(byte);
        }
    }
    match std::str::from_utf8(&decoded) {
        Ok(text) if text.contains('\0') => Err(wrong("has a NUL, `%00`")),
        Ok(_) => Ok(()),
        Err(error) => {
            let byte = decoded.get(error.valid_up_to()).copied().unwrap_or(0);
            Err(wrong(&format!("is not UTF-8: `%{byte:02x}`")))
        }
    }
}

/// JSON, or nothing; where rows are taken, JSON lines, too; where bytes are taken, nothing that a form can send.
fn content_type(request: &Request, path: &str) -> Result<(), ApiError> {
    let takes_bytes = STREAMED.contains(&path);
    let given = request.headers().get(CONTENT_TYPE).map(|kind| kind.to_str().unwrap_or("unreadable"));
    let essence = given.map(|kind| kind.split(';').next().unwrap_or(kind).trim().to_lowercase());
    let has_body =
        length(request).map_or(request.headers().contains_key(TRANSFER_ENCODING), |length| length > 0);
    let (taken, hint) = match essence.as_deref() {
        Some("application/x-www-form-urlencoded" | "multipart/form-data" | "text/plain") if takes_bytes => {
            (false, "send the file with `Content-Type: application/octet-stream`")
        }
        Some("application/json") => (true, ""),
        Some("application/x-ndjson" | "application/jsonl") if takes_rows(path) => (true, ""),
        None => (takes_bytes || !has_body, "send it with `Content-Type: application/json`"),
        Some(_) => (takes_bytes, "send it with `Content-Type: application/json`"),
    };
    if taken {
        return Ok(());
    }
    let given = given.map_or_else(|| "no content type".to_owned(), |kind| format!("content type `{kind}`"));
    let fault = Fault::coded(116, format!("the request can't be read: it has {given}"));
    Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, fault.hint(hint)))
}

/// Of two values of one key nobody says which is meant.
fn keys_once(body: &[u8]) -> Result<(), ApiError> {
    tidemill_spec::json::keys_once(body).map_err(|why| {
        let fault = Fault::coded(116, format!("the request can't be read: {why}"));
        ApiError::malformed(fault.hint("give each key once"))
    })
}

/// Finds a NUL in a text of the body, escaped as JSON wants it.
fn without_nul(body: &[u8]) -> Result<(), ApiError> {
    if !body.windows(6).any(|bytes| bytes == b"\\u0000") {
        return Ok(());
    }
    // What is not JSON is refused by whoever reads it.
    let Ok(json) = serde_json::from_slice::<Value>(body) else { return Ok(()) };
    let Some(place) = nul_in(&json) else { return Ok(()) };
    let fault = Fault::coded(116, format!("the request can't be read: `{place}` has a NUL"));
    Err(ApiError::malformed(fault.hint("leave the NUL out; no text that is stored may have one")))
}

/// The path to the first text with a NUL. The parser bounds the depth.
fn nul_in(json: &Value) -> Option<String> {
    let below = |name: String, value: &Value| {
        nul_in(value).map(|rest| if rest.is_empty() { name.clone() } else { format!("{name}.{rest}") })
    };
    match json {
        Value::String(text) => text.contains('\0').then(String::new),
        Value::Array(items) => {
            items.iter().enumerate().find_map(|(index, item)| below(index.to_string(), item))
        }
        Value::Object(fields) => fields.iter().find_map(|(name, value)| {
            let shown = name.replace('\0', "\u{fffd}");
            if name.contains('\0') { Some(shown) } else { below(shown, value) }
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_nul_is_found_with_its_place() {
        assert_eq!(
            nul_in(&json!({ "params": { "names": ["a", "b\0"] } })),
            Some("params.names.1".to_owned())
        );
        assert_eq!(nul_in(&json!({ "a\0": 1 })), Some("a\u{fffd}".to_owned()));
        assert_eq!(nul_in(&json!(["\\u0000"])), None);
        assert!(without_nul(br#"{"a": "\\u0000"}"#).is_ok(), "a backslash and letters");
        assert!(without_nul(br#"{"a": "\u0000"}"#).is_err());
    }

    #[test]
    fn paths_are_utf_8_without_nul() {
        for (path, right) in [
            ("/v1/runs/%C3%A9?a=%20", true),
            ("/a%00", false),
            ("/a?b=%00", false),
            ("/%ff", false),
            ("/%C3", false),
            ("/%2", false),
            ("/%2500", true),
        ] {
            assert_eq!(readable_path(&path.parse().unwrap()).is_ok(), right, "{path}");
        }
    }
}
