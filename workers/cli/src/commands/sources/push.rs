//! Rows in one call.

use std::{
    io::Read as _,
    path::Path,
    time::{Duration, Instant},
};

use serde_json::Value;
use tidemill_core::Fault;

use crate::{
    client::segment,
    commands::{Session, watch::wait_for},
    failure::{Done, FAILED, Failure, TIMED_OUT, USAGE},
    output::{self, count, fields, plain},
};

/// Between two looks at what has yet to consume the rows.
const LOOK_EVERY: Duration = Duration::from_millis(150);

/// What is pushed, and to what.
pub(super) struct Sending<'a> {
    pub(super) source: &'a str,
    pub(super) rows: &'a [String],
    pub(super) file: Option<&'a Path>,
    pub(super) wait: bool,
}

/// `tidemill sources push`
pub(super) async fn push(session: &Session, sending: &Sending<'_>) -> Done {
    let path = format!("/v1/sources/{}/push", segment(sending.source));
    let mut pushed = session.client.post_rows(&path, rows(sending)?).await?;
    if pushed["duplicate"] == true {
        session.say("these rows were pushed before under this key: nothing new was started");
    }
    if sending.wait {
        wait_for(session, &plain(&pushed["run_id"])).await?;
        let upload = wait_for_views(session, &plain(&pushed["upload_id"])).await?;
        pushed["rows"] = upload["rows"].clone();
        pushed["dead_letters"] = upload["dead_letters"].clone();
        if upload["dead_letters"] != 0 {
            session.say(format!(
                "{} dead letters; see why: tidemill sources dead-letters {}",
                count(&upload["dead_letters"]),
                sending.source
            ));
        }
    }
    Ok(output::object(session.format, &pushed, "/upload_id", fields)?)
}

fn rows(sending: &Sending<'_>) -> Result<Vec<u8>, Failure> {
    let Some(file) = sending.file else { return lines(sending.rows) };
    let mut rows = Vec::new();
    let read = if file.as_os_str() == "-" {
        std::io::stdin().read_to_end(&mut rows)
    } else {
        std::fs::File::open(file).and_then(|mut file| file.read_to_end(&mut rows))
    };
    read.map_err(|error| {
        Failure::new(USAGE, Fault::coded(101, format!("{} can't be read: {error}", file.display())))
    })?;
    Ok(rows)
}

/// Each row in one line, whatever the shell made of it.
fn lines(rows: &[String]) -> Result<Vec<u8>, Failure> {
    let mut lines = Vec::new();
    for row in rows {
        let value: &serde_json::value::RawValue = serde_json::from_str(row).map_err(|error| {
            Failure::usage(format!("--row {row}: {error}"), r#"write it as JSON: --row '{"id": 7}'"#)
        })?;
        lines.extend(value.get().replace(['\n', '\r'], " ").into_bytes());
        lines.push(b'\n');
    }
    Ok(lines)
}

/// Waits until every view has consumed an upload; fails when the update of one did.
async fn wait_for_views(session: &Session, upload: &str) -> Result<Value, Failure> {
    let started = Instant::now();
    let mut looks = tokio::time::interval(LOOK_EVERY);
    loop {
        looks.tick().await;
        let page = session.client.get(&format!("/v1/uploads/{}", segment(upload))).await?;
        let behind = page["views_behind"].as_array().map(Vec::as_slice).unwrap_or_default();
        let Some(first) = behind.first() else { return Ok(page) };
        if let Some(failed) = behind.iter().find(|view| view["failed"].is_object()) {
            let fault = serde_json::from_value(failed["failed"]["fault"].clone()).unwrap_or_else(|_| {
                Fault::new(format!("view `{}` could not be updated", plain(&failed["view"])))
            });
            return Err(Failure::new(FAILED, fault));
        }
        if session.wait.is_some_and(|limit| started.elapsed() > limit) {
            let message = format!("view `{}` does not have the rows yet", plain(&first["view"]));
            let hint = "they are kept, and the view goes on; see: tidemill features list";
            return Err(Failure::new(TIMED_OUT, Fault::coded(103, message).hint(hint)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_one_line_however_it_is_typed() {
        let rows = ["{\n  \"a\": \"b\\n\"\n}".to_owned(), "{\"a\": 1.10}".to_owned()];
        assert_eq!(lines(&rows).unwrap(), b"{   \"a\": \"b\\n\" }\n{\"a\": 1.10}\n");
        assert!(lines(&["{a: 1}".to_owned()]).is_err());
    }
}
