//! Sources: what came in, what did not, and sending files.

mod page;
mod push;

use std::{io::Read as _, path::Path, time::Duration};

use futures::stream;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tidemill_core::Fault;
use tidemill_ingest::Format;
use tidemill_proto::{
    Reason,
    ingest::v1::{
        GetUploadRequest, UploadOpen, UploadRequest, UploadResponse,
        ingest_service_client::IngestServiceClient, upload_request::Part,
    },
};
use tokio::time::timeout;

use super::{Session, removal, watch::wait_for};
use crate::{
    args::Sources,
    client::segment,
    failure::{Done, FAILED, Failure, TIMED_OUT, UNREACHABLE, USAGE},
    output::{self, count, fields, instant, plain, text},
};

const COLUMNS: &[output::Column] = &[
    text("SOURCE", "/name"),
    text("ROWS", "/rows").by(count),
    text("DEAD LETTERS", "/dead_letters").by(count),
    text("NEWEST EVENT", "/newest_event").by(instant),
    text("LAST UPLOAD", "/last_upload_at").by(instant),
    text("LAST BATCH", "/last_batch_at").by(instant).wide(),
    text("OWNER", "/owner").wide(),
];

/// Bytes in one message of an upload.
const CHUNK_BYTES: usize = 512 * 1024;

/// `tidemill sources …`
pub(crate) async fn sources(session: &Session, command: Sources) -> Done {
    match command {
        Sources::List => {
            let rows = session.client.list("/v1/sources", &[]).await?;
            Ok(output::list(session.format, &rows, "/name", COLUMNS)?)
        }
        Sources::Show { source } => {
            let page = session.client.get(&format!("/v1/sources/{}", segment(&source))).await?;
            Ok(output::object(session.format, &page, "/name", page::source)?)
        }
        Sources::Upload { source, files, format, force, no_wait } => {
            let sending = Sending { source: &source, format: format.as_deref(), force, wait: !no_wait };
            let mut done = Vec::new();
            for file in &files {
                done.push(upload(session, &sending, file).await?);
            }
            let columns = [
                text("UPLOAD", "/upload_id"),
                text("FILE", "/file"),
                text("ROWS", "/rows").by(count),
                text("DEAD LETTERS", "/dead_letters").by(count),
                text("DUPLICATE", "/duplicate"),
                text("RUN", "/run_id"),
            ];
            Ok(output::list(session.format, &done, "/upload_id", &columns)?)
        }
        Sources::Push { source, rows, file, wait, write } => {
            let sending = push::Sending { source: &source, rows: &rows, file: file.as_deref(), wait };
            push::push(&session.writing(&write), &sending).await
        }
        Sources::Truncate { source, removal } => {
            let path = format!("/v1/sources/{}/truncate", segment(&source));
            removal::remove(session, &path, &json!({}), &removal, removal::source).await
        }
        Sources::Drop { source, removal } => {
            let path = format!("/v1/sources/{}/drop", segment(&source));
            removal::remove(session, &path, &json!({}), &removal, removal::source).await
        }
        Sources::DeadLetters { source, limit } => {
            let query = [("limit", Some(limit.to_string()))];
            let rows = session
                .client
                .list(&format!("/v1/sources/{}/dead-letters", segment(&source)), &query)
                .await?;
            let rows: Vec<Value> = rows.into_iter().map(page::placed).collect();
            let columns = [
                text("FROM", "/from"),
                text("ROW", "/place"),
                text("LINE", "/line"),
                text("COLUMN", "/column"),
                text("REASON", "/reason"),
                text("RAW", "/raw").wide(),
            ];
            output::list(session.format, &rows, "/place", &columns)?;
            if rows.len() == limit as usize {
                let page = session.client.get(&format!("/v1/sources/{}", segment(&source))).await?;
                let (shown, all) = (count(&rows.len().into()), count(&page["dead_letters"]));
                session.say(format!(
                    "{shown} of {all} dead letters, the newest; --limit shows more, at most 1,000"
                ));
            }
            Ok(())
        }
        Sources::Replay { source, no_wait, write } => {
            let path = format!("/v1/sources/{}/replay", segment(&source));
            let started = session.writing(&write).client.post(&path, &json!({})).await?;
            let run = plain(&started["run_id"]);
            if no_wait {
                return Ok(output::object(session.format, &started, "/run_id", |_| run)?);
            }
            let page = wait_for(session, &run).await?;
            Ok(output::object(session.format, &page, "/id", |page| fields(&page["step_list"][0]["outputs"]))?)
        }
    }
}

