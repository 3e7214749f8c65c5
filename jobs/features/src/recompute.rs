//! `features.recompute`: computes some rows of a view again, in each version that is kept, and puts them in the place of those
//! that are there.
//!
//! For rows that came out wrong for a reason that is in no plan: a service that the view's Python asks was away, or said
//! nonsense. Which ones is told by when they became known, or by dead letters. A row keeps its place in the total order, and
//! dead letters of the same moments give way to those that are left. Views that are computed from it follow.
//!
//! Redis comes first, and an equal value overwrites; then rows and dead letters go and come in one transaction. A job that
//! dies before it computes again and puts the same places again.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use arrow::{
    array::{AsArray as _, BooleanArray, RecordBatch},
    compute::and,
    datatypes::Int64Type,
    error::ArrowError,
};
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tidemill_catalog::{ViewState, ViewVersion};
use tidemill_core::{Fault, JobError, Kind, Time};
use tidemill_offline::{CommitRange, Filter, LakeFile, Partings, Read, Staged, Table, Version};
use tidemill_pyrun::Printed;
use tidemill_rows::VALID_AT;
use tidemill_runtime::{Context, Job, Outcome, job_new};
use tidemill_spec::{ViewKind, args::features_concurrency_key};
use tidemill_store::NewJob;

use crate::{
    Deps, Error,
    advance::{put, put_last_rows},
    compute::{DeadRow, compute},
    dead_letters,
    selection::Selection,
    subject::Subject,
    target::{Arrival, Target, Unit, covers_beyond},
    wishes::{readers_follow, update_new},
};

/// Kind of [`RecomputeJob`].
const FEATURES_RECOMPUTE: Kind = Kind::new("features.recompute");

/// Before it is looked again whether an update has come to its end.
const SNOOZE: TimeDelta = TimeDelta::seconds(1);

/// Which rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recomputed {
    /// Those that became known from the first moment on, before the second.
    Between(Time, Time),
    /// Those that dead letters are kept of, with others of the same moments.
    DeadLetters,
}

/// Which rows of which view. Stored in the queue: fields are only ever added, with a default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FeaturesRecompute {
    view: String,
    rows: Recomputed,
}

/// What is done. Stored as the checkpoint: fields are only ever added, with a default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// Versions of which the rows are in the lake.
    published: BTreeSet<i32>,
    /// Rows that were computed.
    rows: i64,
    /// Dead letters that came of them.
    dead_letters: i64,
}

/// What computing rows again will touch.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RecomputeScope {
    /// The view.
    pub view: String,
    /// Its versions that are kept.
    pub versions: Vec<RecomputedVersion>,
    /// Versions of views that are computed from these, and follow: `view/NAME@VERSION`.
    pub readers: Vec<String>,
}

/// A version of which rows are computed again.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RecomputedVersion {
    /// Its number.
    pub version: i32,
    /// Whether it is read by default, or kept for a model.
    pub state: ViewState,
    /// Rows that are computed again.
    pub rows: i64,
    /// Dead letters of the same moments: they give way to what comes out now.
    pub dead_letters: i64,
}

/// What it needs.
#[derive(Clone, Debug)]
pub(crate) struct RecomputeJob {
    deps: Deps,
}

impl RecomputeJob {
    pub(crate) fn new(deps: Deps) -> Self {
        Self { deps }
    }
}

impl Job for RecomputeJob {
    type Args = FeaturesRecompute;
    type Checkpoint = Progress;
    const KIND: Kind = FEATURES_RECOMPUTE;

    async fn run(&self, args: &FeaturesRecompute, cx: &mut Context<Progress>) -> Result<Outcome, JobError> {
        let deps = &self.deps;
        for subject in Subject::maintained(deps, &args.view).await? {
            recomputable(&subject)?;
            // What it has not consumed yet, an update computes.
            let Some(target) = consumed(deps, &subject).await? else { continue };
            self.await_update(&subject, &target, cx).await?;
            let published = cx.checkpoint().is_some_and(|it| it.published.contains(&target.version));
            if !published {
                self.publish(&subject, &target, args.rows, cx).await?;
            }
            put_last_rows(deps, &subject, &target).await?;
        }
        let Progress { rows, dead_letters, .. } = cx.checkpoint().cloned().unwrap_or_default();
        Ok(Outcome::Completed(json!({ "rows": rows, "dead_letters": dead_letters })))
    }
}

