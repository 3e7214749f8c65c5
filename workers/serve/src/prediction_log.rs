//! The prediction log, from a reply to the object store; a job takes it into the lake from there.
//!
//! Reading order: [`record`] (what is kept of a request), [`PredictionLogger`] (takes it, never waits), `write` (a thread:
//! records to [`rows`] to a frame of a [`segment`]), [`spool`] (segments on disk), [`ship`] (segments to the object store).
//!
//! Requests are never delayed by it and never fail for it. What doesn't fit, in memory or on disk, is dropped and counted,
//! the newest first. A kill of the process loses what was answered within [`GATHER`] before; the rest is on disk, and
//! shipped by the next process that starts.

mod record;
mod rows;
mod segment;
mod ship;
mod spool;

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    time::{Duration, Instant},
};

use tidemill_blobs::{Blobs, private_default};
use tidemill_core::{Clock, RequestId, Time};
use tidemill_online::{LiveModelVersion, LiveSet};
use tidemill_spec::PredictionLog;
use tokio::{
    sync::Notify,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    Error,
    ask::{Answer, Ask},
    metrics::Metrics,
    warm::Loaded,
};
use record::{Entry, Record, asked_as, sampled};
use segment::{Frame, Owner, encode};
use spool::{Folder, Refusal, Spool};

pub use spool::SpoolLimits;

/// Records are gathered so long before they are written: what a kill loses.
const GATHER: Duration = Duration::from_millis(50);
/// Rows of one frame, about.
const FRAME_ROWS: usize = 2_000;
/// Rows that wait in memory, at most.
const WAITING_ROWS_MAX: usize = 20_000;
/// Requests that wait in memory, at most.
const WAITING_REQUESTS_MAX: usize = 20_000;
/// How often the spool is tended while nothing comes.
const TEND_EVERY: Duration = Duration::from_millis(500);
/// How often segments are looked for that nobody was told of: those which the object store refused, or the dead left.
const SHIP_EVERY: Duration = Duration::from_secs(2);
/// How long what is left may take when the role ends; the next process ships the rest.
const LAST_SHIPMENT_MAX: Duration = Duration::from_secs(5);

/// How predictions are logged on their way to the lake.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// The folder of segments that are not shipped yet; only we may write to it.
    pub folder: PathBuf,
    /// Its limits.
    pub limits: SpoolLimits,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { folder: private_default("predictions"), limits: SpoolLimits::default() }
    }
}

/// What the parts tell each other.
#[derive(Debug, Default)]
struct Shared {
    /// Rows in memory.
    waiting: AtomicUsize,
    /// Bytes on disk.
    used: Arc<AtomicU64>,
    /// Why rows are dropped just now.
    dropping: Mutex<Option<String>>,
    /// Why segments are not shipped just now.
    stuck: Mutex<Option<String>>,
    cut: Notify,
}

enum Message {
    Record(Box<Record>),
    /// Nothing follows.
    Close,
}

/// Takes what was answered.
#[derive(Debug)]
pub(crate) struct PredictionLogger {
    records: SyncSender<Message>,
    shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
}

/// What runs beside the role.
#[derive(Debug)]
pub(crate) struct Shipper {
    folder: Arc<Folder>,
    root: PathBuf,
    /// Folders of dead processes.
    left: Vec<Folder>,
    blobs: Blobs,
    shared: Arc<Shared>,
    metrics: Metrics,
    writer: std::thread::JoinHandle<()>,
}

/// What was asked, and what became of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) ask: &'a Ask,
    pub(crate) live: &'a LiveSet,
    pub(crate) request: RequestId,
    pub(crate) took: Duration,
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Record(_) => "Record",
            Self::Close => "Close",
        })
    }
}

/// Starts to log in a folder of its own.
///
/// # Errors
/// The folder can't be made, or others may write to it.
pub(crate) fn start(
    options: LogOptions,
    blobs: Blobs,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
) -> anyhow::Result<(PredictionLogger, Shipper)> {
    let folder = Arc::new(Folder::create(&options.folder)?);
    let shared = Arc::new(Shared::default());
    let (records, taken) = sync_channel(WAITING_REQUESTS_MAX);
    let spool = Spool::new(Arc::clone(&folder), options.limits, Arc::clone(&shared.used));
    let (told, counted) = (Arc::clone(&shared), metrics.clone());
    let write = move || write(&taken, spool, &told, &counted);
    let writer = std::thread::Builder::new().name("prediction-log".to_owned()).spawn(write)?;
    let logger = PredictionLogger { records, shared: Arc::clone(&shared), clock, metrics: metrics.clone() };
    Ok((logger, Shipper { folder, root: options.folder, left: Vec::new(), blobs, shared, metrics, writer }))
}