/// How files are sent.
#[derive(Clone, Copy)]
pub(super) struct Sending<'a> {
    pub(super) source: &'a str,
    pub(super) format: Option<&'a str>,
    pub(super) force: bool,
    pub(super) wait: bool,
}

/// Sends one file and, unless told otherwise, waits until its rows are visible.
pub(super) async fn upload(session: &Session, sending: &Sending<'_>, file: &Path) -> Result<Value, Failure> {
    let Sending { source, force, .. } = *sending;
    let (sha256, size_bytes) = identity(file)?;
    let open = UploadOpen {
        source: source.to_owned(),
        format: sending.format.map_or_else(|| format_of(file), |format| Ok(format.to_owned()))?,
        sha256,
        size_bytes,
        offset: 0,
        file_name: file.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        force,
    };
    let gateway = session.gateway().await?;
    let sent = timeout(session.wait.unwrap_or(Duration::MAX), send(&gateway, file, open));
    let reply = sent.await.unwrap_or_else(|_| {
        let fault = Fault::coded(103, format!("{gateway} did not take the file in time"));
        Err(Failure::new(TIMED_OUT, fault.hint("what has arrived is kept: repeat the command to go on")))
    })?;
    let mut shown = json!({
        "upload_id": reply.upload_id, "run_id": reply.run_id, "duplicate": reply.duplicate,
        "file": file.display().to_string(),
    });
    if reply.duplicate {
        session.say(format!("{} was ingested before; --force ingests it again", file.display()));
    }
    if sending.wait {
        session.say(format!("{} → {source}", file.display()));
        wait_for(session, &reply.run_id).await?;
        let upload = session.client.get(&format!("/v1/uploads/{}", reply.upload_id)).await?;
        shown["rows"] = upload["rows"].clone();
        shown["dead_letters"] = upload["dead_letters"].clone();
        if upload["naive_timestamps"] == true {
            session.say("note: times without an offset were taken for UTC");
        }
        if let Some(note) = ignored(&upload["ignored"], source) {
            session.say(note);
        }
    }
    Ok(shown)
}

/// What a file has beyond what its source declares.
fn ignored(names: &Value, source: &str) -> Option<String> {
    let names = names.as_object().filter(|names| !names.is_empty())?;
    let rows = |rows: &Value| if *rows == 1 { "1 row".to_owned() } else { format!("{} rows", count(rows)) };
    let told: Vec<_> = names.iter().map(|(name, of)| format!("`{name}` in {}", rows(of))).collect();
    Some(format!(
        "note: not declared and ignored: {}; declare them, or say what becomes of them with `extra:` of source `{source}`",
        told.join(", ")
    ))
}

/// Sends what the gateway doesn't have of a file.
async fn send(gateway: &str, file: &Path, open: UploadOpen) -> Result<UploadResponse, Failure> {
    let mut client = IngestServiceClient::connect(gateway.to_owned()).await.map_err(|_| {
        let fault = Fault::coded(102, format!("no gateway answers at {gateway}"));
        Failure::new(UNREACHABLE, fault.hint("start one with `tidemill dev` or `tidemill gateway`"))
    })?;
    let asked = GetUploadRequest { source: open.source.clone(), sha256: open.sha256.clone() };
    let known = client.get_upload(asked).await.map_err(|status| refused(&status, gateway))?.into_inner();
    let offset = if open.force { 0 } else { known.received_bytes.min(open.size_bytes) };
    let open = UploadOpen { offset, ..open };
    let sent = client.upload(stream::iter(messages(file, open)?)).await;
    Ok(sent.map_err(|status| refused(&status, gateway))?.into_inner())
}

/// The opening, then the bytes from its offset on, read as they are sent.
fn messages(
    file: &Path,
    open: UploadOpen,
) -> Result<impl Iterator<Item = UploadRequest> + Send + 'static, Failure> {
    use std::io::Seek as _;
    let mut bytes = std::fs::File::open(file)?;
    bytes.seek(std::io::SeekFrom::Start(open.offset))?;
    let data = std::iter::from_fn(move || {
        let mut chunk = vec![0; CHUNK_BYTES];
        // A file that can't be read any more ends the stream; the gateway then misses bytes and says so.
        let read = bytes.read(&mut chunk).ok().filter(|read| *read > 0)?;
        chunk.truncate(read);
        Some(UploadRequest { part: Some(Part::Data(chunk)) })
    });
    Ok(std::iter::once(UploadRequest { part: Some(Part::Open(open)) }).chain(data))
}

