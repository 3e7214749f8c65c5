//! Waiting until a view has everything that was in the lake when someone asked.

use std::time::Duration;

use tidemill_core::{Fault, Time};

use crate::{Deps, Error, backlog::failed, subject::Subject, wishes::update_new};

const LOOK: Duration = Duration::from_millis(50);

/// Returns when the view, and what it is computed from, has consumed all that is in the lake now and, if one is
/// given, has been brought to a moment of the data clock. Asks for the updates that are missing.
///
/// # Errors
/// An update fails for good, or it takes longer than `patience`: no worker runs it.
pub(crate) async fn catch_up(
    deps: &Deps,
    view: &str,
    clock: Option<Time>,
    patience: Duration,
) -> Result<(), Error> {
    let objects = deps.catalog.objects().await?;
    let views = objects.views_with_inputs(&[view.to_owned()]);
    if !behind(deps, &views, clock).await? {
        return Ok(());
    }
    let store = deps.catalog.store();
    let mut tx = store.begin().await?;
    let updates: Vec<_> = views.iter().map(|view| update_new(view)).collect();
    store.enqueue_all(&mut tx, &updates).await?;
    tx.commit().await?;
    store.wake().await;
    let caught_up = async {
        let mut looks = tokio::time::interval(LOOK);
        while behind(deps, &views, clock).await? {
            check_failed(deps, &views).await?;
            looks.tick().await;
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

async fn check_failed(deps: &Deps, views: &[String]) -> Result<(), Error> {
    for view in views {
        if let Some(failed) = failed(deps, view).await? {
            return Err(Error::Invalid(failed.told()));
        }
    }
    Ok(())
}

async fn behind(deps: &Deps, views: &[String], clock: Option<Time>) -> Result<bool, Error> {
    for view in views {
        let subject = Subject::current(deps, view).await?;
        let target = subject.target(deps, clock.unwrap_or(Time::MIN_UTC)).await?;
        let reached = clock.is_none_or(|clock| target.clock_before.is_some_and(|before| before >= clock));
        if !reached || !subject.commits(&deps.lake, &target).await?.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}
