//! The pages of error codes, built into the program.

use std::io::Write as _;

use tidemill_core::Fault;

use crate::failure::{Done, Failure, USAGE};

include!(concat!(env!("OUT_DIR"), "/error_pages.rs"));

/// `tidemill explain TM0412`
pub(crate) fn explain(code: &str) -> Done {
    let wanted = code.to_uppercase();
    let page =
        ERROR_PAGES.iter().find(|(name, _)| *name == wanted || name.strip_prefix("TM") == Some(&wanted));
    match page {
        Some((_, text)) => Ok(write!(std::io::stdout().lock(), "{text}")?),
        None => {
            let fault = Fault::coded(101, format!("there is no error code `{code}`"));
            Err(Failure::new(USAGE, fault.hint("codes are `TM` and four digits, as printed with the error")))
        }
    }
}
