//! Job `monitor.scan`: one window of one monitor, judged, told, written down.
//!
//! The first attempt fixes the data clock and the version that is watched: the one that was champion in the window. Then
//! it waits for the files that were accepted by then, fixes the lake's head, and waits for the views to reach it. What
//! follows is a function of these. Scan, incident, notifications and their jobs commit together.

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use tidemill_blobs::BlobRef;
use tidemill_catalog::{ViewState, ViewVersion};
use tidemill_core::{IncidentId, JobError, Kind, Time};
use tidemill_offline::Version;
use tidemill_registry::Deps;
use tidemill_runtime::{Context, Job, Outcome};
use tidemill_spec::{
    Monitor, MonitorTarget, Objects,
    args::{MONITOR_SCAN, MonitorScan},
    steps::CHAMPION,
};
use tidemill_training::wait;

use crate::{
    CheckResult, ColumnReport, Error, Verdict,
    arrival::{Sources, awaited},
    champion::serving,
    facts::{Facts, Pin},
    judge::{judge_all, mean},
    notify::notifications,
    report,
    subject::{self, Champion, PREDICTION},
    table,
    verdict::worst,
};

/// How long the scan sleeps while its views catch up.
const SNOOZE: TimeDelta = TimeDelta::milliseconds(300);

/// What a scan found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scan {
    /// The monitor.
    pub monitor: String,
    /// First instant of the window.
    pub from: Time,
    /// First instant after it.
    pub to: Time,
    /// The most urgent of the results.
    pub status: Verdict,
    /// Rows of the window.
    pub rows: usize,
    /// Rows of the reference.
    #[serde(default)]
    pub rows_reference: usize,
    /// Whether all that belongs to the window was known: it had ended, and the labels of a model were in. What isn't
    /// complete is scanned again by the next tick.
    #[serde(default)]
    pub complete: bool,
    /// Sources whose rows of the window may still be on their way.
    #[serde(default)]
    pub awaited: Vec<String>,
    /// The version that was watched, for a model: the one that was champion for the longest part of the window.
    pub version: Option<i32>,
    /// False where no version was champion in the window, so that the first that became it stands in.
    #[serde(default = "yes")]
    pub version_served: bool,
    /// What each check says.
    pub results: Vec<CheckResult>,
    /// Mean of the label, for a model.
    pub label_rate: Option<f64>,
    /// Mean of the scored output; none where it is a class.
    pub mean_prediction: Option<f64>,
    /// AUC over the window's labels.
    pub auc: Option<f64>,
    /// The incident that tells of this window.
    pub incident: Option<IncidentId>,
    /// Where the page with histograms lies on the object store.
    pub report: String,
}

fn yes() -> bool {
    true
}

/// What the first attempt fixed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Fixed {
    clock: Time,
    /// The lake's head once the files had arrived.
    head: Version,
    version: Option<i32>,
    /// Whether the version was champion in the window.
    #[serde(default = "yes")]
    served: bool,
    /// Uploads that were being ingested; they are waited for.
    #[serde(default)]
    uploads: Vec<i64>,
    #[serde(default)]
    pinned: Option<Version>,
}

/// Scans.
#[derive(Clone, Debug)]
pub(crate) struct ScanJob {
    pub(crate) deps: Deps,
}

impl Job for ScanJob {
    type Args = MonitorScan;
    type Checkpoint = Fixed;
    const KIND: Kind = MONITOR_SCAN;

    async fn run(&self, args: &MonitorScan, cx: &mut Context<Fixed>) -> Result<Outcome, JobError> {
        let objects = self.deps.catalog.objects().await?;
        let monitor = declared(&objects, &args.monitor)?;
        let fixed = self.fix(&objects, monitor, args, cx).await?;
        if args.from > fixed.clock {
            return Err(Error::Ahead { from: args.from, now: fixed.clock }.into());
        }
        let champion = match (&monitor.target, fixed.version) {
            (MonitorTarget::Model(model), Some(version)) => {
                Some(subject::champion(&self.deps, model, version).await?)
            }
            _ => None,
        };
        let sources = Sources::of(&objects, monitor, champion.as_ref());
        let fixed = self.await_uploads(&sources, fixed, cx).await?;
        let served = fixed.served;
        let lake = self.pin(monitor, champion.as_ref(), &sources, fixed.clone(), cx).await?;
        let (window, pin) = (args.from..args.to, Pin { clock: fixed.clock, lake });
        let facts = match &champion {
            Some(champion) => {
                subject::of_model(&self.deps, &objects, monitor, champion, window.clone(), pin).await?
            }
            None => table::of_table(&self.deps, &objects, monitor, window.clone(), pin).await?,
        };
        let awaited = awaited(&self.deps, &sources, &window, facts.due, pin).await?;
        let facts = Facts { awaited, ..facts };
        let (mut scan, columns) = found(args, monitor, champion.as_ref(), &facts)?;
        scan.version_served = served;
        scan.report = self.keep(&report::page_of(&scan, monitor, &columns), &scan).await?;
        self.tell(monitor, scan, &columns, cx).await
    }
}

