//! For each kind of job a small piece of the shop's life in which it does all that it can do.

use futures::future::{BoxFuture, FutureExt as _};
use serde_json::{Value as Json, json};
use tidemill_catalog::ModelVersion;
use tidemill_core::{Kind, PredictionId, RunId, Time};
use tidemill_features::{
    Recomputed, backfill_new, drop_new, forget_new, rebuild_new, recompute_new, update_new,
};
use tidemill_ingest::jobs::ReplayJob;
use tidemill_monitor::start_scan;
use tidemill_registry::log::{expire::expire_new, ingest_new, replay_new};
use tidemill_removal::{erasure, truncation};
use tidemill_rows::{
    CREATED_AT, DELETED, SEQ, VALID_AT, batch_of, parquet,
    prediction_log::{Columns, ID, SEGMENTS, VERSION},
};
use tidemill_runtime::job_new;
use tidemill_spec::{Value, args::NOTIFY};
use tidemill_upkeep::{collection, compaction};

use uuid::{NoContext, Timestamp, Uuid};

use crate::world::{NOW, World, visits};

/// A job to be disturbed.
pub(crate) struct Scenario {
    /// Its kind.
    pub(crate) kind: &'static str,
    /// What is special about it, where a kind has several.
    pub(crate) what: &'static str,
    /// Kinds that run under faults: its own, and those that its run consists of.
    pub(crate) runs: &'static [&'static str],
    /// Prepares the world and returns the run, which waits.
    pub(crate) before: for<'w> fn(&'w World) -> BoxFuture<'w, anyhow::Result<RunId>>,
}

impl Scenario {
    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.kind, self.what).trim_end().to_owned()
    }
}

macro_rules! scenarios {
    ($($kind:literal $(($what:literal))? $(with $($other:literal)+)? => $before:expr;)+) => {
        /// At least one for each kind.
        pub(crate) const SCENARIOS: &[Scenario] = &[$(Scenario {
            kind: $kind,
            what: concat!($($what)?),
            runs: &[$kind, $($($other),+)?],
            before: |world| async move { $before(world).await }.boxed(),
        }),+];
    };
}

const INGEST: [&str; 2] = ["ingest.chunk", "ingest.publish"];

