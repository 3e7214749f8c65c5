//! What gRPC calls each cause.

use tidemill_core::{Fault, disk_full};
use tidemill_ingest::Error;
use tidemill_proto::Reason;
use tonic::{Code, Status};

/// A call that is not what the contract says.
pub(crate) fn malformed(why: &str) -> Status {
    let (code, message) = ("TM0116".to_owned(), format!("the request can't be read: {why}"));
    let hint = Some("the contract is proto/tidemill/ingest/v1/ingest.proto".to_owned());
    Reason { code, message, detail: None, hint }.status(Code::InvalidArgument)
}

/// The task that took an upload panicked.
pub(crate) fn interrupted() -> Status {
    let (code, message) = ("TM0185".to_owned(), "a bug in the gateway stopped this upload".to_owned());
    let hint = Some("the gateway's log has its place; upload the file again".to_owned());
    Reason { code, message, detail: None, hint }.status(Code::Internal)
}

pub(crate) fn status(error: &Error) -> Status {
    let code = match error {
        error if disk_full(error) => Code::ResourceExhausted,
        Error::UnknownSource { .. } => Code::NotFound,
        Error::Limit(_) | Error::PushLimit(_) => Code::ResourceExhausted,
        Error::Mismatch(_) => Code::FailedPrecondition,
        Error::Columns { .. }
        | Error::Unreadable { .. }
        | Error::Looks { .. }
        | Error::UnknownFormat(_)
        | Error::PushKey(_)
        | Error::Rows(_)
        | Error::LongRow { .. } => Code::InvalidArgument,
        _ => Code::Unavailable,
    };
    let fault = error.fault().unwrap_or_else(|| {
        tracing::error!(error = error as &dyn std::error::Error, "an upload failed");
        let fault = Fault::from_error(error);
        if disk_full(error) {
            return Fault::coded(555, "there is no space left where files are kept")
                .detail(fault.message)
                .hint("free some space, then repeat the command: the upload goes on after what has arrived");
        }
        fault
    });
    let Fault { code: page, message, detail, hint } = fault;
    let page = page.map_or_else(String::new, |page| page.to_string());
    Reason { code: page, message, detail, hint }.status(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_that_finds_no_space_says_so() {
        let source = std::io::Error::from_raw_os_error(28);
        let path = "/objects/staging".into();
        let error = Error::Blobs(tidemill_blobs::Error::File { path, source });
        let told = status(&error);
        assert_eq!(told.code(), Code::ResourceExhausted);
        assert!(told.message().contains("no space left where files are kept"), "{}", told.message());
    }
}