impl ScanJob {
    async fn fix(
        &self,
        objects: &Objects,
        monitor: &Monitor,
        args: &MonitorScan,
        cx: &mut Context<Fixed>,
    ) -> Result<Fixed, JobError> {
        if let Some(fixed) = cx.checkpoint() {
            return Ok(fixed.clone());
        }
        let clock = cx.now_data().await?;
        let served = match &monitor.target {
            MonitorTarget::Model(model) => {
                let moves = self.deps.catalog.alias_moves(model, CHAMPION).await?;
                let none = || Error::NoReference(format!("model `{model}` has no {CHAMPION}"));
                Some(serving(&moves, &(args.from..args.to.min(clock))).ok_or_else(none)?)
            }
            _ => None,
        };
        let champion = match (&monitor.target, served) {
            (MonitorTarget::Model(model), Some(served)) => {
                Some(subject::champion(&self.deps, model, served.version).await?)
            }
            _ => None,
        };
        let sources = Sources::of(objects, monitor, champion.as_ref()).all();
        let waiting = self.deps.catalog.uploads_unpublished(&sources).await?;
        let uploads = waiting.iter().filter(|upload| upload.running).map(|upload| upload.ordinal).collect();
        let head = self.deps.lake.head().await?;
        let (version, served) =
            (served.map(|served| served.version), served.is_none_or(|served| served.then));
        let fixed = Fixed { clock, head, version, served, uploads, pinned: None };
        cx.save_checkpoint(fixed.clone()).await?;
        Ok(fixed)
    }

    /// Snoozes while a file is being ingested that was accepted before the scan began; then fixes the head behind it.
    async fn await_uploads(
        &self,
        sources: &Sources,
        fixed: Fixed,
        cx: &mut Context<Fixed>,
    ) -> Result<Fixed, JobError> {
        if fixed.uploads.is_empty() {
            return Ok(fixed);
        }
        let waiting = self.deps.catalog.uploads_unpublished(&sources.all()).await?;
        let mut waiting = waiting.iter().filter(|one| one.running && fixed.uploads.contains(&one.ordinal));
        if let Some(upload) = waiting.next() {
            let reason = format!("waits for {} of `{}` to be ingested", 1 + waiting.count(), upload.source);
            return Err(JobError::Snooze { until: cx.clock().now() + SNOOZE, reason });
        }
        let fixed = Fixed { head: self.deps.lake.head().await?, uploads: Vec::new(), ..fixed };
        cx.save_checkpoint(fixed.clone()).await?;
        Ok(fixed)
    }

    /// The version to read; snoozes while a view is behind.
    async fn pin(
        &self,
        monitor: &Monitor,
        champion: Option<&Champion>,
        sources: &Sources,
        fixed: Fixed,
        cx: &mut Context<Fixed>,
    ) -> Result<Version, JobError> {
        if let Some(version) = fixed.pinned {
            return Ok(version);
        }
        let catalog = &self.deps.catalog;
        let read = self.versions_read(monitor, champion, sources).await?;
        let behind = wait::behind(catalog, &read, fixed.head).await.map_err(Error::from)?;
        if !behind.is_empty() {
            wait::ask_for_updates(catalog, &behind).await.map_err(Error::from)?;
            let reason = format!("waits for {} to reach lake version {}", behind.join(", "), fixed.head);
            return Err(JobError::Snooze { until: cx.clock().now() + SNOOZE, reason });
        }
        let version = self.deps.lake.head().await?;
        cx.save_checkpoint(Fixed { pinned: Some(version), ..fixed }).await?;
        Ok(version)
    }