impl Shared {
    /// Why rows are dropped from now on; none: they are not.
    fn say_dropping(&self, reason: Option<String>) {
        *self.dropping.lock().unwrap_or_else(PoisonError::into_inner) = reason;
    }
}

impl PredictionLogger {
    /// Keeps what a loaded version answered, or why it didn't. Takes the rows that the answer came of.
    pub(crate) fn answered(&self, asked: Asked<'_>, loaded: &Loaded, answer: &mut Result<Answer, Error>) {
        let log = match asked.live.models.get(&loaded.model) {
            Some(model) if model.log.is_on() => Arc::clone(&model.log),
            _ => return,
        };
        let entries = match answer {
            Ok(answer) => {
                let kept = answer.predictions.iter_mut().filter(|one| sampled(one.id, log.sample));
                kept.map(Entry::answered).collect()
            }
            Err(error) => failed(asked.ask, &loaded.live, error, &log),
        };
        let now = answer.as_ref().ok().map(|answer| answer.now);
        let version = (loaded.model.clone(), Some(loaded.version));
        self.take(asked, now, version, (Arc::clone(&loaded.live), log), entries);
    }

    /// Keeps that no version could take a request, if its model is live at all: callers can't make names up.
    pub(crate) fn unresolved(&self, asked: Asked<'_>, error: &Error) {
        let Some(model) = asked.live.models.get(&asked.ask.model).filter(|model| model.log.is_on()) else {
            return;
        };
        // Its newest version says what its keys are.
        let Some(live) = model.versions.values().flatten().next() else { return };
        let log = Arc::clone(&model.log);
        let entries = failed(asked.ask, live, error, &log);
        self.take(asked, None, (asked.ask.model.clone(), None), (Arc::clone(live), log), entries);
    }

    /// Why rows are dropped, or don't get away.
    pub(crate) fn problems(&self) -> Vec<String> {
        let said =
            |problem: &Mutex<Option<String>>| problem.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let dropping =
            said(&self.shared.dropping).map(|reason| format!("prediction log: rows are dropped: {reason}"));
        let stuck = said(&self.shared.stuck).map(|reason| {
            let mebibytes = self.shared.used.load(Ordering::Relaxed) >> 20;
            format!("prediction log: {mebibytes} MiB wait to be shipped: {reason}")
        });
        dropping.into_iter().chain(stuck).collect()
    }

    /// Nothing follows: what was taken is written.
    pub(crate) fn close(&self) {
        // A writer that has ended has nothing to write.
        let _ = self.records.send(Message::Close);
    }

    fn take(
        &self,
        asked: Asked<'_>,
        now: Option<Time>,
        (model, version): (String, Option<u32>),
        (live, log): (Arc<LiveModelVersion>, Arc<PredictionLog>),
        entries: Vec<Entry>,
    ) {
        let rows = entries.len();
        if rows == 0 {
            return;
        }
        let answered_at = self.clock.now();
        let record = Record {
            model,
            version,
            live,
            log,
            request: asked.request,
            asked_as: asked_as(asked.ask),
            now: now.unwrap_or_else(|| asked.live.clock.at(answered_at)),
            answered_at,
            took: asked.took,
            entries,
        };
        let waiting = self.shared.waiting.fetch_add(rows, Ordering::Relaxed);
        if waiting + rows <= WAITING_ROWS_MAX {
            match self.records.try_send(Message::Record(Box::new(record))) {
                Ok(()) => return,
                Err(TrySendError::Full(_)) => {}
                Err(TrySendError::Disconnected(_)) => {
                    self.shared.say_dropping(Some("the writer has ended".to_owned()));
                }
            }
        }
        self.shared.waiting.fetch_sub(rows, Ordering::Relaxed);
        self.metrics.log_dropped("memory", rows);
    }
}