/// SHA-256 in hex, and the size.
fn identity(file: &Path) -> Result<(String, u64), Failure> {
    let unreadable = |error: std::io::Error| {
        Failure::new(USAGE, Fault::coded(101, format!("{} can't be read: {error}", file.display())))
    };
    // The file is read twice, which a pipe can't be, and opening one waits for ever.
    if !std::fs::metadata(file).map_err(unreadable)?.is_file() {
        return Err(Failure::usage(
            format!("{} is not a file", file.display()),
            "name a file, not a folder or a pipe",
        ));
    }
    let mut bytes = std::fs::File::open(file).map_err(unreadable)?;
    let (mut hash, mut size, mut chunk) = (Sha256::new(), 0, vec![0; CHUNK_BYTES]);
    loop {
        let read = bytes.read(&mut chunk).map_err(unreadable)?;
        if read == 0 {
            break;
        }
        hash.update(&chunk[..read]);
        size += read as u64;
    }
    Ok((hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect(), size))
}

fn format_of(file: &Path) -> Result<String, Failure> {
    let format = file.file_name().and_then(|name| Format::of_name(&name.to_string_lossy()));
    format.map(|format| format.to_string()).ok_or_else(|| {
        Failure::usage(
            format!("{}: the name does not say the format", file.display()),
            "name the file .csv, .parquet or .jsonl (.csv.gz and .jsonl.zst are read too), or say --format csv",
        )
    })
}

fn refused(status: &tonic::Status, gateway: &str) -> Failure {
    let exit = match status.code() {
        tonic::Code::InvalidArgument | tonic::Code::NotFound => USAGE,
        tonic::Code::Unavailable => UNREACHABLE,
        _ => FAILED,
    };
    let fault = Reason::of(status).map_or_else(
        || Fault::new(status.message()),
        |Reason { code, message, detail, hint }| {
            // A code is the same text in JSON.
            let code = serde_json::from_value(Value::String(code)).ok();
            Fault { code, message, detail, hint }
        },
    );
    Failure::new(exit, fault).said_by(gateway)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_the_format_packed_or_not() {
        let format = |name: &str| format_of(Path::new(name)).ok();
        for name in ["a.csv", "a.tsv", "a.CSV.gz", "data.2024/a.b.csv.zst"] {
            assert_eq!(format(name).as_deref(), Some("csv"), "{name}");
        }
        assert_eq!(format("a.ndjson.gz").as_deref(), Some("jsonl"));
        for name in ["a.gz", "a", "a.xlsx", "a.csv.zip", "csv"] {
            assert_eq!(format(name), None, "{name}");
        }
    }

    #[test]
    fn what_was_ignored_is_said_by_name() {
        let note = ignored(&json!({ "Discount": 1_200, "Fare": 1 }), "trips");
        assert_eq!(
            note.as_deref(),
            Some(
                "note: not declared and ignored: `Discount` in 1,200 rows, `Fare` in 1 row; declare them, or say what \
                 becomes of them with `extra:` of source `trips`"
            )
        );
        assert_eq!(ignored(&json!({}), "trips"), None);
    }

    #[test]
    fn what_the_gateway_says_is_shown_like_every_other_failure() {
        let said = Reason {
            code: "TM0501".to_owned(),
            message: "the columns are not those of `orders`".to_owned(),
            detail: Some("columns are `a`, `b`".to_owned()),
            hint: Some("rename them".to_owned()),
        };
        let expected = Fault::coded(501, "the columns are not those of `orders`");
        let expected = expected.detail("columns are `a`, `b`").hint("rename them");
        let of = |status| *refused(&status, "http://127.0.0.1:7434").fault;
        assert_eq!(of(said.status(tonic::Code::InvalidArgument)), expected);
        let others = tonic::Status::unavailable("the connection was closed");
        assert_eq!(of(others), Fault::new("the connection was closed"));
    }
}