    /// The versions that the target, the champion and its label's population read, and all that these are computed from.
    /// What nobody keeps up to date any more is as it is.
    async fn versions_read(
        &self,
        monitor: &Monitor,
        champion: Option<&Champion>,
        sources: &Sources,
    ) -> Result<Vec<ViewVersion>, JobError> {
        let kept = tidemill_live::maintained_versions(&self.deps.catalog, None).await?;
        let wanted = |version: &&ViewVersion| {
            let current = version.state == ViewState::Current;
            let watched = matches!(&monitor.target, MonitorTarget::View(view) if *view == version.view);
            let trained_on = champion.and_then(|champion| champion.version.view_versions.get(&version.view));
            let asked_of = sources.population.as_ref() == Some(&version.view);
            (watched || asked_of) && current || trained_on == Some(&version.version)
        };
        let mut read = Vec::new();
        for version in kept.iter().filter(wanted) {
            version.with_inputs(&kept, &mut read);
        }
        Ok(read.into_iter().cloned().collect())
    }

    /// Keeps the page where a person finds it. The name holds its content's hash, so a repeat changes nothing, and the
    /// page of an earlier scan stays.
    async fn keep(&self, page: &str, scan: &Scan) -> Result<String, Error> {
        let hash = BlobRef::of(page.as_bytes()).to_string();
        let (first, short) = (scan.from.format("%Y-%m-%dT%H%M"), &hash[..12]);
        let path = format!("reports/{}/{first}_{short}.html", scan.monitor);
        self.deps.blobs.put_at(&path, page.to_owned().into()).await?;
        Ok(path)
    }

    /// Writes the scan down with its incident, and has those told who are to be.
    async fn tell(
        &self,
        monitor: &Monitor,
        mut scan: Scan,
        columns: &[ColumnReport],
        cx: &mut Context<Fixed>,
    ) -> Result<Outcome, JobError> {
        let catalog = &self.deps.catalog;
        let window = (scan.from, scan.to);
        let mut tx = cx.begin().await?;
        let mut told = Vec::new();
        if scan.status == Verdict::Fail {
            let (incident, fresh) =
                catalog.open_incident(&mut tx, &monitor.name, window, &summary(&scan)).await?;
            scan.incident = Some(incident);
            if fresh {
                told = notifications(catalog, &mut tx, incident, &monitor.notify).await?;
            }
        }
        let outputs = serde_json::to_value(&scan).map_err(JobError::discard)?;
        let mut body = outputs.clone();
        body["columns"] = serde_json::to_value(columns).map_err(JobError::discard)?;
        catalog.put_scan(&mut tx, &monitor.name, window, scan.status.as_str(), &body).await?;
        // What couldn't be judged, or is above a warning, is no sign that all is well.
        if scan.status == Verdict::Ok {
            catalog.close_incident(&mut tx, &monitor.name, window).await?;
        }
        cx.enqueue(&mut tx, &told).await?;
        cx.commit(tx, outputs).await
    }
}

/// A monitor by name.
pub(crate) fn declared<'a>(objects: &'a Objects, name: &str) -> Result<&'a Monitor, Error> {
    objects.monitors.get(name).ok_or_else(|| Error::Unknown {
        kind: "monitor",
        name: name.to_owned(),
        known: objects.monitors.keys().cloned().collect(),
    })
}

fn found(
    args: &MonitorScan,
    monitor: &Monitor,
    champion: Option<&Champion>,
    facts: &Facts,
) -> Result<(Scan, Vec<ColumnReport>), Error> {
    let (results, columns) = judge_all(&monitor.checks, facts);
    let rows = facts.window.num_rows();
    let label = champion.filter(|_| rows > 0).map(|champion| champion.dataset.label.as_str());
    let predicted = facts.window.column_by_name(PREDICTION);
    let predicted = predicted.filter(|column| column.data_type().is_numeric()).map(|_| PREDICTION);
    let mean_of = |column: Option<&str>| column.map_or(Ok(None), |column| mean(&facts.window, column));
    let scan = Scan {
        monitor: monitor.name.clone(),
        from: args.from,
        to: args.to,
        status: worst(results.iter().map(|result| result.status)),
        rows,
        rows_reference: facts.reference.num_rows(),
        complete: facts.complete(),
        awaited: facts.awaited.clone(),
        version_served: true,
        version: champion.map(|champion| champion.version.version),
        label_rate: mean_of(label)?,
        mean_prediction: mean_of(predicted)?,
        auc: facts.auc,
        results,
        incident: None,
        report: String::new(),
    };
    Ok((scan, columns))
}

/// The failing checks, for people.
fn summary(scan: &Scan) -> String {
    let failing = scan.results.iter().filter(|result| result.status == Verdict::Fail);
    failing.map(CheckResult::to_string).collect::<Vec<_>>().join("; ")
}