impl RecomputeJob {
    /// Waits for an update that has published units and not come to its end: it takes these for computed, so nobody would
    /// compute again what is taken out of them.
    async fn await_update(
        &self,
        subject: &Subject,
        target: &Target,
        cx: &mut Context<Progress>,
    ) -> Result<(), JobError> {
        let since = CommitRange { after: target.lake_version, upto: Version::MAX };
        let commits = self.deps.lake.commits(&subject.view.table(), since).await.map_err(Error::from)?;
        if !covers_beyond(commits.iter().map(|commit| commit.job_key.as_str()), target.lake_version) {
            return Ok(());
        }
        let mut tx = cx.begin().await?;
        cx.enqueue(&mut tx, &[update_new(subject.name())]).await?;
        tx.commit().await?;
        let reason = format!("waits for an update of {} to come to its end", subject.name());
        Err(JobError::Snooze { until: cx.clock().now() + SNOOZE, reason })
    }

    async fn publish(
        &self,
        subject: &Subject,
        target: &Target,
        rows: Recomputed,
        cx: &mut Context<Progress>,
    ) -> Result<(), JobError> {
        let (deps, tables) = (&self.deps, subject.tables());
        let (view, letters) = (subject.view.table(), dead_letters::table(subject.name()));
        let selection = selection(deps, subject, rows).await?;
        let key = format!("v{} recompute {}", target.version, cx.job());
        let (staged, dead) = self.compute(subject, target, &selection, &key, cx).await?;
        let partings = partings(deps, subject, &selection, &key).await?;
        let mut progress = cx.checkpoint().cloned().unwrap_or_default();
        progress.published.insert(target.version);
        if staged.is_empty() && partings.rows() == 0 {
            // A commit of nothing would only wake those who follow.
            return cx.save_checkpoint(progress).await;
        }
        let (rows, refused) = (rows_of(&staged), rows_of(&dead));
        (progress.rows, progress.dead_letters) = (progress.rows + rows, progress.dead_letters + refused);
        cx.log(format!(
            "{} v{}: {} rows and dead letters give way to {rows} rows and {refused} dead letters",
            subject.name(),
            target.version,
            partings.rows(),
        ));
        let wishes = readers_follow(&deps.catalog, &subject.version, Arrival::Updated).await?;
        let mut tx = cx.begin().await?;
        let parted = deps.lake.part_with(tx.conn(), &partings, &key).await.map_err(Error::from)?;
        let held = deps.lake.hold_removals(tx.conn(), &tables).await.map_err(Error::from)?;
        // Our own is counted by now.
        let own = partings.tables().filter(|table| tables.contains(table)).count();
        if !parted || held != target.removals + i64::try_from(own).unwrap_or(0) {
            let fault = Fault::new(format!("files of {} were changed meanwhile", subject.name()));
            return Err(JobError::Conflict(fault));
        }
        // A table has one commit under a key.
        let key = format!("{key} again");
        for (table, staged) in [(&view, &staged), (&letters, &dead)] {
            if !staged.is_empty() {
                deps.lake.publish(tx.conn(), table, &key, staged).await.map_err(Error::from)?;
            }
        }
        cx.enqueue(&mut tx, &wishes).await?;
        cx.commit_checkpoint(tx, progress).await
    }

    /// Rows and dead letters that no reader sees yet; what the rows say is in Redis.
    async fn compute(
        &self,
        subject: &Subject,
        target: &Target,
        selection: &Selection,
        key: &str,
        cx: &mut Context<Progress>,
    ) -> Result<(Vec<Staged>, Vec<Staged>), JobError> {
        let (mut staged, mut letters, mut printed) = (Vec::new(), Vec::new(), Printed::default());
        // Of no moments there is nothing to read.
        let parts = if selection.span().is_some() { target.parts } else { 0 };
        for part in 0..parts {
            let (part, key) = ((part, target.parts), key.to_owned());
            let unit = Unit { commits: target.commits(), part, selection: selection.clone(), key };
            let (view, version) = (&subject.view, &subject.version);
            let computed = compute(&self.deps, view, version, target, &unit, &mut printed).await;
            printed.take().iter().for_each(|line| cx.log(line));
            let computed = computed?;
            letters.extend(self.stage_letters(subject, target, &unit, &computed.dead).await?);
            staged.extend(self.put_and_stage(subject, target, &unit, computed.rows).await?);
        }
        Ok((staged, letters))
    }

