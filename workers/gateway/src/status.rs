//! What gRPC calls each cause.

use tidemill_core::Fault;
use tidemill_ingest::Error;
use tonic::{Code, Status};

/// Code for machines; message, detail and hint for people, a line each.
pub(crate) fn status(error: &Error) -> Status {
    let code = match error {
        Error::UnknownSource { .. } => Code::NotFound,
        Error::Limit(_) => Code::ResourceExhausted,
        Error::Mismatch(_) => Code::FailedPrecondition,
        Error::Columns { .. }
        | Error::Unreadable { .. }
        | Error::UnknownFormat(_)
        | Error::LongRow { .. } => Code::InvalidArgument,
        _ => Code::Unavailable,
    };
    let fault = error.fault().unwrap_or_else(|| {
        tracing::error!(error = error as &dyn std::error::Error, "an upload failed");
        Fault::from_error(error)
    });
    let lines = [Some(fault.to_string()), fault.detail, fault.hint];
    Status::new(code, lines.into_iter().flatten().collect::<Vec<_>>().join("\n"))
}
