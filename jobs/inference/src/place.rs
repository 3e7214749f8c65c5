//! One place for a process: takes requests, answers them, and has the process replaced when it ends.
//!
//! A call that fails is told apart here, in its own place: requests that shared it are tried again in parts, so that each
//! pays for itself alone; one whose process died is tried once more in the next process of this place. What a poisonous
//! request does, it never does to another place.

use std::{sync::Arc, time::Duration};

use arrow::{array::RecordBatch, compute::concat_batches};
use tidemill_core::JobError;
use tidemill_pyrun::{Process, PyError, PyOptions, StepEvent, StepSink};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Error, ModelOptions,
    golden::Golden,
    health::{Answering, Health},
    queue::{Queue, Request},
};

/// A call is left alone for so long, whoever waits for it: a new process costs as much.
const CALL_MIN: Duration = Duration::from_secs(1);
/// Before the second try to replace a process; doubled for each that follows.
const RESTART_AFTER: Duration = Duration::from_secs(1);
const RESTART_AFTER_MAX: Duration = Duration::from_secs(30);
/// Printed lines of one call that are logged, and characters of each.
const LINES_MAX: usize = 50;
const LINE_CHARS_MAX: usize = 1000;

/// What each place needs.
pub(crate) struct Place {
    options: ModelOptions,
    /// Longest a process may take until it answers.
    load_limit: Duration,
    golden: Golden,
    queue: Arc<Queue>,
    health: Arc<Health>,
}

/// A process that answers.
struct Seat {
    process: Process,
    _answering: Answering,
}

/// How a call went that gave no outputs.
enum Trouble {
    /// The model said no, or its process ended.
    Failed(PyError),
    /// Nobody waits for it any more.
    GivenUp,
    /// It takes so long that others, who share it or wait behind it, would be late.
    Slow,
}

impl Place {
    pub(crate) fn new(options: ModelOptions, golden: Golden, queue: Arc<Queue>, health: Arc<Health>) -> Self {
        let load_limit = options.python.time_limit;
        // Callers set the limits of calls.
        let python = PyOptions { time_limit: Duration::MAX, ..options.python.clone() };
        Self { options: ModelOptions { python, ..options }, load_limit, golden, queue, health }
    }

    /// Serves until the queue closes or the place is `retired`; says how the first start went, to whoever asks. A panic costs
    /// the process and the requests it had, not its place.
    pub(crate) async fn keep(
        self: Arc<Self>,
        mut started: Option<mpsc::Sender<Result<(), Error>>>,
        retired: CancellationToken,
    ) {
        while let Err(error) = tokio::spawn(Arc::clone(&self).serve(started.take(), retired.clone())).await {
            tracing::error!(%error, model = self.health.name(), "serving a model has panicked");
        }
    }

    async fn serve(
        self: Arc<Self>,
        started: Option<mpsc::Sender<Result<(), Error>>>,
        retired: CancellationToken,
    ) {
        tokio::select! {
            // Between two awaits nothing is half done: a process that is dropped ends with all it started.
            () = self.queue.closed() => {}
            _ = self.serve_on(started, retired) => {}
        }
    }

    /// `None` once it is retired: never with requests in hand.
    async fn serve_on(
        &self,
        started: Option<mpsc::Sender<Result<(), Error>>>,
        retired: CancellationToken,
    ) -> Option<()> {
        let first = async {
            match started {
                Some(started) => self.first(started).await,
                None => self.restart(Duration::ZERO).await,
            }
        };
        let mut seat = retired.run_until_cancelled(first).await?;
        loop {
            seat = tokio::select! {
                () = retired.cancelled() => return None,
                requests = self.queue.take(self.options.batch_rows) => {
                    if requests.is_empty() {
                        return None;
                    }
                    self.answer(seat, requests).await
                }
                how = seat.process.ended() => {
                    self.health.ended(&how);
                    drop(seat);
                    retired.run_until_cancelled(self.restart(Duration::ZERO)).await?
                }
            };
        }
    }

