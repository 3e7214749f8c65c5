//! Failures as clients read them: a status and `{"error": Fault}`.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::json;
use tidemill_core::{Fault, JobError};

/// What a handler returns instead of a result.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    fault: Box<Fault>,
}

impl ApiError {
    /// There is no such thing.
    pub(crate) fn not_found(fault: Fault) -> Self {
        Self { status: StatusCode::NOT_FOUND, fault: Box::new(fault) }
    }

    /// The request is wrong.
    pub(crate) fn invalid(fault: Fault) -> Self {
        Self { status: StatusCode::UNPROCESSABLE_ENTITY, fault: Box::new(fault) }
    }

    /// Something broke; nobody asked wrongly.
    fn internal(fault: Fault) -> Self {
        tracing::error!(error = %fault, "a request failed");
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, fault: Box::new(fault) }
    }

    /// The same for gRPC, with the fault as JSON in the details.
    pub(crate) fn into_status(self) -> tonic::Status {
        let code = match self.status {
            StatusCode::NOT_FOUND => tonic::Code::NotFound,
            StatusCode::UNPROCESSABLE_ENTITY => tonic::Code::InvalidArgument,
            _ => tonic::Code::Internal,
        };
        let details = serde_json::to_vec(&self.fault).unwrap_or_default();
        tonic::Status::with_details(code, self.fault.to_string(), details.into())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status, Json(json!({ "error": self.fault }))).into_response()
    }
}

impl From<tidemill_store::Error> for ApiError {
    fn from(error: tidemill_store::Error) -> Self {
        use tidemill_store::Error as E;
        match error {
            E::NoRun(_) => Self::not_found(Fault::coded(1003, error.to_string()).hint("tidemill runs list")),
            E::NoSchedule(_) => {
                Self::not_found(Fault::coded(1004, error.to_string()).hint("tidemill schedules list"))
            }
            E::InvalidRun(_) => Self::invalid(Fault::new(error.to_string())),
            other => Self::internal(Fault::from_error(&other)),
        }
    }
}

/// Job crates say by their verdict whose fault it is: what would never go better was asked wrongly.
macro_rules! by_verdict {
    ($($error:ty),+) => {$(
        impl From<$error> for ApiError {
            fn from(error: $error) -> Self {
                match JobError::from(error) {
                    JobError::Discard(fault) => Self::invalid(fault),
                    JobError::Retry(fault) => Self::internal(fault),
                    other => Self::internal(Fault::new(other.to_string())),
                }
            }
        }
    )+};
}
by_verdict!(
    tidemill_catalog::Error,
    tidemill_features::Error,
    tidemill_ingest::Error,
    tidemill_monitor::Error,
    tidemill_offline::Error,
    tidemill_online::Error,
    tidemill_pipeline::Error,
    tidemill_registry::Error,
    tidemill_training::Error
);

impl From<std::io::Error> for ApiError {
    fn from(error: std::io::Error) -> Self {
        Self::internal(Fault::from_error(&error))
    }
}

impl From<serde_json::Error> for ApiError {
    fn from(error: serde_json::Error) -> Self {
        Self::internal(Fault::from_error(&error))
    }
}
