//! What somebody must look after: jobs of dead workers, due schedules, and a Redis that came back empty. Safe to run in several processes: each part is idempotent.

use std::{sync::Arc, time::Duration};

use tidemill_runtime::{Maintenance, MaintenanceOptions};
use tokio_util::sync::CancellationToken;

use crate::{Api, error::ApiError, ticks::Ticks};

/// How often Redis is compared with the lake.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Looks after everything until `shutdown`.
pub(crate) async fn keep(api: Api, shutdown: CancellationToken) {
    let ticks = Arc::new(Ticks::new(&api.stores));
    let maintenance = Maintenance::new(api.stores.store.clone(), MaintenanceOptions::default(), ticks);
    tokio::join!(maintenance.run(shutdown.clone()), keep_features(&api, &shutdown));
}

async fn keep_features(api: &Api, shutdown: &CancellationToken) {
    let mut looks = tokio::time::interval(LOOK_EVERY);
    loop {
        tokio::select! {
            _ = looks.tick() => {}
            () = shutdown.cancelled() => return,
        }
        if let Err(error) = look(api).await {
            tracing::warn!(?error, "features could not be looked after; trying again");
        }
    }
}

async fn look(api: &Api) -> Result<(), ApiError> {
    let store = &api.stores.store;
    // Rows that the clock reaches later need no look: their view's update asked for the moment.
    let wanted = tidemill_features::behind_in_redis(&api.features).await?;
    if wanted.is_empty() {
        return Ok(());
    }
    let mut tx = store.begin().await?;
    store.enqueue_all(&mut tx, &wanted).await?;
    tx.commit().await?;
    store.wake().await;
    Ok(())
}
