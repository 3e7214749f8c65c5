//! What gRPC calls each cause.

use tidemill_core::Fault;
use tidemill_ingest::Error;
use tidemill_proto::Reason;
use tonic::{Code, Status};

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
    let Fault { code: page, message, detail, hint } = fault;
    let page = page.map_or_else(String::new, |page| page.to_string());
    Reason { code: page, message, detail, hint }.status(code)
}
