//! What somebody must look after: jobs of dead workers, due schedules, a Redis that came back empty or never got the live
//! set, live models that don't answer, rollouts, prediction logs on their way, and the lake's files. Safe to run in several processes: each part is idempotent.

use std::{convert::Infallible, sync::Arc, time::Duration};

use tidemill_monitor::ModelWatch;
use tidemill_runtime::{Maintenance, MaintenanceOptions};
use tidemill_store::NewJob;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::{Api, error::ApiError, ticks::Ticks};

/// How often Redis is compared with the lake and the catalog.
const LOOK_AT_REDIS: Duration = Duration::from_secs(2);
/// How often serving processes are asked whether the live models answer.
const LOOK_AT_MODELS: Duration = Duration::from_secs(2);
/// How often rollouts are judged.
const LOOK_AT_ROLLOUTS: Duration = Duration::from_secs(1);
/// How often the lake is searched for tables with many small files.
const LOOK_AT_LAKE: Duration = Duration::from_secs(60);
/// How often segments of prediction logs are looked for.
const LOOK_AT_LOGS: Duration = Duration::from_secs(5);
/// How often rows of prediction logs are looked for whose time is over.
const EXPIRE_LOGS: Duration = Duration::from_hours(1);
/// How often files that nobody reads are deleted.
const COLLECT_GARBAGE: Duration = Duration::from_hours(6);

/// Looks after everything until `shutdown`.
pub(crate) async fn keep(api: Api, shutdown: CancellationToken) {
    let ticks = Arc::new(Ticks::new(&api.stores));
    let maintenance = Maintenance::new(api.stores.store.clone(), MaintenanceOptions::default(), ticks);
    let stores =
        async { tokio::join!(keep_stores(&api), keep_live(&api), keep_models(&api), keep_rollouts(&api)) };
    tokio::join!(maintenance.run(shutdown.clone()), shutdown.run_until_cancelled(stores));
}

/// Compares what Redis says is live with what the catalog says, for ever.
async fn keep_live(api: &Api) -> Infallible {
    let mut looks = interval(LOOK_AT_REDIS);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        match tidemill_live::keep_published(&api.stores.catalog, &api.stores.online).await {
            Ok(false) => {}
            Ok(true) => tracing::info!("the live set was not what Redis had: published again"),
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the live set could not be looked after; trying again"
            ),
        }
    }
}

/// Opens and closes the incidents of live models that don't answer, for ever.
async fn keep_models(api: &Api) -> Infallible {
    let mut looks = interval(LOOK_AT_MODELS);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut watch = ModelWatch::default();
    loop {
        looks.tick().await;
        match watch.look(&api.stores.catalog, &api.stores.online, api.wall()).await {
            Ok(false) => {}
            Ok(true) => api.stores.store.wake().await,
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "whether the live models answer could not be looked after; trying again"
            ),
        }
    }
}

/// Judges the rollouts that go on, for ever.
async fn keep_rollouts(api: &Api) -> Infallible {
    let mut looks = interval(LOOK_AT_ROLLOUTS);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        match tidemill_monitor::judge_rollouts(&api.stores.catalog, &api.stores.online, api.wall()).await {
            Ok(false) => {}
            Ok(true) => api.stores.store.wake().await,
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "rollouts could not be judged; trying again"
            ),
        }
    }
}

/// Asks for what Redis and the lake need, for ever; each on its own, so that one that hangs holds up no other.
async fn keep_stores(api: &Api) {
    tokio::join!(
        // Rows that the clock reaches later need no look: their view's update asked for the moment.
        look_every(LOOK_AT_REDIS, api, "views", || async {
            Ok(tidemill_features::behind(&api.features).await?)
        }),
        look_every(LOOK_AT_LAKE, api, "retired views", || async {
            Ok(tidemill_features::dispensable(&api.features, api.wall()).await?)
        }),
        look_every(LOOK_AT_LAKE, api, "the lake", || async {
            Ok(tidemill_upkeep::compactions(&api.stores.lake).await?)
        }),
        look_every(LOOK_AT_LOGS, api, "prediction logs", || async {
            Ok(tidemill_registry::log::ingests(&api.stores.blobs).await?)
        }),
        look_every(EXPIRE_LOGS, api, "old prediction logs", || async {
            let (catalog, lake) = (&api.stores.catalog, &api.stores.lake);
            Ok(tidemill_registry::log::expirations(catalog, lake, api.wall()).await?)
        }),
        look_every(COLLECT_GARBAGE, api, "garbage", || async { Ok(vec![tidemill_upkeep::collection()]) }),
    );
}

/// Asks for the jobs that a look finds necessary, for ever.
async fn look_every<L: Future<Output = Result<Vec<NewJob>, ApiError>>>(
    period: Duration,
    api: &Api,
    what: &str,
    look: impl Fn() -> L,
) -> Infallible {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let asked = match look().await {
            Ok(wanted) => ask(api, wanted).await,
            Err(error) => Err(error),
        };
        if let Err(error) = asked {
            tracing::warn!(?error, "{what} could not be looked after; trying again");
        }
    }
}

async fn ask(api: &Api, wanted: Vec<NewJob>) -> Result<(), ApiError> {
    if wanted.is_empty() {
        return Ok(());
    }
    let store = &api.stores.store;
    let mut tx = store.begin().await?;
    store.enqueue_all(&mut tx, &wanted).await?;
    tx.commit().await?;
    store.wake().await;
    Ok(())
}