    async fn stage_letters(
        &self,
        subject: &Subject,
        target: &Target,
        unit: &Unit,
        dead: &[DeadRow],
    ) -> Result<Option<Staged>, Error> {
        if dead.is_empty() {
            return Ok(None);
        }
        let (schema, batch) = dead_letters::batch(subject, target, dead)?;
        let (table, part) = (dead_letters::table(subject.name()), unit.part.0);
        Ok(self.deps.lake.stage(&table, &unit.key, part, &[], &schema, vec![batch]).await?)
    }

    async fn put_and_stage(
        &self,
        subject: &Subject,
        target: &Target,
        unit: &Unit,
        rows: RecordBatch,
    ) -> Result<Option<Staged>, Error> {
        let (deps, view) = (&self.deps, &subject.view);
        if !subject.upserts() {
            put(deps, subject, target, &rows).await?;
        }
        let (part, schema) = (unit.part.0, view.schema());
        Ok(deps.lake.stage(&view.table(), &unit.key, part, &view.keys(), &schema, vec![rows]).await?)
    }
}

fn rows_of(staged: &[Staged]) -> i64 {
    staged.iter().map(|staged| staged.rows).sum()
}

/// What a version has consumed, to be computed again; `None`: nothing yet.
async fn consumed(deps: &Deps, subject: &Subject) -> Result<Option<Target>, Error> {
    let target = subject.target(deps, Time::MIN_UTC).await?;
    if target.after == 0 {
        return Ok(None);
    }
    let (lake_version, clock) = (target.after, target.clock_before.unwrap_or(target.clock));
    let whole = Target { after: 0, clock_before: None, lake_version, clock, ..target };
    Ok(Some(subject.cut(deps, whole).await?))
}

/// The moments of the rows.
async fn selection(deps: &Deps, subject: &Subject, rows: Recomputed) -> Result<Selection, Error> {
    Ok(match rows {
        Recomputed::Between(from, to) => Selection::Between(from, to),
        Recomputed::DeadLetters => Selection::At(dead_letters::moments(deps, subject).await?),
    })
}

/// What goes: rows of the moments, and dead letters of these in this version.
async fn partings(
    deps: &Deps,
    subject: &Subject,
    selection: &Selection,
    key: &str,
) -> Result<Partings, Error> {
    let (lake, version) = (&deps.lake, i64::from(subject.version.version));
    let head = lake.head().await?;
    let mut partings = Partings::default();
    let rows = subject.view.table();
    let files = files_of(deps, &rows, selection, head).await?;
    lake.without_rows(&mut partings, &rows, files, key, |batch| selection.of(batch)).await?;
    let letters = dead_letters::table(subject.name());
    let files = files_of(deps, &letters, selection, head).await?;
    lake.without_rows(&mut partings, &letters, files, key, |batch| of_version(batch, selection, version))
        .await?;
    Ok(partings)
}

/// Files that may hold rows of some moments.
async fn files_of(
    deps: &Deps,
    table: &Table,
    selection: &Selection,
    version: Version,
) -> Result<Vec<LakeFile>, Error> {
    let Some((first, last)) = selection.span() else { return Ok(Vec::new()) };
    let mut files = deps.lake.files(table, version).await?;
    files.retain(|file| file.valid_at.is_none_or(|(least, greatest)| least <= last && greatest >= first));
    Ok(files)
}

/// Dead letters of some moments in a version.
fn of_version(
    letters: &RecordBatch,
    selection: &Selection,
    version: i64,
) -> Result<BooleanArray, ArrowError> {
    let versions = letters.column_by_name("version");
    let versions = versions.ok_or_else(|| ArrowError::SchemaError("there is no version".to_owned()))?;
    let own = versions.as_primitive::<Int64Type>().iter().map(|it| Some(it == Some(version))).collect();
    and(&selection.of(letters)?, &own)
}