    /// The first process; how its start went is told at once, since the pool may come up by another place.
    async fn first(&self, started: mpsc::Sender<Result<(), Error>>) -> Seat {
        match self.start().await {
            Ok(seat) => {
                let _ = started.send(Ok(())).await;
                seat
            }
            Err(error) => {
                self.not_started(&error);
                let _ = started.send(Err(error)).await;
                drop(started);
                self.restart(RESTART_AFTER).await
            }
        }
    }

    /// Answers requests, together if that goes well. Returns the process, a new one if a call spoilt it.
    async fn answer(&self, mut seat: Seat, requests: Vec<Request>) -> Seat {
        let mut groups = vec![requests];
        while let Some(mut group) = groups.pop() {
            group.retain(Request::wanted);
            if group.is_empty() {
                continue;
            }
            match self.call(&mut seat.process, &mut group, groups.len()).await {
                Ok(outputs) => share(group, &outputs),
                // It may have been slow for no fault of its own: what time is left after the others is its own.
                Err(Trouble::Slow) if group.len() == 1 => {
                    groups.insert(0, group);
                    self.health.ended(&Trouble::Slow.to_string());
                    drop(seat);
                    seat = self.restart(Duration::ZERO).await;
                }
                Err(trouble) => {
                    let spoilt = trouble.spoils().then(|| trouble.to_string());
                    groups.extend(trouble.again(group));
                    if let Some(how) = spoilt {
                        self.health.ended(&how);
                        drop(seat);
                        seat = self.restart(Duration::ZERO).await;
                    }
                }
            }
        }
        seat
    }

    /// One call to Python, while `behind` others wait for this process.
    async fn call(
        &self,
        process: &mut Process,
        group: &mut [Request],
        behind: usize,
    ) -> Result<RecordBatch, Trouble> {
        let rows = concat(group).map_err(Trouble::Failed)?;
        let asked = rows.num_rows();
        let began = Instant::now();
        let patience = patience(group, behind, began);
        let mut printed = Printed::new(self.health.name());
        let _busy = self.health.busy();
        let outputs = tokio::select! {
            outputs = process.predict(&rows, &mut printed) => outputs.map_err(Trouble::Failed)?,
            () = given_up(group, began) => return Err(Trouble::GivenUp),
            () = sleep_until(patience.unwrap_or_else(Instant::now)), if patience.is_some() => {
                return Err(Trouble::Slow);
            }
        };
        if outputs.num_rows() == asked {
            return Ok(outputs);
        }
        let message = format!("the model gave {} rows for {asked}", outputs.num_rows());
        Err(Trouble::Failed(PyError::Returned { message }))
    }

    /// A process that has the model and predicts its golden rows.
    async fn start(&self) -> Result<Seat, Error> {
        let load = async {
            let mut printed = Printed::new(self.health.name());
            let mut process = Process::start(&self.options.python).await?;
            process.load_model(&self.options.folder, &mut printed).await?;
            let outputs = process.predict(self.golden.inputs(), &mut printed).await?;
            self.golden.check(&outputs)?;
            Ok(process)
        };
        let limit = self.load_limit;
        let late = || Error::Python(PyError::Time { limit });
        let process = timeout(limit, load).await.unwrap_or_else(|_| Err(late()))?;
        Ok(Seat { process, _answering: self.health.answers() })
    }

    /// A fresh process, the first try after `after` (real time), tried until it comes up.
    async fn restart(&self, mut after: Duration) -> Seat {
        loop {
            sleep_until(Instant::now() + after).await;
            match self.start().await {
                Ok(seat) => return seat,
                Err(error) => self.not_started(&error),
            }
            after = (after * 2).clamp(RESTART_AFTER, RESTART_AFTER_MAX);
        }
    }

    fn not_started(&self, error: &Error) {
        let fault = error.fault();
        tracing::error!(
            model = self.health.name(),
            code = fault.code.map(|code| code.to_string()),
            detail = fault.detail,
            "a process of the model can't be started: {}",
            fault.message
        );
        self.health.not_started(fault.to_string());
    }
}

