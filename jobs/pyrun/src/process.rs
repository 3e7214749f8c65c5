//! One Python process: started, greeted, asked one thing at a time, watched, and killed with all it started.

use std::{
    io::{self, ErrorKind},
    path::Path,
    process::ExitStatus,
    time::Duration,
};

use arrow::array::RecordBatch;
use rustix::process::{Pid, Signal};
use serde_json::Value;
use tidemill_core::JobError;
use tokio::{
    net::UnixStream,
    process::Child,
    time::{MissedTickBehavior, interval, timeout},
};

use crate::{
    PyError, PyOptions, StepEvent, StepSink,
    calls::{Calls, WATCH_EVERY},
    output::Output,
    protocol::{self, Message, PROTOCOL, Raised, Request, RowFailure},
    spawn::{Spawned, spawn},
    tree::Tree,
};

/// A cold interpreter on a busy machine imports Arrow and pandas in seconds, not minutes.
const GREETING_LIMIT: Duration = Duration::from_secs(90);
/// A process whose socket closed is gone, or will be at once.
const DEATH_LIMIT: Duration = Duration::from_secs(2);

/// A process that waits for requests. Dropping it kills it with everything that it started.
#[derive(Debug)]
pub struct Process {
    guard: Child,
    tree: Tree,
    /// Who runs user code; none before the greeting.
    worker: Option<Pid>,
    socket: UnixStream,
    output: Output,
    calls: Calls,
    options: PyOptions,
    idle_bytes: u64,
}

/// What a request gave.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) outputs: Value,
    pub(crate) failures: Vec<RowFailure>,
    pub(crate) body: Vec<u8>,
}

impl Process {
    /// Starts a process and waits until it is ready.
    ///
    /// # Errors
    /// [`PyError::Start`] if there is no such Python or package, [`PyError::Protocol`] if it speaks another version.
    pub async fn start(options: &PyOptions) -> Result<Self, PyError> {
        let cannot = |message: String| PyError::Start { python: options.python.clone(), message };
        let Spawned { child: guard, socket, output, calls, calls_path } =
            spawn(options).map_err(|error| cannot(error.to_string()))?;
        let id = guard.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let tree = Tree::new(id.ok_or_else(|| cannot("it ended at once".to_owned()))?);
        let options_kept = options.clone();
        let mut process =
            Self { guard, tree, worker: None, socket, output, calls, options: options_kept, idle_bytes: 0 };
        let greeting = timeout(GREETING_LIMIT, protocol::receive(&mut process.socket)).await;
        // Who has greeted has opened it.
        drop(calls_path);
        let header = match greeting {
            Ok(Ok((header, _))) => header,
            Ok(Err(_)) => {
                let (status, output) = process.death().await;
                return Err(cannot(output.lines().last().map_or(status, ToOwned::to_owned)));
            }
            Err(_) => return Err(cannot(format!("no greeting within {} s", GREETING_LIMIT.as_secs()))),
        };
        match serde_json::from_slice(&header) {
            Ok(Message::Hello { protocol: PROTOCOL, pid }) => {
                process.worker = Pid::from_raw(pid);
                process.idle_bytes = process.tree.resident_bytes();
                Ok(process)
            }
            other => {
                let theirs = if let Ok(Message::Hello { protocol, .. }) = other { protocol } else { 0 };
                Err(PyError::Protocol { python: options.python.clone(), theirs, ours: PROTOCOL })
            }
        }
    }

    /// The id of the process that runs user code.
    pub fn id(&self) -> Option<u32> {
        self.worker.map(|worker| worker.as_raw_pid().cast_unsigned())
    }

    /// Calls of the transform's function that the last request began.
    pub(crate) fn calls(&self) -> u64 {
        self.calls.count()
    }

    /// Whether it still runs.
    pub fn alive(&mut self) -> bool {
        matches!(self.guard.try_wait(), Ok(None))
    }

    /// Waits until it ends by itself, or is ended from outside, and says how.
    pub async fn ended(&mut self) -> String {
        self.guard.wait().await.map_or_else(|error| error.to_string(), described)
    }

    /// Loads a model folder, instead of the one loaded before; `sink` hears what the model prints.
    pub async fn load_model(&mut self, folder: &Path, sink: &mut impl StepSink) -> Result<(), PyError> {
        self.call(&Request::LoadModel { folder }, None, sink).await.map(drop)
    }

    /// Asks the loaded model: rows by its signature in, outputs in the same order out; `sink` hears what it prints.
    pub async fn predict(
        &mut self,
        rows: &RecordBatch,
        sink: &mut impl StepSink,
    ) -> Result<RecordBatch, PyError> {
        let reply = self.call(&Request::Predict, Some(rows), sink).await?;
        Ok(protocol::decode(&reply.body)?)
    }

    /// One request under the options' limits.
    async fn call(
        &mut self,
        request: &Request<'_>,
        rows: Option<&RecordBatch>,
        sink: &mut impl StepSink,
    ) -> Result<Reply, PyError> {
        self.call_with(request, rows, sink, self.options.time_limit).await
    }