scenarios! {
    "ingest.chunk" with "ingest.publish" => async |world: &World| {
        world.upload("visits", &with_bad_rows()).await
    };
    "ingest.publish" => async |world: &World| {
        let run = world.upload("visits", &with_bad_rows()).await?;
        world.drive(&["ingest.chunk"]).await?;
        Ok(run)
    };
    "ingest.replay" => async |world: &World| {
        world.upload("visits", &with_bad_rows()).await?;
        world.drive(&INGEST).await?;
        world.apply("min: 0", "min: -10").await?;
        world.enqueue(ReplayJob::of("visits")).await
    };
    "ingest" => async |world: &World| {
        let path = world.file("more.csv", &with_bad_rows())?;
        step(world, "ingest", &json!({ "source": "visits", "path": path })).await
    };
    "features.update" ("of rows") => async |world: &World| update_of(world, "last_visit").await;
    "features.update" ("of windows") => async |world: &World| update_of(world, "week").await;
    "features.update" ("of Python over views") => async |world: &World| {
        for view in ["last_visit", "week"] {
            update_of(world, view).await?;
            world.drive(&["features.update"]).await?;
        }
        world.enqueue(update_new("mood")).await
    };
    "features.backfill" => async |world: &World| world.enqueue(backfill_new("week")).await;
    "features.backfill" ("of a derived view") => async |world: &World| {
        world.enqueue(backfill_new("share")).await
    };
    "features.rebuild" => async |world: &World| {
        world.stores.online.drop_version("last_visit", 1).await?;
        world.enqueue(rebuild_new("last_visit")).await
    };
    "features.recompute" => async |world: &World| {
        update_of(world, "last_visit").await?;
        world.drive(&["features.update"]).await?;
        let (from, to) = ("2024-01-01T00:00:00Z".parse()?, "2025-01-01T00:00:00Z".parse()?);
        world.enqueue(recompute_new("last_visit", Recomputed::Between(from, to))).await
    };
    "features.forget" => async |world: &World| world.enqueue(forget_new("last_visit", &shopper_a())).await;
    "source.truncate" => async |world: &World| world.enqueue(truncation("visits")).await;
    "entity.erase" with "features.forget" => async |world: &World| {
        world.enqueue(erasure("shopper", &shopper_a())).await
    };
    "features.drop" => async |world: &World| {
        // The second filling retires the second version, so that the first is needed no more.
        for _ in 0..2 {
            world.enqueue(backfill_new("week")).await?;
            world.drive(&["features.backfill"]).await?;
        }
        world.enqueue(drop_new("week")).await
    };
    "dataset.build" => async |world: &World| {
        let args = json!({
            "label": "bought", "inputs": "buyer", "holdout": "10d",
            "from": "2024-01-01T00:00:00Z", "to": "2024-02-01T00:00:00Z",
        });
        step(world, "dataset.build", &args).await
    };
    "python" => async |world: &World| {
        let args = json!({
            "with": { "entry": "models.buyer:count", "params": { "upto": 3 } },
            "code": world.stores.catalog.code_hash().await?,
            "time_limit": { "secs": 60, "nanos": 0 },
        });
        step(world, "python", &args).await
    };
    "model.register" => async |world: &World| {
        let artifact = champion(world).await?.artifact;
        step(world, "model.register", &json!({ "model": "buyer", "artifact": artifact })).await
    };
    "model.promote" => async |world: &World| {
        second_version(world).await?;
        let args = json!({ "model": "buyer", "version": 2, "alias": "champion" });
        step(world, "model.promote", &args).await
    };
    "model.compare" => async |world: &World| {
        second_version(world).await?;
        let dataset = format!("{}.holdout", dataset(world).await?);
        let args = json!({
            "model": "buyer", "candidate": 2, "against": "champion", "dataset": dataset, "metric": "auc",
        });
        step(world, "model.compare", &args).await
    };
    "model.evaluate" => async |world: &World| {
        let args = json!({ "model": "buyer", "dataset": dataset(world).await? });
        step(world, "model.evaluate", &args).await
    };
    "model.predict_batch" => async |world: &World| {
        let args = json!({ "model": "buyer", "dataset": dataset(world).await? });
        step(world, "model.predict_batch", &args).await
    };
    "predictions.ingest" => async |world: &World| {
        logged(world, "first", NOW).await?;
        logged(world, "second", NOW).await?;
        world.enqueue(ingest_new("buyer".to_owned())).await
    };
    "predictions.expire" => async |world: &World| {
        logged(world, "old", "2020-01-01T00:00:00Z").await?;
        world.enqueue(ingest_new("buyer".to_owned())).await?;
        world.drive(&["predictions.ingest"]).await?;
        world.enqueue(expire_new("buyer")).await
    };
    "predictions.replay" => async |world: &World| {
        let id = logged(world, "first", NOW).await?;
        world.enqueue(ingest_new("buyer".to_owned())).await?;
        world.drive(&["predictions.ingest"]).await?;
        world.enqueue(replay_new(id)).await
    };
    "monitor.scan" => scan;
    "notify" => async |world: &World| {
        scan(world).await?;
        world.drive(&["monitor.scan"]).await?;
        world.waiting(&NOTIFY).await
    };
    "sql" => async |world: &World| {
        let path = world.file("asked.csv", "")?;
        step(world, "sql", &json!({ "query": "SELECT count(*) AS n FROM source.visits", "path": path })).await
    };
    "export" => async |world: &World| {
        let path = world.file("exported.parquet", "")?;
        step(world, "export", &json!({ "table": "view/last_visit", "path": path })).await
    };
    "lake.compact" => async |world: &World| {
        world.enqueue(compaction(&world.scatter("visits").await?)).await
    };
    "lake.collect_garbage" => async |world: &World| {
        world.enqueue(compaction(&world.scatter("visits").await?)).await?;
        world.drive(&["lake.compact"]).await?;
        world.age_lake().await?;
        world.enqueue(collection()).await
    };
    "quality.check" => async |world: &World| {
        step(world, "quality.check", &json!({ "table": "source/visits", "conditions": ["pages < 100"] })).await
    };
}

