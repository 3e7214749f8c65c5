//! Frames between us and a Python process: two little-endian u32 lengths, a JSON header, an Arrow IPC body.
//!
//! One request is in flight at a time; while it runs the other side sends events, and waits for an `ack` of
//! those that must be durable. `protocol.py` is the other end; a change here raises [`PROTOCOL`] in both.

use std::{io, path::Path};

use arrow::{array::RecordBatch, compute::concat_batches};
use bytes::Bytes;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tidemill_rows::{Error, ipc};
use tidemill_spec::Type;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::{DatasetFiles, Mode};

/// Both sides must say the same in the handshake.
pub(crate) const PROTOCOL: u32 = 2;

/// Longer headers are taken for noise.
const HEADER_BYTES_MAX: usize = 64 << 20;

/// What is asked of a process.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Request<'a> {
    Transform {
        entry: &'a str,
        mode: Mode,
        out: &'a IndexMap<String, Type>,
    },
    Step {
        entry: &'a str,
        params: &'a Map<String, Value>,
        dataset: Option<&'a DatasetFiles>,
        out: &'a Path,
        checkpoint: Option<&'a Value>,
    },
    Wrap {
        given: &'a Path,
        out: &'a Path,
        flavor: &'a str,
        dataset: &'a DatasetFiles,
        sample: bool,
    },
    LoadModel {
        folder: &'a Path,
    },
    Predict,
    Ack,
}

/// What a process says.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum Message {
    Hello {
        protocol: u32,
        /// The process that runs user code; 0 where another version doesn't say.
        #[serde(default)]
        pid: i32,
    },
    Log {
        line: String,
    },
    Checkpoint {
        value: Value,
    },
    Params {
        values: Map<String, Value>,
    },
    Metrics {
        values: Map<String, Value>,
    },
    Done {
        #[serde(default)]
        outputs: Value,
        #[serde(default)]
        failures: Vec<RowFailure>,
    },
    Raised {
        kind: Raised,
        message: String,
        traceback: String,
    },
}

/// Why a request gave no result.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Raised {
    #[serde(rename = "raised")]
    ByUser,
    Entry,
    Returned,
    Memory,
}

/// One row that a transform could not answer.
#[derive(Debug, Deserialize)]
pub(crate) struct RowFailure {
    pub(crate) row: usize,
    pub(crate) message: String,
    pub(crate) traceback: String,
    pub(crate) returned: bool,
}

/// Sends one frame.
pub(crate) async fn send(
    socket: &mut (impl AsyncWrite + Unpin),
    request: &Request<'_>,
    body: &[u8],
) -> io::Result<()> {
    let header = serde_json::to_vec(request)?;
    let too_long = |_| io::Error::other("a request of more than 4 GiB");
    let mut head = Vec::with_capacity(8 + header.len());
    head.extend(u32::try_from(header.len()).map_err(too_long)?.to_le_bytes());
    head.extend(u32::try_from(body.len()).map_err(too_long)?.to_le_bytes());
    head.extend(header);
    socket.write_all(&head).await?;
    socket.write_all(body).await
}

/// Waits for one frame: header and body.
pub(crate) async fn receive(socket: &mut (impl AsyncRead + Unpin)) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let header_len = socket.read_u32_le().await? as usize;
    let body_len = socket.read_u32_le().await? as usize;
    if header_len > HEADER_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not a frame"));
    }
    let mut header = vec![0; header_len];
    socket.read_exact(&mut header).await?;
    let mut body = vec![0; body_len];
    socket.read_exact(&mut body).await?;
    Ok((header, body))
}

/// Rows as one Arrow IPC stream.
pub(crate) fn encode(rows: &RecordBatch) -> Result<Bytes, Error> {
    ipc::encode(&rows.schema(), std::slice::from_ref(rows))
}

/// An Arrow IPC stream as one batch.
pub(crate) fn decode(body: &[u8]) -> Result<RecordBatch, Error> {
    let (schema, batches) = ipc::decode(body)?;
    Ok(concat_batches(&schema, &batches)?)
}