    /// One request: under the options' limit, and under `call_limit` for each call of a transform's function. After
    /// [`PyError::spoils`] the process must not be used again.
    pub(crate) async fn call_with(
        &mut self,
        request: &Request<'_>,
        rows: Option<&RecordBatch>,
        sink: &mut impl StepSink,
        call_limit: Duration,
    ) -> Result<Reply, PyError> {
        let first = self.options.time_limit;
        let body = rows.map(protocol::encode).transpose()?.unwrap_or_default();
        let calls = self.calls.clone();
        calls.reset()?;
        self.output.forget();
        let answer = tokio::select! {
            answer = self.converse(request, &body, sink) => answer,
            limit = calls.overdue(first, call_limit) => Err(PyError::Time { limit }),
        };
        if let Some(worker) = self.worker {
            self.tree.kill_orphans(worker);
        }
        told(sink, self.output.take_all()).await?;
        answer
    }

    async fn converse(
        &mut self,
        request: &Request<'_>,
        body: &[u8],
        sink: &mut impl StepSink,
    ) -> Result<Reply, PyError> {
        if let Err(error) = protocol::send(&mut self.socket, request, body).await {
            return Err(self.lost(error).await);
        }
        loop {
            let (header, body) = self.next_frame(sink).await?;
            let message = serde_json::from_slice(&header).map_err(io::Error::from)?;
            // What was printed before it was said, stands before it.
            told(sink, self.output.take_said()).await?;
            let event = match message {
                Message::Done { outputs, failures } => return Ok(Reply { outputs, failures, body }),
                Message::Raised { kind, message, traceback } => {
                    return Err(self.raised(request, kind, message, traceback));
                }
                Message::Hello { .. } => continue,
                Message::Log { line } => {
                    told(sink, self.output.take_all()).await?;
                    told(sink, vec![line]).await?;
                    continue;
                }
                Message::Checkpoint { value } => StepEvent::Checkpoint(value),
                Message::Params { values } => StepEvent::Params(values),
                Message::Metrics { values } => StepEvent::Metrics(values),
            };
            sink.event(event).await?;
            protocol::send(&mut self.socket, &Request::Ack, &[]).await?;
        }
    }

    /// Waits for a frame while the process is alive and within its memory.
    async fn next_frame(&mut self, sink: &mut impl StepSink) -> Result<(Vec<u8>, Vec<u8>), PyError> {
        let most = self.idle_bytes + self.options.memory_bytes;
        let mut ticks = interval(WATCH_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let frame = {
            // Pinned across ticks: a frame that is half read must not be forgotten.
            let mut frame = std::pin::pin!(protocol::receive(&mut self.socket));
            loop {
                tokio::select! {
                    frame = &mut frame => break frame,
                    _ = ticks.tick() => {
                        if self.tree.exceeds(most) {
                            let limit_bytes = self.options.memory_bytes;
                            return Err(PyError::Memory { limit_bytes, traceback: String::new() });
                        }
                    }
                    lines = self.output.next() => told(sink, lines).await?,
                }
            }
        };
        match frame {
            Ok(frame) => Ok(frame),
            Err(error) => Err(self.lost(error).await),
        }
    }

    fn raised(&self, request: &Request<'_>, kind: Raised, message: String, traceback: String) -> PyError {
        match (kind, request) {
            (Raised::Memory, _) => PyError::Memory { limit_bytes: self.options.memory_bytes, traceback },
            (Raised::Entry, Request::Transform { entry, .. } | Request::Step { entry, .. }) => {
                PyError::Entry { entry: (*entry).to_owned(), message, traceback }
            }
            (Raised::Returned, _) => PyError::Returned { message },
            (Raised::ByUser | Raised::Entry, _) => PyError::Raised { message, traceback },
        }
    }

    /// The socket failed: most likely because the process did.
    async fn lost(&mut self, error: io::Error) -> PyError {
        match error.kind() {
            ErrorKind::UnexpectedEof | ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => {
                let (status, output) = self.death().await;
                PyError::Died { status, output }
            }
            _ => PyError::Io(error),
        }
    }

    /// How it ended, and the last lines it wrote.
    async fn death(&mut self) -> (String, String) {
        let status = timeout(DEATH_LIMIT, self.guard.wait()).await;
        let status =
            status.ok().and_then(Result::ok).map_or_else(|| "closed its socket".to_owned(), described);
        (status, self.output.last())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.tree.kill();
    }
}

fn described(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => {
            let names =
                [(Signal::ABORT, "abort"), (Signal::KILL, "kill"), (Signal::SEGV, "segmentation fault")];
            let name = names.iter().find(|(known, _)| known.as_raw() == signal).map_or("", |(_, name)| name);
            format!("signal {signal} {name}").trim_end().to_owned()
        }
        (None, None) => status.to_string(),
    }
}

async fn told(sink: &mut impl StepSink, lines: Vec<String>) -> Result<(), JobError> {
    for line in lines {
        sink.event(StepEvent::Log(line)).await?;
    }
    Ok(())
}
