//! Brings one version of a view to its target, unit by unit: compute, write Redis, stage, commit.
//!
//! Redis comes first, so a value is never in the lake's committed rows and missing online; every put is
//! put-if-newer, so an attempt that dies before its commit has done no harm. Rows, dead letters, lineage, the new
//! position and the wishes of views downstream are one transaction.

use arrow::array::RecordBatch;
use serde::{Deserialize, Serialize};
use tidemill_catalog::{Edge, Node};
use tidemill_core::{Fault, JobError};
use tidemill_offline::{CommitRange, Filter, Read, Staged, Version};
use tidemill_online::Layout;
use tidemill_pyrun::Printed;
use tidemill_rows::VALID_AT;
use tidemill_runtime::Context;
use tidemill_spec::ViewKind;
use tidemill_store::{NewJob, Tx};
use tokio::sync::mpsc;

use crate::{
    Deps, Error,
    compute::{Computed, compute},
    dead_letters,
    entries::{row_entries, tile_entries, upsert_entries},
    subject::Subject,
    target::{Arrival, Target, Unit, units_of_entities, units_of_rows},
    wishes::{due_new, readers_follow},
};

/// Rows that are made into values of Redis at once: these take many times as much memory.
const PUT_ROWS: usize = 20_000;

/// How far a job is. Stored as its checkpoint: fields are only ever added.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// What is left, one for each version; the first is under way.
    pub(crate) targets: Vec<Target>,
    /// Units of the first target that are published; those of a row view may be others in the next attempt.
    #[serde(default)]
    pub(crate) units_done: usize,
    /// Rows published so far.
    #[serde(default)]
    pub(crate) rows: i64,
    /// Rows that it could not be computed from so far.
    #[serde(default)]
    pub(crate) dead_letters: i64,
}

impl Progress {
    pub(crate) fn new(targets: Vec<Target>) -> Self {
        Self { targets, ..Self::default() }
    }

    /// What the job tells when it has ended.
    pub(crate) fn outputs(&self) -> serde_json::Value {
        serde_json::json!({ "rows": self.rows, "dead_letters": self.dead_letters })
    }
}

/// Brings `subject` to the first target of the job's checkpoint, and drops that target from it.
pub(crate) async fn bring(
    deps: &Deps,
    subject: &Subject,
    arrival: Arrival,
    cx: &mut Context<Progress>,
) -> Result<(), JobError> {
    let mut progress = in_force(deps, subject, cx).await?;
    let target = progress.targets[0];
    let units = units_left(deps, subject, &target, progress.units_done).await?;
    if progress.units_done == 0 {
        clear(deps, subject, &target).await?;
        begin(deps, subject, &target).await?;
    }
    put_passed(deps, subject, &target).await?;
    let mut printed = Printed::default();
    // Which row is the last among upserts can be told when all rows are there; so that is a step of its own. A target
    // without units still moves the position.
    let steps = if subject.upserts() { units.len() + 1 } else { units.len().max(1) };
    let all = progress.units_done + steps;
    for index in 0..steps {
        let unit = units.get(index);
        let written = match unit {
            Some(unit) => write(deps, subject, &target, unit, &mut printed).await,
            None => put_last_rows(deps, subject, &target).await.map(|_| Written::default()),
        };
        printed.take().iter().for_each(|line| cx.log(line));
        let written = written?;
        if let Some(refused) = &written.refused {
            cx.log(refused);
        }
        let last = index + 1 == steps;
        if last {
            mark(deps, subject, &target).await?;
        }
        progress.units_done += 1;
        let done = progress.units_done;
        progress.rows += written.rows.as_ref().map_or(0, |staged| staged.rows);
        progress.dead_letters += written.dead.as_ref().map_or(0, |staged| staged.rows);
        if last {
            progress.targets.remove(0);
            progress.units_done = 0;
        }
        let wishes = if last { wishes(deps, subject, &target, arrival, cx).await? } else { Vec::new() };
        let mut tx = cx.begin().await?;
        if let Some(unit) = unit {
            written.publish(deps, &mut tx, subject, unit).await?;
        }
        let held = deps.lake.hold_removals(tx.conn(), &subject.tables()).await.map_err(Error::from)?;
        if held != target.removals {
            let fault = Fault::new(format!(
                "rows that {} is computed from were taken away meanwhile",
                subject.name()
            ));
            return Err(JobError::Conflict(fault));
        }
        if last {
            arrive(deps, &mut tx, subject, &target, arrival, cx).await?;
        }
        cx.enqueue(&mut tx, &wishes).await?;
        cx.commit_checkpoint(tx, progress.clone()).await?;
        cx.progress(done as u64, all as u64);
    }
    Ok(())
}

/// Takes away what Redis has of a version without rows: it is of another time, for the rows that it was computed from were
/// taken away. What a job that was given up has published stays, and so does what it has put.
async fn clear(deps: &Deps, subject: &Subject, target: &Target) -> Result<(), Error> {
    let Some(online) = subject.online.as_ref().filter(|_| target.after == 0) else { return Ok(()) };
    if deps.lake.commits(&subject.view.table(), CommitRange::upto(Version::MAX)).await?.is_empty() {
        deps.online.drop_version(online.name(), online.version()).await?;
    }
    Ok(())
}