/// The entities of a request that failed as a whole.
fn failed(ask: &Ask, live: &LiveModelVersion, error: &Error, log: &PredictionLog) -> Vec<Entry> {
    let entries = ask.entities.iter().map(|given| Entry::failed(given, live, error));
    entries.filter(|entry| sampled(entry.id, log.sample)).collect()
}

/// Writes what is taken until nothing follows: the body of a thread.
fn write(records: &Receiver<Message>, mut spool: Spool, shared: &Shared, metrics: &Metrics) {
    let (mut seq, mut open) = (0, true);
    while open {
        let mut gathered = Vec::new();
        open = gather(records, &mut gathered);
        let idle = gathered.is_empty();
        let mut dropping = None;
        for group in rows::by_version(gathered) {
            let count: usize = group.iter().map(|record| record.entries.len()).sum();
            shared.waiting.fetch_sub(count, Ordering::Relaxed);
            let owner = Owner { model: group[0].model.clone(), version: group[0].version };
            let frame = rows::rows(&group, seq).and_then(|rows| encode(&Frame { owner, rows }));
            seq += i64::try_from(count).unwrap_or(0);
            let reason = match frame.map(|frame| spool.append(&frame)) {
                Ok(Ok(cut)) => {
                    metrics.log_written(count);
                    if cut {
                        shared.cut.notify_one();
                    }
                    None
                }
                Ok(Err(refusal)) => {
                    let full = matches!(refusal, Refusal::Full { .. });
                    metrics.log_dropped(if full { "budget" } else { "disk" }, count);
                    Some(refusal.to_string())
                }
                Err(error) => {
                    tracing::error!(model = group[0].model, error = %format!("{error:#}"), "predictions can't be logged");
                    metrics.log_dropped("unwritable", count);
                    Some(format!("{error:#}"))
                }
            };
            // Of one model's rows, whatever became of the others'.
            dropping = dropping.or(reason);
        }
        if spool.tend() {
            shared.cut.notify_one();
        }
        // While nothing comes, what was said last holds until there is room again.
        if !idle || spool.has_room() {
            shared.say_dropping(dropping);
        }
    }
    spool.cut();
}

/// What comes within [`GATHER`] of the first; false once nothing follows.
fn gather(records: &Receiver<Message>, gathered: &mut Vec<Record>) -> bool {
    let (mut rows, mut until) = (0, None);
    loop {
        let wait = until.map_or(TEND_EVERY, |until: Instant| until.saturating_duration_since(Instant::now()));
        match records.recv_timeout(wait) {
            Ok(Message::Record(record)) => {
                until.get_or_insert_with(|| Instant::now() + GATHER);
                rows += record.entries.len();
                gathered.push(*record);
                if rows >= FRAME_ROWS {
                    return true;
                }
            }
            Err(RecvTimeoutError::Timeout) => return true,
            Ok(Message::Close) | Err(RecvTimeoutError::Disconnected) => return false,
        }
    }
}

