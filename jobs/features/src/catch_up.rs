//! Waiting until a view has everything that was in the lake when someone asked.

use std::time::Duration;

use tidemill_core::{Fault, Time};
use tidemill_offline::{CommitRange, Version};

use crate::{Deps, Error, backlog::failed, subject::Subject, wishes::update_new};

const LOOK: Duration = Duration::from_millis(50);

/// Returns when the view, and what it is computed from, has consumed all that is in the lake now and, if one is
/// given, has been brought to a moment of the data clock. Asks for the updates that are missing. What comes meanwhile is not
/// waited for.
///
/// # Errors
/// An update fails for good, or it takes longer than `patience`: no worker runs it.
pub(crate) async fn catch_up(
    deps: &Deps,
    view: &str,
    clock: Option<Time>,
    patience: Duration,
) -> Result<(), Error> {
    let mut chain = Subject::chain(deps, view).await?;
    chain.retain(Subject::stored);
    let head = deps.lake.head().await?;
    let mut asked = false;
    let caught_up = async {
        // What the inputs' updates add comes after the head of the question, and before that of the moment they are done.
        let mut upto = head;
        for subject in &chain {
            let mut looks = tokio::time::interval(LOOK);
            while behind(deps, subject, upto, clock).await? {
                if !std::mem::replace(&mut asked, true) {
                    ask(deps, &chain).await?;
                }
                if let Some(failed) = failed(deps, subject).await? {
                    return Err(Error::Invalid(failed.told()));
                }
                looks.tick().await;
            }
            upto = deps.lake.head().await?;
        }
        Ok(())
    };
    let late = |_| {
        let seconds = patience.as_secs();
        let fault = Fault::coded(615, format!("view `{view}` is not up to date after {seconds} seconds"));
        Error::Invalid(fault.hint("see why: tidemill runs list --all"))
    };
    tokio::time::timeout(patience, caught_up).await.map_err(late)?
}

async fn ask(deps: &Deps, chain: &[Subject]) -> Result<(), Error> {
    let store = deps.catalog.store();
    let mut tx = store.begin().await?;
    let updates: Vec<_> = chain.iter().map(|subject| update_new(subject.name())).collect();
    store.enqueue_all(&mut tx, &updates).await?;
    tx.commit().await?;
    store.wake().await;
    Ok(())
}

/// Whether a version has yet to consume commits of its inputs up to a lake version, or to come to a moment.
async fn behind(deps: &Deps, subject: &Subject, upto: Version, clock: Option<Time>) -> Result<bool, Error> {
    let position = deps.catalog.position(subject.name(), subject.version.version).await?;
    let reached = |clock: Time| position.as_ref().is_some_and(|position| position.data_clock >= clock);
    if !clock.is_none_or(reached) {
        return Ok(true);
    }
    let after = position.map_or(0, |position| position.lake_version);
    Ok(after < upto && !subject.commits(&deps.lake, CommitRange { after, upto }).await?.is_empty())
}