/// The units of a target that are not published yet. `done`: how many its checkpoint says.
async fn units_left(
    deps: &Deps,
    subject: &Subject,
    target: &Target,
    done: usize,
) -> Result<Vec<Unit>, Error> {
    let commits = subject.commits(&deps.lake, target.commits()).await?;
    Ok(match subject.view.kind() {
        // What is covered is told by the rows themselves, also by those of a job that was given up.
        ViewKind::Rows => {
            let since = CommitRange { after: target.after, upto: Version::MAX };
            let covered = deps.lake.commits(&subject.view.table(), since).await?;
            let size = subject.size(&deps.lake, target).await?;
            units_of_rows(&commits, size, covered.iter().map(|commit| commit.job_key.as_str()))
        }
        ViewKind::Derived => Vec::new(),
        ViewKind::Snapshots if commits.is_empty() => Vec::new(),
        ViewKind::Windows | ViewKind::Snapshots => units_of_entities(target).into_iter().skip(done).collect(),
    })
}

/// The job's progress; with a new target where rows were taken away since the first was fixed: from where the version is
/// now, which is the start if it has to begin anew.
async fn in_force(deps: &Deps, subject: &Subject, cx: &mut Context<Progress>) -> Result<Progress, JobError> {
    let mut progress = cx.checkpoint().cloned().unwrap_or_default();
    let removals = deps.lake.removals(&subject.tables()).await.map_err(Error::from)?;
    if progress.targets[0].removals != removals {
        let target = subject.target(deps, cx.now_data().await?).await?;
        progress.targets[0] = subject.cut(deps, target).await?;
        progress.units_done = 0;
        cx.save_checkpoint(progress.clone()).await?;
    }
    Ok(progress)
}

/// A unit whose values are in Redis and whose files no reader sees yet.
#[derive(Debug, Default)]
struct Written {
    rows: Option<Staged>,
    dead: Option<Staged>,
    /// What the log says of dead letters.
    refused: Option<String>,
}

async fn write(
    deps: &Deps,
    subject: &Subject,
    target: &Target,
    unit: &Unit,
    printed: &mut Printed,
) -> Result<Written, Error> {
    let Computed { rows, dead } =
        compute(deps, &subject.view, &subject.version, target, unit, printed).await?;
    if !subject.upserts() {
        put(deps, subject, target, &rows).await?;
    }
    let view = &subject.view;
    let rows = deps.lake.stage(&view.table(), &unit.key, 0, &view.keys(), &view.schema(), vec![rows]).await?;
    let refused = dead.first().map(|first| {
        format!("{} rows became dead letters, the first of them {}: {}", dead.len(), first.raw, first.fault)
    });
    let dead = match dead.as_slice() {
        [] => None,
        dead => {
            let (schema, batch) = dead_letters::batch(subject, target, dead)?;
            let table = dead_letters::table(subject.name());
            deps.lake.stage(&table, &unit.key, 0, &[], &schema, vec![batch]).await?
        }
    };
    Ok(Written { rows, dead, refused })
}

impl Written {
    async fn publish(self, deps: &Deps, tx: &mut Tx, subject: &Subject, unit: &Unit) -> Result<(), Error> {
        if let Some(dead) = self.dead {
            let key = format!("v{} {}", subject.version.version, unit.key);
            deps.lake.publish(tx.conn(), &dead_letters::table(subject.name()), &key, &[dead]).await?;
        }
        // An empty commit is left out: it would only wake those who follow this view.
        if let Some(rows) = self.rows {
            deps.lake.publish(tx.conn(), &subject.view.table(), &unit.key, &[rows]).await?;
        }
        Ok(())
    }
}

/// Writes to Redis what computed rows say of their entities at the target's clock.
pub(crate) async fn put(
    deps: &Deps,
    subject: &Subject,
    target: &Target,
    rows: &RecordBatch,
) -> Result<u64, Error> {
    let Some(online) = &subject.online else { return Ok(0) };
    let mut written = 0;
    // An entity whose rows are cut is put twice, in whatever order.
    for first in (0..rows.num_rows()).step_by(PUT_ROWS) {
        let rows = rows.slice(first, PUT_ROWS.min(rows.num_rows() - first));
        let entries = match online.layout() {
            Layout::Row(_) if online.upserts() => {
                upsert_entries(online, &rows, target.lake_version, target.clock)?
            }
            Layout::Row(_) => row_entries(online, &rows, target.clock)?,
            Layout::Tiles(_) => tile_entries(online, &rows, target.lake_version, target.clock)?,
        };
        written += deps.online.put(online, &entries).await?;
    }
    Ok(written)
}