fn shopper_a() -> serde_json::Map<String, Json> {
    serde_json::Map::from_iter([("shopper".to_owned(), json!("a"))])
}

/// Six rows, of which one is not of its type and one is out of range.
fn with_bad_rows() -> String {
    visits(40..46).replacen("\n41,", "\nmany,", 1) + "46,a,2024-02-14T00:00:00Z,-5,\n"
}

/// A single job of a kind that is a pipeline's step.
async fn step(world: &World, kind: &'static str, args: &Json) -> anyhow::Result<RunId> {
    world.enqueue(job_new(Kind::new(kind), args)).await
}

/// The update of a view that new rows have made necessary.
async fn update_of(world: &World, view: &str) -> anyhow::Result<RunId> {
    world.upload("visits", &visits(40..44)).await?;
    world.drive(&INGEST).await?;
    world.enqueue(update_new(view)).await
}

async fn scan(world: &World) -> anyhow::Result<RunId> {
    let mut tx = world.stores.store.begin().await?;
    let (from, to) = ("2024-01-01T00:00:00Z".parse()?, "2024-02-01T00:00:00Z".parse()?);
    let enqueued = start_scan(&world.stores.catalog, &mut tx, "landings", from, to).await?;
    tx.commit().await?;
    Ok(enqueued.run)
}

async fn champion(world: &World) -> anyhow::Result<ModelVersion> {
    Ok(world.stores.catalog.model_version("buyer", 1).await?.expect("the shop has trained a version"))
}

/// A second version that predicts as the first does.
async fn second_version(world: &World) -> anyhow::Result<()> {
    let version = champion(world).await?;
    let mut tx = world.stores.store.begin().await?;
    world.stores.catalog.insert_model_version(&mut tx, "by hand", &version).await?;
    Ok(tx.commit().await?)
}

/// What serving leaves when it has answered once: a segment of that name.
async fn logged(world: &World, segment: &str, answered_at: &str) -> anyhow::Result<PredictionId> {
    let ModelVersion { keys, hydration, request, outputs, .. } = champion(world).await?;
    let columns = Columns::of_version(&keys, &hydration, &request, &outputs);
    let (now, answered_at): (Time, Time) = (NOW.parse()?, answered_at.parse()?);
    // An id tells when it was made, by which it is found.
    let seconds = u64::try_from(answered_at.timestamp())?;
    let id = PredictionId::from(Uuid::new_v7(Timestamp::from_unix(NoContext, seconds, 0)));
    let values = [
        (ID, Value::String(id.to_string())),
        (VERSION, Value::Int(1)),
        ("shopper", Value::String("a".to_owned())),
        (VALID_AT, Value::Timestamp(now)),
        (CREATED_AT, Value::Timestamp(answered_at)),
        (SEQ, Value::Int(0)),
        (DELETED, Value::Bool(false)),
    ];
    let row = values.map(|(name, value)| (name.to_owned(), value)).into();
    let rows = batch_of(&columns.schema(), &[row])?;
    let path = format!("{SEGMENTS}/buyer/{segment}.parquet");
    world.stores.blobs.put_at(&path, parquet::write(&rows)?).await?;
    Ok(id)
}

/// The training set of the champion.
async fn dataset(world: &World) -> anyhow::Result<String> {
    let dataset = champion(world).await?.dataset;
    Ok(dataset.expect("it was trained on one").to_string())
}
