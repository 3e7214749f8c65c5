//! What the HTTP doors share.

use std::sync::Arc;

use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use tidemill_telemetry::Registry;

use crate::{Error, predict::Predictor};

/// Largest body that is read.
pub(crate) const BODY_BYTES_MAX: usize = 2 << 20;

/// What every request is answered with.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    pub(crate) predictor: Arc<Predictor>,
    pub(crate) registry: Registry,
}

/// A body of more bytes than are read; none for one that can't be read otherwise.
pub(crate) fn too_large(error: &BytesRejection) -> Option<Error> {
    let large = error.status() == StatusCode::PAYLOAD_TOO_LARGE;
    large.then_some(Error::TooLarge { limit_bytes: BODY_BYTES_MAX })
}