impl Shipper {
    /// Ships segments until `shutdown`.
    pub(crate) async fn run(&mut self, shutdown: CancellationToken) {
        let mut ticks = interval(SHIP_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = ticks.tick() => {}
                () = self.shared.cut.notified() => {}
            }
            let _ = shutdown.run_until_cancelled(self.ship()).await;
        }
    }

    /// Ships what the writer left, once it has ended.
    pub(crate) async fn finish(self) {
        let Self { folder, blobs, shared, writer, .. } = self;
        let last = async {
            // It ends by itself: it was told that nothing follows.
            let _ = tokio::task::spawn_blocking(move || writer.join()).await;
            ship::ship(&folder, &blobs, &shared).await
        };
        match timeout(LAST_SHIPMENT_MAX, last).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(error = %format!("{error:#}"), "the rest of the prediction log is not shipped");
            }
            Err(_) => tracing::warn!("the rest of the prediction log is not shipped: it took too long"),
        }
        if let Some(folder) = Arc::into_inner(folder)
            && let Err(error) = folder.remove_empty()
        {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the folder of the prediction log stays"
            );
        }
    }

    async fn ship(&mut self) {
        let shipped = self.ship_all().await;
        if let Err(error) = &shipped {
            tracing::warn!(error = %format!("{error:#}"), "the prediction log can't be shipped; trying again");
        }
        let problem = shipped.err().map(|error| format!("{error:#}"));
        *self.shared.stuck.lock().unwrap_or_else(PoisonError::into_inner) = problem;
        self.metrics.log_waiting(self.shared.used.load(Ordering::Relaxed));
    }

    async fn ship_all(&mut self) -> anyhow::Result<()> {
        for left in Folder::left_behind(&self.root)? {
            self.shared.used.fetch_add(left.bytes()?, Ordering::Relaxed);
            self.left.push(left);
        }
        while let Some(left) = self.left.pop() {
            if let Err(error) = ship::ship(&left, &self.blobs, &self.shared).await {
                self.left.push(left);
                return Err(error);
            }
            left.remove_empty()?;
        }
        ship::ship(&self.folder, &self.blobs, &self.shared).await
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Map;
    use tidemill_core::{PredictionId, SystemClock};
    use tidemill_inference::Output;
    use tidemill_spec::{Hydration, Type, Value};
    use tidemill_telemetry::Registry;

    use super::*;
    use crate::{ask::Prediction, hydrate::Hydrated, warm::Which};

    const COLUMNS: usize = 16;

    fn version() -> LiveModelVersion {
        let columns = (0..COLUMNS).map(|column| (format!("feature_number_{column}"), Type::Float));
        LiveModelVersion {
            artifact: String::new(),
            code: None,
            runtime: "lightgbm".to_owned(),
            keys: [("carrier".to_owned(), Type::String), ("flight".to_owned(), Type::Int)].into(),
            hydration: Hydration { columns: columns.collect(), ..Hydration::default() },
            views: indexmap::IndexMap::new(),
            request: indexmap::IndexMap::new(),
            nullable: None,
            outputs: [("late".to_owned(), Type::Float.into())].into(),
            fail_on_missing: false,
            processes: 1,
            processes_max: None,
        }
    }

    fn prediction(number: i64) -> Prediction {
        let mut row = tidemill_rows::Row::new();
        row.insert("carrier".to_owned(), Value::String("UA".to_owned()));
        row.insert("flight".to_owned(), Value::Int(number));
        row.extend((0..COLUMNS).map(|column| (format!("feature_number_{column}"), Value::Float(0.5))));
        let hydrated = Hydrated { row, views: Vec::new(), defaulted: Vec::new(), unreadable: None };
        let outputs = [("late".to_owned(), Output::Scalar(Value::Float(0.25)))].into();
        Prediction {
            id: PredictionId::generate(),
            version: 1,
            outputs: Ok(outputs),
            hydrated,
            features: None,
        }
    }

    fn ask() -> Ask {
        let (entities, request) = (vec![Map::new()], Vec::new());
        let which = Which::Champion;
        Ask { model: "late".to_owned(), which, entities, request, want_features: false, deadline: None }
    }

    fn logger(root: &std::path::Path) -> (PredictionLogger, Shipper) {
        let options = LogOptions { folder: root.join("log"), limits: SpoolLimits::default() };
        let blobs = Blobs::open(&tidemill_blobs::BlobOptions::folder(root.join("blobs"))).unwrap();
        start(options, blobs, Arc::new(SystemClock), Metrics::register(&Registry::default())).unwrap()
    }

    #[tokio::test]
    async fn what_is_taken_is_shipped_and_what_does_not_fit_is_counted() {
        let root = tempfile::tempdir().unwrap();
        let (logger, shipper) = logger(root.path());
        let (live, version) = (LiveSet::default(), Arc::new(version()));
        // The queue is taken up, but for ten places.
        logger.shared.waiting.store(WAITING_ROWS_MAX - 10, Ordering::Relaxed);
        let many = Asked { ask: &ask(), live: &live, request: RequestId::generate(), took: Duration::ZERO };
        let of = || ("late".to_owned(), Some(1));
        let entries = |flights: std::ops::Range<i64>| {
            flights.map(|flight| Entry::answered(&mut prediction(flight))).collect::<Vec<_>>()
        };
        logger.take(many, None, of(), (Arc::clone(&version), Arc::default()), entries(0..20));
        logger.take(many, None, of(), (Arc::clone(&version), Arc::default()), entries(0..10));
        logger.close();
        shipper.finish().await;
        let blobs = Blobs::open(&tidemill_blobs::BlobOptions::folder(root.path().join("blobs"))).unwrap();
        let segments = blobs.list(tidemill_rows::prediction_log::SEGMENTS).await.unwrap();
        assert_eq!(segments.len(), 1);
        let rows = tidemill_rows::parquet::read(blobs.get_at(&segments[0].path).await.unwrap()).unwrap();
        let flights = tidemill_rows::rows_of(&rows).unwrap();
        assert_eq!(
            flights.iter().map(|row| row["flight"].clone()).collect::<Vec<_>>(),
            (0..10).map(Value::Int).collect::<Vec<_>>()
        );
    }

    #[tokio::test]
    async fn what_can_not_be_read_takes_no_budget() {
        let root = tempfile::tempdir().unwrap();
        let (_logger, mut shipper) = logger(root.path());
        let left = shipper.root.join("wrk_dead");
        std::fs::create_dir(&left).unwrap();
        std::fs::write(left.join(format!("0.{}", ship::BROKEN)), "of before").unwrap();
        // A whole frame, but not of ours.
        let content: &[u8] = b"of another release";
        let head = [u32::try_from(content.len()).unwrap(), crc32fast::hash(content)];
        let frame = [head.map(u32::to_le_bytes).as_flattened(), content].concat();
        std::fs::write(left.join(format!("1.{}", spool::SEGMENT)), frame).unwrap();
        for _ in 0..2 {
            shipper.ship().await;
            assert_eq!(shipper.shared.used.load(Ordering::Relaxed), 0);
        }
        assert!(left.join(format!("1.{}", ship::BROKEN)).exists());
        assert_eq!(*shipper.shared.stuck.lock().unwrap(), None);
    }

    #[test]
    fn rows_are_dropped_while_there_is_no_room_and_once_the_writer_has_ended() {
        let root = tempfile::tempdir().unwrap();
        let (logger, shipper) = logger(root.path());
        let used = Arc::clone(&logger.shared.used);
        used.store(SpoolLimits::default().budget_bytes, Ordering::Relaxed);
        let (live, version) = (LiveSet::default(), Arc::new(version()));
        let asked = Asked { ask: &ask(), live: &live, request: RequestId::generate(), took: Duration::ZERO };
        let take = || {
            let of = ("late".to_owned(), Some(1));
            let with = (Arc::clone(&version), Arc::default());
            logger.take(asked, None, of, with, vec![Entry::answered(&mut prediction(1))]);
        };
        take();
        logger.close();
        shipper.writer.join().unwrap();
        assert!(logger.problems()[0].contains("all that may"), "{:?}", logger.problems());
        take();
        assert!(logger.problems()[0].contains("the writer has ended"), "{:?}", logger.problems());
    }

    /// What the log costs a request, by hand: `cargo test -p tidemill-serve measure_log -- --ignored --nocapture`.
    #[tokio::test]
    #[ignore = "a measurement"]
    async fn measure_log() {
        let root = tempfile::tempdir().unwrap();
        let (logger, shipper) = logger(root.path());
        let (live, version, log) = (LiveSet::default(), Arc::new(version()), Arc::default());
        let (ask, request) = (ask(), RequestId::generate());
        let mut took = Vec::new();
        // 5,000 a second for four seconds.
        let mut ticks = interval(Duration::from_millis(1));
        for _ in 0..4_000 {
            ticks.tick().await;
            for _ in 0..5 {
                let mut one = prediction(1);
                let asked = Asked { ask: &ask, live: &live, request, took: Duration::from_millis(1) };
                let started = Instant::now();
                let (of, with) = (("late".to_owned(), Some(1)), (Arc::clone(&version), Arc::clone(&log)));
                logger.take(asked, None, of, with, vec![Entry::answered(&mut one)]);
                took.push(started.elapsed());
            }
        }
        took.sort();
        let at = |share: usize| took[took.len() * share / 100];
        println!("one prediction of {COLUMNS} features: p50 {:?}, p99 {:?}", at(50), at(99));
        logger.close();
        shipper.finish().await;
    }
}
