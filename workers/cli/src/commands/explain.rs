//! The pages of error codes, built into the program.

use serde_json::json;

use crate::{
    args::Global,
    failure::{Done, Failure},
    output,
};

include!(concat!(env!("OUT_DIR"), "/error_pages.rs"));

/// `tidemill explain TM0412`
pub(crate) fn explain(global: &Global, code: &str) -> Done {
    // `tm0412`, `0412` and `412` mean the same page.
    let digits = code.to_uppercase().trim_start_matches("TM").to_owned();
    let wanted = format!("TM{digits:0>4}");
    let page = ERROR_PAGES.iter().find(|(name, _)| *name == wanted);
    match page {
        Some((name, text)) => {
            let title = text.lines().next().and_then(|line| line.split_once(": ")).map(|(_, title)| title);
            let page = json!({ "code": name, "title": title, "text": text });
            Ok(output::object(global.output, &page, "/code", |_| (*text).to_owned())?)
        }
        None => {
            let message = format!("there is no error code `{code}`");
            Err(Failure::usage(message, "codes are `TM` and four digits, as printed with the error"))
        }
    }
}