/// Writes to Redis the last rows of the entities that a target touches, if rows replace each other. The view's rows up
/// to the target are in the lake by now: what promises them to readers, the position, is moved after this.
pub(crate) async fn put_last_rows(deps: &Deps, subject: &Subject, target: &Target) -> Result<u64, Error> {
    if !subject.upserts() || subject.online.is_none() {
        return Ok(0);
    }
    let (head, mut written) = (deps.lake.head().await?, 0);
    for part in 0..target.parts {
        let rows = deps.lake.last_rows(&subject.view, target.range(part), head).await?;
        written += put(deps, subject, target, &rows).await?;
    }
    Ok(written)
}

/// Rows that were in the lake ahead of their time, and that the clock has passed since.
async fn put_passed(deps: &Deps, subject: &Subject, target: &Target) -> Result<(), Error> {
    let Some(before) = target.clock_before.filter(|before| *before < target.clock) else { return Ok(()) };
    if subject.online.is_none() || subject.view.kind() == ViewKind::Windows || subject.upserts() {
        return Ok(());
    }
    let tick = chrono::TimeDelta::microseconds(1);
    let between = Some((VALID_AT.to_owned(), before + tick, target.clock + tick));
    let passed = Read {
        filter: Filter { between, ..Filter::default() },
        ..Read::all(subject.view.table(), target.lake_version)
    };
    put_rows(deps, subject, target, passed).await.map(drop)
}

/// Writes stored rows to Redis as they are read: they are never all in memory.
pub(crate) async fn put_rows(
    deps: &Deps,
    subject: &Subject,
    target: &Target,
    read: Read,
) -> Result<u64, Error> {
    let (send, mut receive) = mpsc::channel::<RecordBatch>(1);
    let reading = deps.lake.read_each(&read, move |batch| {
        // Nobody receives any more when writing has failed, which is told in its place.
        let _ = send.blocking_send(batch.clone());
        Ok(())
    });
    let writing = async {
        let mut written = 0;
        while let Some(batch) = receive.recv().await {
            if batch.num_rows() > 0 {
                written += put(deps, subject, target, &batch).await?;
            }
        }
        Ok::<_, Error>(written)
    };
    let (read, written) = tokio::join!(reading, writing);
    let written = written?;
    read?;
    Ok(written)
}

/// Says in Redis that a target is about to be written. Called before its first value: a Redis that comes back empty
/// later has no marker, and [`mark`] gives it none.
pub(crate) async fn begin(deps: &Deps, subject: &Subject, target: &Target) -> Result<(), Error> {
    match &subject.online {
        Some(online) if target.after == 0 => Ok(deps.online.begin_marker(online).await?),
        _ => Ok(()),
    }
}

/// Says in Redis how far it has been written, unless it lost what was there before. Before the commit: a marker
/// behind a position then means that Redis lost something, and nothing else.
pub(crate) async fn mark(deps: &Deps, subject: &Subject, target: &Target) -> Result<(), Error> {
    if let Some(online) = &subject.online {
        deps.online.mark(online, target.after, target.lake_version).await?;
    }
    Ok(())
}

/// The version has reached its target: the switch after a backfill, position and lineage, in the order of their locks.
async fn arrive(
    deps: &Deps,
    tx: &mut Tx,
    subject: &Subject,
    target: &Target,
    arrival: Arrival,
    cx: &Context<Progress>,
) -> Result<(), Error> {
    let (name, version) = (subject.name(), subject.version.version);
    let from = match &subject.view.source {
        Some(source) => vec![Node::Source(source.name.clone())],
        None => {
            let inputs = &subject.version.plan.inputs;
            inputs.iter().map(|(view, version)| Node::View(view.clone(), *version)).collect()
        }
    };
    let edge = |from| Edge {
        run: Some(cx.run()),
        code_hash: Some(subject.version.code_hash.clone()).filter(|hash| !hash.is_empty()),
        // What is computed when it is asked follows from any version.
        lake_version: subject.stored().then_some(target.lake_version),
        ..Edge::new(from, Node::View(name.to_owned(), version))
    };
    if arrival == Arrival::Switched {
        deps.catalog.switch_view(tx, name, version).await?;
    }
    if subject.stored() {
        let reached = (target.lake_version, target.reached);
        deps.catalog.move_position(tx, name, version, reached, target.clock).await?;
    }
    Ok(deps.catalog.lineage(tx, &from.into_iter().map(edge).collect::<Vec<_>>()).await?)
}

/// What follows: the versions that read this one, and this one again when the clock reaches its next future row.
async fn wishes(
    deps: &Deps,
    subject: &Subject,
    target: &Target,
    arrival: Arrival,
    cx: &Context<Progress>,
) -> Result<Vec<NewJob>, Error> {
    let mut wishes = Vec::new();
    if target.lake_version > target.after || arrival == Arrival::Switched {
        wishes.extend(readers_follow(&deps.catalog, &subject.version, arrival).await?);
    }
    if subject.online.is_some() {
        wishes.extend(due_new(deps, subject, target, cx.store()).await?);
    }
    Ok(wishes)
}