/// Looks at what computing rows again will touch. Changes nothing.
///
/// # Errors
/// There is no such view, or it has no rows that are computed one by one.
pub async fn recompute_scope(deps: &Deps, view: &str, rows: Recomputed) -> Result<RecomputeScope, Error> {
    let mut versions = Vec::new();
    for subject in Subject::maintained(deps, view).await? {
        recomputable(&subject)?;
        let selection = selection(deps, &subject, rows).await?;
        let version = i64::from(subject.version.version);
        versions.push(RecomputedVersion {
            version: subject.version.version,
            state: subject.version.state,
            rows: count(deps, subject.view.table(), &selection, None).await?,
            dead_letters: count(deps, dead_letters::table(view), &selection, Some(version)).await?,
        });
    }
    if versions.is_empty() {
        return Err(Error::no_view(view));
    }
    let all = deps.catalog.view_versions(None).await?;
    let own: Vec<(String, i32)> = versions.iter().map(|it| (view.to_owned(), it.version)).collect();
    let readers = readers(&all, own).iter().map(|(view, version)| format!("view/{view}@{version}")).collect();
    Ok(RecomputeScope { view: view.to_owned(), versions, readers })
}

/// Computes rows of a view again; asking for the same while that waits changes nothing.
pub fn recompute_new(view: &str, rows: Recomputed) -> NewJob {
    let which = match rows {
        Recomputed::Between(from, to) => format!("{} to {}", from.timestamp_micros(), to.timestamp_micros()),
        Recomputed::DeadLetters => "dead letters".to_owned(),
    };
    NewJob {
        key: Some(format!("{FEATURES_RECOMPUTE}/{view}/{which}")),
        concurrency_key: Some(features_concurrency_key(view)),
        ..job_new(FEATURES_RECOMPUTE, &FeaturesRecompute { view: view.to_owned(), rows })
    }
}

/// Whether it has rows of which each is computed by itself.
fn recomputable(subject: &Subject) -> Result<(), Error> {
    let view = subject.name();
    let why = match subject.view.kind() {
        ViewKind::Rows | ViewKind::Snapshots => return Ok(()),
        ViewKind::Windows => "it counts the rows of its source, which are what they are",
        ViewKind::Derived => "it holds nothing, and is computed whenever it is asked",
    };
    let fault = Fault::coded(614, format!("view `{view}` has no rows to compute again: {why}"));
    Err(Error::Invalid(fault.hint(format!("to fill all of it anew: tidemill features backfill {view}"))))
}

/// Rows of some moments in the newest version; `version`: of dead letters, those of this version of the view.
async fn count(deps: &Deps, table: Table, selection: &Selection, version: Option<i64>) -> Result<i64, Error> {
    let Some((first, last)) = selection.span() else { return Ok(0) };
    let between = Some((VALID_AT.to_owned(), first, last + TimeDelta::microseconds(1)));
    let columns = version.map(|_| "version").into_iter().chain([VALID_AT]).map(str::to_owned).collect();
    let read = Read {
        filter: Filter { between, ..Filter::default() },
        columns: Some(columns),
        ..Read::all(table, deps.lake.head().await?)
    };
    let (counted, selection) = (Arc::new(AtomicUsize::new(0)), selection.clone());
    let counting = Arc::clone(&counted);
    let take = move |rows: &RecordBatch| {
        if rows.num_columns() > 0 {
            let these = match version {
                Some(version) => of_version(rows, &selection, version),
                None => selection.of(rows),
            };
            counting.fetch_add(these.map_err(tidemill_rows::Error::from)?.true_count(), Ordering::Relaxed);
        }
        Ok(())
    };
    deps.lake.read_each(&read, take).await?;
    Ok(i64::try_from(counted.load(Ordering::Relaxed)).unwrap_or(i64::MAX))
}

/// Versions that hold what is computed from some, near or far.
fn readers(all: &[ViewVersion], mut from: Vec<(String, i32)>) -> BTreeSet<(String, i32)> {
    let mut readers = BTreeSet::new();
    while let Some((view, version)) = from.pop() {
        let reads = |reader: &&ViewVersion| {
            reader.state != ViewState::Dropped && reader.plan.inputs.get(&view) == Some(&version)
        };
        for reader in all.iter().filter(reads) {
            let name = (reader.view.clone(), reader.version);
            if readers.insert(name.clone()) {
                from.push(name);
            }
        }
    }
    readers
}
