//! How fresh each view is: by its newest row, and by what it has yet to consume.

use serde::Serialize;
use tidemill_core::{Clock as _, SystemClock, Time};
use tidemill_offline::{CommitRange, Filter, Read, Table};
use tidemill_rows::{VALID_AT, value_at};
use tidemill_spec::{Value, ViewKind};

use crate::{Deps, Error, subject::Subject};

/// How fresh one view is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ViewFreshness {
    /// The view.
    pub view: String,
    /// Its current version.
    pub version: i32,
    /// Whether anything of it is online.
    pub online: bool,
    /// When its newest row became known, on the data clock.
    pub newest_at: Option<Time>,
    /// How long ago that is.
    pub age_seconds: Option<f64>,
    /// `fresh`, `warn`, `stale`, or `empty`; by the view's `freshness`.
    pub status: &'static str,
    /// Source commits up to this lake version are in its rows.
    pub reached: i64,
    /// Commits of its inputs that it has yet to consume.
    pub commits_behind: usize,
}

/// Every view's freshness, by name.
pub async fn freshness(deps: &Deps) -> Result<Vec<ViewFreshness>, Error> {
    let now = deps.catalog.store().data_clock().await?.at(SystemClock.now());
    let mut report = Vec::new();
    for version in deps.catalog.current_views().await? {
        let subject = Subject::current(deps, &version.view).await?;
        report.push(of_view(deps, &subject, now).await?);
    }
    Ok(report)
}

async fn of_view(deps: &Deps, subject: &Subject, now: Time) -> Result<ViewFreshness, Error> {
    let table = match (&subject.view.source, subject.view.kind()) {
        // Tiles are computed at the clock; what is new is the source's rows.
        (Some(source), ViewKind::Windows) => Table::source(&source.name),
        _ => subject.view.table(),
    };
    let newest_at = newest(deps, table, now).await?;
    let target = subject.target(deps, now).await?;
    let position = deps.catalog.position(subject.name(), subject.version.version).await?;
    Ok(ViewFreshness {
        view: subject.name().to_owned(),
        version: subject.version.version,
        online: subject.online.is_some(),
        newest_at,
        age_seconds: newest_at.map(|at| (now - at).as_seconds_f64()),
        status: status(subject, newest_at, now),
        reached: position.map_or(0, |position| position.reached),
        commits_behind: subject.commits(&deps.lake, &target).await?.len(),
    })
}

async fn newest(deps: &Deps, table: Table, now: Time) -> Result<Option<Time>, Error> {
    let head = deps.lake.head().await?;
    let files = deps.lake.files(&table, head).await?;
    let latest = files.iter().filter_map(|file| file.valid_at).map(|(_, latest)| latest).max();
    if latest.is_none_or(|latest| latest <= now) {
        return Ok(latest);
    }
    // Some rows are ahead of the clock, so the files' ranges don't tell.
    let tick = chrono::TimeDelta::microseconds(1);
    let known = Read {
        table,
        commits: CommitRange::upto(head),
        filter: Filter {
            between: Some((VALID_AT.to_owned(), Time::MIN_UTC, now + tick)),
            last: Some(1),
            ..Filter::default()
        },
        columns: Some(vec![VALID_AT.to_owned()]),
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
