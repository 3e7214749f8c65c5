//! A training set waits until its views hold every row that was in the lake when it was asked for.

use tidemill_catalog::{Catalog, ViewVersion};
use tidemill_offline::Version;
use tidemill_runtime::job_new;
use tidemill_spec::args::{FEATURES_UPDATE, FeaturesUpdate, features_concurrency_key};
use tidemill_store::NewJob;

use crate::Error;

/// Those of some versions that have not reached `head`.
pub async fn behind(
    catalog: &Catalog,
    versions: &[ViewVersion],
    head: Version,
) -> Result<Vec<String>, Error> {
    let mut behind = Vec::new();
    for ViewVersion { view, version, .. } in versions {
        let reached = catalog.position(view, *version).await?.map_or(-1, |position| position.reached);
        if reached < head {
            behind.push(view.clone());
        }
    }
    Ok(behind)
}

/// Fails if the update that one of these views waits for has failed for good and no other is on its way.
pub async fn check_failed(catalog: &Catalog, views: &[String]) -> Result<(), Error> {
    for view in views {
        if let Some((run, fault)) =
            catalog.store().failed_last(&features_concurrency_key(view), &FEATURES_UPDATE).await?
        {
            return Err(Error::UpdateFailed { view: view.clone(), run, fault: Box::new(fault) });
        }
    }
    Ok(())
}

/// Asks for updates of views. Safe to repeat: what waits already is not asked for twice.
pub async fn ask_for_updates(catalog: &Catalog, views: &[String]) -> Result<(), Error> {
    let store = catalog.store();
    let mut tx = store.begin().await?;
    let updates: Vec<NewJob> = views.iter().map(|view| update(view)).collect();
    store.enqueue_all(&mut tx, &updates).await?;
    tx.commit().await?;
    store.wake().await;
    Ok(())
}

fn update(view: &str) -> NewJob {
    let update = FeaturesUpdate { view: view.to_owned() };
    NewJob {
        key: Some(update.key()),
        concurrency_key: Some(features_concurrency_key(view)),
        ..job_new(FEATURES_UPDATE, &update)
    }
}
