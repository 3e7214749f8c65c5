//! Failures as gRPC clients of any language read them: `google.rpc.Status` with an `ErrorInfo` in the details.
//!
//! The two messages are the well-known ones of `google/rpc/status.proto` and `error_details.proto`, so every
//! client library decodes them.

use std::collections::HashMap;

use prost::Message as _;
use prost_types::Any;
use tonic::{Code, Status};

const ERROR_INFO: &str = "type.googleapis.com/google.rpc.ErrorInfo";
const DOMAIN: &str = "tidemill";

#[derive(Clone, PartialEq, prost::Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ErrorInfo {
    #[prost(string, tag = "1")]
    reason: String,
    #[prost(string, tag = "2")]
    domain: String,
    #[prost(map = "string, string", tag = "3")]
    metadata: HashMap<String, String>,
}

/// Why a call failed, beyond its gRPC code.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reason {
    /// `TM` and four digits; empty where there is no page.
    pub code: String,
    /// Without the code: what and where.
    pub message: String,
    /// More lines.
    pub detail: Option<String>,
    /// How to fix it.
    pub hint: Option<String>,
}

impl Reason {
    /// The status of a failed call: all of it as text for people, and as `ErrorInfo` for programs
    /// (`reason` is the code; `metadata` has `message`, `detail` and `hint`).
    pub fn status(self, code: Code) -> Status {
        let this = self.shortened();
        this.whole_status(code)
    }

    /// A status travels in headers, percent-encoded and once more in the details; clients refuse more than 16 KiB of them,
    /// and then see a broken connection instead of a reason.
    fn shortened(self) -> Self {
        Self {
            code: self.code,
            message: short(self.message, 600),
            detail: self.detail.map(|detail| short(detail, 1_200)),
            hint: self.hint.map(|hint| short(hint, 600)),
        }
    }

    fn whole_status(self, code: Code) -> Status {
        let head = if self.code.is_empty() {
            self.message.clone()
        } else {
            format!("[{}] {}", self.code, self.message)
        };
        let hint = self.hint.as_ref().map(|hint| format!("hint: {hint}"));
        let text =
            [Some(head), self.detail.clone(), hint].into_iter().flatten().collect::<Vec<_>>().join("\n");
        let facts = [("message", Some(self.message)), ("detail", self.detail), ("hint", self.hint)];
        let metadata = facts.into_iter().filter_map(|(name, text)| Some((name.to_owned(), text?)));
        let info = ErrorInfo { reason: self.code, domain: DOMAIN.to_owned(), metadata: metadata.collect() };
        let info = Any { type_url: ERROR_INFO.to_owned(), value: info.encode_to_vec() };
        let told = RpcStatus { code: code.into(), message: text.clone(), details: vec![info] };
        Status::with_details(code, text, told.encode_to_vec().into())
    }

    /// Reads it back; `None` where a status is not ours.
    pub fn of(status: &Status) -> Option<Self> {
        let told = RpcStatus::decode(status.details()).ok()?;
        let info = told.details.iter().find(|any| any.type_url == ERROR_INFO)?;
        let mut info = ErrorInfo::decode(info.value.as_slice()).ok()?;
        if info.domain != DOMAIN {
            return None;
        }
        Some(Self {
            code: info.reason,
            message: info.metadata.remove("message")?,
            detail: info.metadata.remove("detail"),
            hint: info.metadata.remove("hint"),
        })
    }
}

/// The text, cut after so many bytes.
fn short(mut text: String, bytes: usize) -> String {
    if text.len() > bytes {
        text.truncate(text.floor_char_boundary(bytes));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_fits_the_headers_of_an_answer_whatever_it_quotes() {
        for letter in ["x", "%", "\u{1f980}", "\u{1}"] {
            let long = letter.repeat(20_000);
            let reason = Reason {
                code: "TM0112".to_owned(),
                message: long.clone(),
                detail: Some(long.clone()),
                hint: Some(long),
            };
            let headers = reason.status(Code::InvalidArgument).into_http::<String>();
            let bytes: usize =
                headers.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum();
            assert!(bytes < 16 << 10, "{letter}: {bytes}");
        }
    }

    #[test]
    fn a_reason_survives_the_wire() {
        let reason = Reason {
            code: "TM0830".to_owned(),
            message: "unknown model `early`".to_owned(),
            detail: None,
            hint: Some("tidemill models list".to_owned()),
        };
        let status = reason.clone().status(Code::NotFound);
        assert_eq!(status.message(), "[TM0830] unknown model `early`\nhint: tidemill models list");
        assert_eq!(Reason::of(&status), Some(reason));
    }

    #[test]
    fn a_status_of_others_has_no_reason() {
        for details in [&b""[..], &br#"{"message":"json"}"#[..]] {
            let status = Status::with_details(Code::Internal, "no", details.to_vec().into());
            assert_eq!(Reason::of(&status), None);
        }
    }
}
