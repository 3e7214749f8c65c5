//! What a caller is told of a prediction that failed, and what the log keeps of it.

use tidemill_core::{Fault, RequestId};
use tidemill_inference::Error as Inference;

use crate::{Error, warm::Loaded};

/// Characters that a caller is told of what a model raised.
const SUMMARY_CHARS_MAX: usize = 300;

/// The error as its caller gets it. What the model itself did wrong is logged whole, under the request; the caller gets its
/// first words.
pub(crate) fn told(error: Error, loaded: &Loaded, request: RequestId) -> Error {
    let fault = match &error {
        Error::Inference(Inference::Python(_) | Inference::Golden { .. } | Inference::Folder { .. }) => {
            error.fault()
        }
        _ => return error,
    };
    log(&fault, loaded, request);
    let summary = summary(&fault.message);
    Error::Failed { model: loaded.model.clone(), version: loaded.version, code: fault.code, summary, request }
}

/// Logs why a prediction failed, whole, under its request.
pub(crate) fn log(fault: &Fault, loaded: &Loaded, request: RequestId) {
    tracing::error!(
        request.id = %request,
        model = loaded.model,
        model.version = loaded.version,
        code = fault.code.map(|code| code.to_string()),
        detail = fault.detail,
        "a prediction failed: {}",
        fault.message
    );
}

/// The first line, cut, with nothing of a path of this machine but the file's name.
fn summary(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    let mut told = String::new();
    for part in line.split_inclusive(|c: char| c.is_whitespace() || "'\"`(),;=[]{}<>".contains(c)) {
        let path = part.starts_with('/') && part[1..].contains('/');
        told += if path { part.rsplit('/').next().unwrap_or_default() } else { part };
    }
    match told.char_indices().nth(SUMMARY_CHARS_MAX) {
        Some((end, _)) => format!("{} …", &told[..end]),
        None => told,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_is_told_the_first_words_and_no_paths_of_this_machine() {
        let raised = "FileNotFoundError: [Errno 2] No such file: '/srv/app/secret/model.bin' at models/late.py:4\nmore";
        assert_eq!(
            summary(raised),
            "FileNotFoundError: [Errno 2] No such file: 'model.bin' at models/late.py:4"
        );
        let long = summary(&"x".repeat(20 << 20));
        assert_eq!((long.chars().count(), long.ends_with(" …")), (SUMMARY_CHARS_MAX + 2, true));
        assert_eq!(summary("ratio a/b = 1/2"), "ratio a/b = 1/2");
    }
}