impl Trouble {
    /// Whether the process can't be used any more.
    fn spoils(&self) -> bool {
        match self {
            Self::Failed(error) => error.spoils(),
            Self::GivenUp | Self::Slow => true,
        }
    }

    /// What is tried again, the last group first. Who was alone has its answer.
    fn again(self, mut group: Vec<Request>) -> Vec<Vec<Request>> {
        let died = matches!(self, Self::Failed(PyError::Died { .. } | PyError::Io(_)));
        if group.len() == 1 {
            let first_death = died && !group[0].seen_death;
            match (self, group.pop()) {
                (_, Some(request)) if first_death => {
                    return vec![vec![Request { seen_death: true, ..request }]];
                }
                // Nobody may be waiting any more.
                (Self::Failed(error), Some(request)) => drop(request.reply.send(Err(Error::Python(error)))),
                _ => {}
            }
            return Vec::new();
        }
        // A process costs seconds, a call milliseconds: after a death each is tried by itself.
        let size = if self.spoils() { 1 } else { group.len().div_ceil(2) };
        for request in &mut group {
            request.seen_death |= died;
        }
        let mut parts = Vec::new();
        while !group.is_empty() {
            parts.push(group.split_off(group.len().saturating_sub(size)));
        }
        parts
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Failed(error) => write!(f, "{error}"),
            Self::GivenUp => f.write_str("a call took longer than its caller waited"),
            Self::Slow => f.write_str("a call took so long that others would have been late"),
        }
    }
}

/// Until when a call may go on that others depend on: those who share it need time for each by itself, half of what the most
/// hurried has left; those who wait `behind` it need their part. A request alone has all of its time.
fn patience(group: &[Request], behind: usize, began: Instant) -> Option<Instant> {
    let parts = u32::try_from(behind + group.len().min(2)).unwrap_or(u32::MAX);
    if parts < 2 {
        return None;
    }
    let first = group.iter().map(|request| request.deadline).min()?;
    Some((began + first.saturating_duration_since(began) / parts).max(began + CALL_MIN))
}

/// Returns once nobody waits for an answer, and the call has gone on for long.
async fn given_up(group: &mut [Request], began: Instant) {
    for request in group {
        request.given_up().await;
    }
    sleep_until(began + CALL_MIN).await;
}

fn concat(group: &[Request]) -> Result<RecordBatch, PyError> {
    if let [only] = group {
        return Ok(only.rows.clone());
    }
    let rows = concat_batches(&group[0].rows.schema(), group.iter().map(|request| &request.rows));
    Ok(rows.map_err(tidemill_rows::Error::from)?)
}

/// Gives each caller its rows of the outputs.
fn share(group: Vec<Request>, outputs: &RecordBatch) {
    let mut start = 0;
    for request in group {
        let rows = request.rows.num_rows();
        // Nobody may be waiting any more.
        let _ = request.reply.send(Ok(outputs.slice(start, rows)));
        start += rows;
    }
}

/// Logs what a model prints during one call.
struct Printed<'a> {
    model: &'a str,
    lines: usize,
}

impl<'a> Printed<'a> {
    fn new(model: &'a str) -> Self {
        Self { model, lines: 0 }
    }
}

impl StepSink for Printed<'_> {
    async fn event(&mut self, event: StepEvent) -> Result<(), JobError> {
        let StepEvent::Log(line) = event else { return Ok(()) };
        self.lines += 1;
        if self.lines <= LINES_MAX {
            let line: String = line.chars().take(LINE_CHARS_MAX).collect();
            tracing::info!(model = self.model, "printed: {line}");
        } else if self.lines == LINES_MAX + 1 {
            tracing::info!(
                model = self.model,
                "the call prints more than {LINES_MAX} lines; the others are left out"
            );
        }
        Ok(())
    }
}
