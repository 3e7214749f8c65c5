//! What a view has yet to consume, and what holds it up: told wherever its values or its freshness are.

use serde::Serialize;
use tidemill_catalog::ViewState;
use tidemill_core::{Clock as _, Fault, Kind, RunId, SystemClock, Time};
use tidemill_offline::Version;
use tidemill_spec::{
    ViewKind,
    args::{FEATURES_UPDATE, features_concurrency_key},
    steps::FEATURES_BACKFILL,
};

use crate::{Deps, Error, subject::Subject};

/// Commits that a view, or a view it is computed from, has yet to consume.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Backlog {
    /// How many.
    pub commits: usize,
    /// When the first of them came, real time.
    pub since: Time,
    /// How long ago that is.
    pub seconds: f64,
}

/// An update or backfill that failed for good, and that nothing under way makes good.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FailedUpdate {
    /// The view: the one asked about, or one it is computed from.
    pub view: String,
    /// `update`, or `backfill` of the version that is being filled.
    pub what: &'static str,
    /// The run that failed.
    pub run: RunId,
    /// Why, and as its hint the remedy.
    pub fault: Fault,
}

impl FailedUpdate {
    /// The failure as an answer to who waits for the view.
    pub(crate) fn told(&self) -> Fault {
        let message = format!(
            "view `{}` is not up to date, its {} failed: {}",
            self.view, self.what, self.fault.message
        );
        Fault {
            detail: self.fault.detail.clone(),
            hint: self.fault.hint.clone(),
            ..Fault::coded(615, message)
        }
    }
}

/// A view that has yet to consume something.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Behind {
    /// The view.
    pub view: String,
    /// What holds it up for good, until somebody mends it.
    pub failed: Option<FailedUpdate>,
}

/// Views computed from a source, near or far, that have yet to consume a commit of it, by name.
///
/// # Errors
/// Postgres can't be reached.
pub async fn behind_commit(deps: &Deps, source: &str, commit: Version) -> Result<Vec<Behind>, Error> {
    let mut behind = Vec::new();
    for version in deps.catalog.current_views().await? {
        let chain = Subject::chain(deps, &version.view).await?;
        let reads = |subject: &Subject| subject.view.source.as_ref().is_some_and(|it| it.name == source);
        if !chain.iter().any(reads) {
            continue;
        }
        let (mut reached, mut held_up) = (true, None);
        for subject in &chain {
            // What others of its inputs come from doesn't wait for this commit; what is computed when it is asked, for none.
            if reads(subject) || subject.view.kind() == ViewKind::Snapshots {
                let position = deps.catalog.position(subject.name(), subject.version.version).await?;
                reached &= position.is_some_and(|position| position.reached >= commit);
            }
            held_up = held_up.or(failed(deps, subject).await?);
        }
        if !reached {
            behind.push(Behind { view: version.view, failed: held_up });
        }
    }
    Ok(behind)
}

/// What holds up a view, or what it is computed from.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Progress {
    pub(crate) backlog: Option<Backlog>,
    pub(crate) failed: Option<FailedUpdate>,
}

/// Looks at the version of a view that is read by default and all it is computed from.
pub(crate) async fn progress(deps: &Deps, view: &str) -> Result<Progress, Error> {
    let mut progress = Progress::default();
    for subject in Subject::chain(deps, view).await? {
        progress = progress.and(of_version(deps, &subject).await?);
    }
    Ok(progress)
}

impl Progress {
    /// Of a view and one of its inputs together; what failed first in order is the cause of the rest.
    pub(crate) fn and(self, other: Self) -> Self {
        let backlog = match (self.backlog, other.backlog) {
            (Some(a), Some(b)) => Some(Backlog {
                commits: a.commits + b.commits,
                since: a.since.min(b.since),
                seconds: a.seconds.max(b.seconds),
            }),
            (a, b) => a.or(b),
        };
        Self { backlog, failed: self.failed.or(other.failed) }
    }
}

/// Looks at one version alone.
pub(crate) async fn of_version(deps: &Deps, subject: &Subject) -> Result<Progress, Error> {
    let target = subject.target(deps, Time::MIN_UTC).await?;
    let commits = subject.commits(&deps.lake, target.commits()).await?;
    let now = SystemClock.now();
    let backlog = commits.iter().map(|commit| commit.committed_at).min().map(|since| Backlog {
        commits: commits.len(),
        since,
        seconds: (now - since).as_seconds_f64().max(0.0),
    });
    Ok(Progress { backlog, failed: failed(deps, subject).await? })
}

/// The update of a view that failed last, or the backfill of its version that is being filled.
pub(crate) async fn failed(deps: &Deps, subject: &Subject) -> Result<Option<FailedUpdate>, Error> {
    let view = subject.name();
    // What updated it before it was computed whenever it is asked, nobody waits for.
    if subject.stored()
        && let Some(failed) = failed_last(deps, view, "update", &FEATURES_UPDATE).await?
    {
        return Ok(Some(failed));
    }
    let versions = deps.catalog.view_versions(Some(view)).await?;
    // A backfill that is not wanted any more may have failed.
    if versions.iter().any(|version| version.state == ViewState::Building) {
        return failed_last(deps, view, "backfill", &FEATURES_BACKFILL).await;
    }
    Ok(None)
}

async fn failed_last(
    deps: &Deps,
    view: &str,
    what: &'static str,
    kind: &Kind,
) -> Result<Option<FailedUpdate>, Error> {
    let failed = deps.catalog.store().failed_last(&features_concurrency_key(view), kind).await?;
    Ok(failed.map(|(run, fault)| {
        let mend = fault.hint.as_ref().map(|hint| format!("{hint}; ")).unwrap_or_default();
        let hint = format!("{mend}see why: tidemill logs {run}; when that is fixed: tidemill retry {run}");
        FailedUpdate { view: view.to_owned(), what, run, fault: fault.hint(hint) }
    }))
}
