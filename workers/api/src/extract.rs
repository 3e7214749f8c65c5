//! What a request holds, read so that a mistake is answered in the same form as every other.

use axum::{
    Json,
    extract::{
        FromRequest, FromRequestParts, Query, Request,
        rejection::{JsonRejection, QueryRejection},
    },
    http::request::Parts,
};
use serde::de::DeserializeOwned;
use tidemill_core::{Fault, Time};
use tidemill_spec::{steps::KnownAt, value::parse_time};

use crate::error::ApiError;

/// A JSON body. Its type denies unknown fields: what is accepted does something.
#[derive(Debug)]
pub(crate) struct Body<T>(pub(crate) T);

/// The query part of the URL, with the same promise.
#[derive(Debug)]
pub(crate) struct Asked<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let read = Json::<T>::from_request(request, state).await;
        read.map(|Json(body)| Self(body)).map_err(|rejection: JsonRejection| {
            let hint = "the shapes are those of `-o json`; `tidemill explain TM0116` shows a request";
            malformed(&rejection.body_text(), hint)
        })
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let read = Query::<T>::from_request_parts(parts, state).await;
        read.map(|Query(asked)| Self(asked)).map_err(|rejection: QueryRejection| {
            malformed(&rejection.body_text(), "check the names and values after the `?`")
        })
    }
}

fn malformed(text: &str, hint: &str) -> ApiError {
    // The framework's words, without its preamble.
    let why = text.split_once(": ").map_or(text, |(_, why)| why);
    ApiError::malformed(Fault::coded(116, format!("the request can't be read: {why}")).hint(hint))
}

/// Rows that a list shows: as many as were asked for, up to a thousand. More are refused: an answer that is cut in silence
/// looks like all there is.
pub(crate) fn limit(asked: Option<u32>) -> Result<u32, ApiError> {
    const LIMIT_MAX: u32 = 1_000;
    match asked.unwrap_or(20) {
        fits if (1..=LIMIT_MAX).contains(&fits) => Ok(fits),
        other => {
            let fault = Fault::coded(116, format!("the request can't be read: `limit` is {other}"));
            Err(ApiError::malformed(fault.hint(format!("ask for 1 to {LIMIT_MAX} rows"))))
        }
    }
}

/// An instant as people write it.
pub(crate) fn instant(text: &str) -> Result<Time, ApiError> {
    parse_time(text).ok_or_else(|| {
        let fault = Fault::coded(112, format!("`{text}` is not an instant"));
        ApiError::invalid(fault.hint("write 2013-06-01T00:00:00-04:00, or 2013-06-01 for midnight UTC"))
    })
}

/// Until when a row must have been created to count: `label`, or an instant.
pub(crate) fn known_at(text: &str) -> Result<KnownAt, ApiError> {
    if text == "label" {
        return Ok(KnownAt::Label);
    }
    instant(text).map(KnownAt::Time)
}
