//! How fresh each view is: by its newest row, and by what it has yet to consume.

use std::collections::BTreeMap;

use serde::Serialize;
use tidemill_core::{Clock as _, SystemClock, Time};
use tidemill_offline::{Filter, Read};
use tidemill_online::Markers;
use tidemill_rows::{VALID_AT, value_at};
use tidemill_spec::Value;

use crate::{
    Deps, Error,
    backlog::{self, Backlog, FailedUpdate, Progress},
    subject::{Subject, online_view, rows_of},
};

/// How fresh one view is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ViewFreshness {
    /// The view.
    pub view: String,
    /// Its current version.
    pub version: i32,
    /// Whether anything of it is online.
    pub online: bool,
    /// When its newest row became known, on the data clock; of a view that holds nothing, that of its oldest input.
    pub newest_at: Option<Time>,
    /// How long ago that is.
    pub age_seconds: Option<f64>,
    /// What comes first of: `failed`, `rebuilding` (Redis lost some of its values), `catching up`, and by the newest
    /// row and the view's `freshness` `empty`, `stale`, `warn` and `fresh`.
    pub status: &'static str,
    /// Source commits up to this lake version are in its rows.
    pub reached: i64,
    /// Commits that it, or a view it is computed from, has yet to consume.
    pub commits_behind: usize,
    /// The same with since when, if there are any.
    pub backlog: Option<Backlog>,
    /// What holds it up for good, until somebody mends it.
    pub failed: Option<FailedUpdate>,
}

/// Every view's freshness, by name.
pub async fn freshness(deps: &Deps) -> Result<Vec<ViewFreshness>, Error> {
    let now = deps.catalog.store().data_clock().await?.at(SystemClock.now());
    // Without Redis nothing is known of it, and what asks for its values says so.
    let markers = deps.online.markers().await.ok();
    let mut looked: BTreeMap<(String, i32), Progress> = BTreeMap::new();
    let mut report = Vec::new();
    for version in deps.catalog.current_views().await? {
        let chain = Subject::chain(deps, &version.view).await?;
        let mut progress = Progress::default();
        for subject in &chain {
            let known = (subject.name().to_owned(), subject.version.version);
            let own = match looked.get(&known) {
                Some(own) => own.clone(),
                None => looked.entry(known).or_insert(backlog::of_version(deps, subject).await?).clone(),
            };
            progress = progress.and(own);
        }
        if let Some(subject) = chain.last() {
            report.push(of_version(deps, subject, progress, markers.as_ref(), now).await?);
        }
    }
    Ok(report)
}

async fn of_version(
    deps: &Deps,
    subject: &Subject,
    progress: Progress,
    markers: Option<&Markers>,
    now: Time,
) -> Result<ViewFreshness, Error> {
    let head = deps.lake.head().await?;
    let (mut newest_at, mut lost, mut reached): (Option<Time>, _, Option<i64>) = (None, false, None);
    // Of a view that holds nothing: those of what it is computed from, the oldest of them.
    for view in subject.view.stored() {
        let newest = newest(deps, rows_of(view, head), now).await?;
        newest_at = newest_at.into_iter().chain(newest).min();
        let position = deps.catalog.position(view.name(), view.version).await?;
        let written = position.as_ref().map_or(0, |position| position.lake_version);
        let held = online_view(view).zip(markers).map(|(online, markers)| markers.held(&online));
        lost |= held.is_some_and(|held| held < written);
        let own = position.map_or(0, |position| position.reached);
        reached = Some(reached.map_or(own, |reached| reached.min(own)));
    }
    Ok(ViewFreshness {
        view: subject.name().to_owned(),
        version: subject.version.version,
        online: subject.read_online(),
        newest_at,
        age_seconds: newest_at.map(|at| (now - at).as_seconds_f64()),
        status: match (&progress.failed, lost, &progress.backlog) {
            (Some(_), ..) => "failed",
            (None, true, _) => "rebuilding",
            (None, false, Some(_)) => "catching up",
            (None, false, None) => status(subject, newest_at, now),
        },
        reached: reached.unwrap_or(0),
        commits_behind: progress.backlog.map_or(0, |backlog| backlog.commits),
        backlog: progress.backlog,
        failed: progress.failed,
    })
}

async fn newest(deps: &Deps, rows: Read, now: Time) -> Result<Option<Time>, Error> {
    let files = deps.lake.files(&rows.table, rows.commits.upto).await?;
    let latest = files.iter().map(|file| file.valid_at_of(rows.source.as_ref()).map(|(_, latest)| latest));
    // Where the files' ranges don't tell, or some rows are ahead of the clock, the rows have to.
    let told: Option<Vec<Time>> = latest.collect();
    if let Some(latest) =
        told.map(|told| told.into_iter().max()).filter(|latest| latest.is_none_or(|at| at <= now))
    {
        return Ok(latest);
    }
    let tick = chrono::TimeDelta::microseconds(1);
    let known = Read {
        filter: Filter {
            between: Some((VALID_AT.to_owned(), Time::MIN_UTC, now + tick)),
            last: Some(1),
            ..Filter::default()
        },
        columns: Some(vec![VALID_AT.to_owned()]),
        ..rows
    };
    let rows = deps.lake.read(&known).await?;
    Ok(rows.column_by_name(VALID_AT).filter(|_| rows.num_rows() > 0).and_then(|column| {
        match value_at(column, 0) {
            Value::Timestamp(time) => Some(time),
            _ => None,
        }
    }))
}

fn status(subject: &Subject, newest_at: Option<Time>, now: Time) -> &'static str {
    let Some(newest_at) = newest_at else { return "empty" };
    let older = |limit: Option<std::time::Duration>| {
        limit.is_some_and(|limit| (now - newest_at).to_std().is_ok_and(|age| age > limit))
    };
    match subject.view.definition.freshness {
        Some(freshness) if older(freshness.fail) => "stale",
        Some(freshness) if older(freshness.warn) => "warn",
        _ => "fresh",
    }
}
