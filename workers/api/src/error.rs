//! Failures as clients read them: a status and `{"error": Fault}`.
//!
//! 400 a request that can't be read (415: of another content type, 413: too large), 403 one that was meant for another
//! server, 404 what isn't there, 409 what is under way, 422 what is asked wrongly, 500 a bug, 503 a server behind this one
//! that doesn't answer: try again.

use axum::{
    Json,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::json;
use tidemill_core::{Cause, Code, Fault, JobError};
use tidemill_proto::Reason;
use tidemill_spec::diagnostic::{closest, nearest};

/// Names that a hint lists; more are no help.
const NAMED_MAX: usize = 12;

/// What a handler returns instead of a result.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    fault: Box<Fault>,
}

impl ApiError {
    /// A failure with its status.
    pub(crate) fn new(status: StatusCode, fault: Fault) -> Self {
        Self { status, fault: Box::new(fault) }
    }

    /// There is no such thing.
    pub(crate) fn not_found(fault: Fault) -> Self {
        Self::new(StatusCode::NOT_FOUND, fault)
    }

    /// The request was not meant for this server.
    pub(crate) fn forbidden(reason: &Reason) -> Self {
        let fault = Fault::coded(186, reason.message.clone());
        Self::new(StatusCode::FORBIDDEN, fault.hint(reason.hint.clone().unwrap_or_default()))
    }

    /// A handler panicked; nobody else is hurt.
    pub(crate) fn panicked(panic: &(dyn std::any::Any + Send)) -> Self {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message");
        Self::internal(
            Fault::coded(185, "a bug in the server stopped this request")
                .detail(text)
                .hint("the server's log has the place of the panic; other requests are answered"),
        )
    }

    /// There is nothing of that name; says what is near, or what there is.
    pub(crate) fn unknown<'n>(
        code: u16,
        noun: &str,
        name: &str,
        known: impl IntoIterator<Item = &'n String>,
    ) -> Self {
        let known: Vec<&str> = known.into_iter().map(String::as_str).collect();
        let hint = match closest(name, &known) {
            Some(near) => format!("did you mean `{near}`?"),
            None if known.is_empty() => format!("no {noun} is declared yet: tidemill apply"),
            None if known.len() > NAMED_MAX => {
                let near = nearest(name, known.clone(), NAMED_MAX).join(", ");
                format!("there are {}; the nearest names are {near}", known.len())
            }
            None => format!("there are {}", known.join(", ")),
        };
        Self::not_found(Fault::coded(code, format!("there is no {noun} `{name}`")).hint(hint))
    }

    /// The request can't be read.
    pub(crate) fn malformed(fault: Fault) -> Self {
        Self { status: StatusCode::BAD_REQUEST, fault: Box::new(fault) }
    }

    /// There is such a thing, but this can't be done with it.
    pub(crate) fn no_method(fault: Fault) -> Self {
        Self { status: StatusCode::METHOD_NOT_ALLOWED, fault: Box::new(fault) }
    }

    /// Something else is under way; the same request may be answered later.
    pub(crate) fn busy(fault: Fault) -> Self {
        Self { status: StatusCode::CONFLICT, fault: Box::new(fault) }
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

    /// A server behind this one doesn't answer; the same request may go better.
    fn unavailable(mut fault: Fault) -> Self {
        tracing::warn!(error = %fault, "a request can't be answered now");
        fault.code = fault.code.or(Some(Code(119)));
        fault.hint = fault.hint.or_else(|| {
            Some(
                "a server that this one needs does not answer; check that it runs, then try again".to_owned(),
            )
        });
        Self { status: StatusCode::SERVICE_UNAVAILABLE, fault: Box::new(fault) }
    }

    /// The same for gRPC.
    pub(crate) fn into_status(self) -> tonic::Status {
        let code = match self.status {
            StatusCode::NOT_FOUND => tonic::Code::NotFound,
            StatusCode::FORBIDDEN => tonic::Code::PermissionDenied,
            StatusCode::PAYLOAD_TOO_LARGE => tonic::Code::ResourceExhausted,
            StatusCode::UNPROCESSABLE_ENTITY | StatusCode::BAD_REQUEST => tonic::Code::InvalidArgument,
            StatusCode::CONFLICT => tonic::Code::Aborted,
            StatusCode::SERVICE_UNAVAILABLE => tonic::Code::Unavailable,
            _ => tonic::Code::Internal,
        };
        let Fault { code: page, message, detail, hint } = *self.fault;
        let page = page.map_or_else(String::new, |page| page.to_string());
        Reason { code: page, message, detail, hint }.status(code)
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
            E::NoRun(_) => Self::not_found(Fault::coded(110, error.to_string()).hint("tidemill runs list")),
            E::NoSchedule(_) => {
                Self::not_found(Fault::coded(111, error.to_string()).hint("tidemill schedules list"))
            }
            E::InvalidRun(_) => Self::invalid(Fault::new(error.to_string())),
            E::Inconsistent(_) => Self::internal(Fault::from_error(&error)),
            other if matches!(other.cause(), Cause::Outage | Cause::Conflict) => {
                Self::unavailable(Fault::from_error(&other))
            }
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
                    JobError::Retry(fault)
                    | JobError::Died(fault)
                    | JobError::Unavailable(fault)
                    | JobError::Conflict(fault) => Self::unavailable(fault),
                    other => Self::internal(Fault::new(other.to_string())),
                }
            }
        }
    )+};
}
by_verdict!(
    JobError,
    tidemill_catalog::Error,
    tidemill_features::Error,
    tidemill_ingest::Error,
    tidemill_monitor::Error,
    tidemill_offline::Error,
    tidemill_online::Error,
    tidemill_pipeline::Error,
    tidemill_registry::Error,
    tidemill_removal::Error,
    tidemill_training::Error
);

impl From<tokio::task::JoinError> for ApiError {
    fn from(error: tokio::task::JoinError) -> Self {
        match error.try_into_panic() {
            Ok(panic) => Self::panicked(panic.as_ref()),
            Err(error) => Self::internal(Fault::from_error(&error)),
        }
    }
}

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
