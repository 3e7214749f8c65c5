//! A small shop: visits, whether they bought, and a model that learns it. Every test has its own.

use std::{path::PathBuf, sync::Arc};

use chrono::TimeDelta;
use serde_json::{Map, Value as Json};
use tempfile::TempDir;
use tidemill_blobs::{BlobOptions, Blobs};
use tidemill_catalog::{Catalog, CodeArchive};
use tidemill_core::{DataClock, Fault, RunId, Time};
use tidemill_offline::{Lake, LakeOptions, Table, View};
use tidemill_online::{Online, OnlineOptions};
use tidemill_pipeline::{Day, StartRun, Steps, start_run};
use tidemill_pyrun::PyOptions;
use tidemill_rows::{Row, batch_of, source_schema};
use tidemill_runtime::JobEntry;
use tidemill_spec::{Objects, Plan, Value};
use tidemill_store::{RunPage, Store, Trigger};
use tidemill_testkit::{Driver, Engine, engine_with, redis, run_job};

/// Visits, one every two hours.
pub(crate) const VISITS: i64 = 400;
/// The first that a holdout of seven days has: seven days before the last.
pub(crate) const HOLDOUT_FROM: i64 = VISITS - 1 - 7 * 12;

pub(crate) struct World {
    pub(crate) engine: Engine,
    pub(crate) catalog: Catalog,
    pub(crate) lake: Lake,
    pub(crate) blobs: Blobs,
    pub(crate) online: Online,
    pub(crate) home: TempDir,
}

impl World {
    /// The project in force and its rows in the lake; the clock stands at 1 March 2024.
    pub(crate) async fn new() -> Self {
        let world = Self::empty().await;
        world.apply().await;
        world.fill().await;
        world
    }

    /// Without a project.
    pub(crate) async fn empty() -> Self {
        let home = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(&BlobOptions::folder(home.path().join("blobs"))).unwrap();
        let engine = engine_with("training", async |store| {
            Catalog::new(store.clone()).migrate().await?;
            let nowhere = tempfile::tempdir()?;
            let blobs = Blobs::open(&BlobOptions::folder(nowhere.path()))?;
            Ok(Lake::open(&LakeOptions::default(), store.pool().clone(), blobs)?.migrate().await?)
        });
        let engine = engine.await.unwrap();
        let catalog = Catalog::new(engine.store.clone());
        let lake = Lake::open(&LakeOptions::default(), engine.store.pool().clone(), blobs.clone()).unwrap();
        let prefix = redis::prefix().await.unwrap();
        let online = Online::connect(&OnlineOptions::new(prefix.url, prefix.prefix)).unwrap();
        Self { engine, catalog, lake, blobs, online, home }
    }

    pub(crate) fn store(&self) -> &Store {
        &self.engine.store
    }

    async fn apply(&self) {
        self.apply_with(&[]).await;
    }

    /// The project with other texts of some of its Python files.
    pub(crate) async fn apply_with(&self, files: &[(&str, &str)]) {
        let project = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/training/shop");
        let loaded = tidemill_spec::load(&project).unwrap();
        assert!(!loaded.failed(), "{:?}", loaded.diagnostics);
        let mut code = CodeArchive::of(&loaded.files);
        code.files.extend(files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())));
        self.put_in_force(&loaded.objects, &code).await;
    }

    pub(crate) async fn put_in_force(&self, objects: &Objects, code: &CodeArchive) {
        code.store(&self.blobs).await.unwrap();
        let mut tx = self.store().begin().await.unwrap();
        self.catalog.apply(&mut tx, objects, code, time(0)).await.unwrap();
        let clock = DataClock::Replay {
            start: "2024-03-01T00:00:00Z".parse().unwrap(),
            speed: 0.0,
            anchored_at: time(0),
        };
        self.store().set_data_clock(&mut tx, clock).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Visits and outcomes; the view holds what `features.update` would have computed.
    async fn fill(&self) {
        let objects = self.catalog.objects().await.unwrap();
        let visits: Vec<Row> = (0..VISITS).map(visit).collect();
        let outcomes: Vec<Row> = (0..VISITS).map(outcome).collect();
        for (source, rows) in [("visits", &visits), ("outcomes", &outcomes)] {
            let schema = source_schema(&objects.sources[source]);
            self.put(&Table::source(source), &schema, rows).await;
        }
        let view = View::of(&Plan::of(&objects, &objects.views["visit_pages"], |_| None, None).unwrap(), 1);
        let version = self.put(&view.table(), &view.schema(), &visits).await;
        self.reach(version).await;
    }

    /// The view has consumed the lake up to a version.
    pub(crate) async fn reach(&self, version: i64) {
        self.reach_with("visit_pages", version).await;
    }

    pub(crate) async fn reach_with(&self, view: &str, version: i64) {
        let mut tx = self.store().begin().await.unwrap();
        self.catalog.move_position(&mut tx, view, 1, (version, version), time(0)).await.unwrap();
        tx.commit().await.unwrap();
    }

    pub(crate) async fn put(&self, table: &Table, schema: &arrow::datatypes::SchemaRef, rows: &[Row]) -> i64 {
        let key = format!("test/{}", rows.len());
        let batch = batch_of(schema, rows).unwrap();
        let staged =
            self.lake.stage(table, &key, 0, &["visit".to_owned()], schema, vec![batch]).await.unwrap();
        let mut tx = self.store().begin().await.unwrap();
        self.lake.publish(tx.conn(), table, &key, &[staged.unwrap()]).await.unwrap();
        tx.commit().await.unwrap();
        self.lake.head().await.unwrap()
    }

    pub(crate) fn jobs(&self) -> Vec<JobEntry> {
        self.jobs_with(python())
    }

    pub(crate) fn jobs_with(&self, python: PyOptions) -> Vec<JobEntry> {
        let Self { catalog, lake, blobs, online, home, .. } = self;
        let (catalog, lake, blobs, online) = (catalog.clone(), lake.clone(), blobs.clone(), online.clone());
        let cache = home.path().join("cache");
        std::fs::create_dir_all(&cache).unwrap();
        let registry = tidemill_registry::Deps {
            catalog: catalog.clone(),
            lake: lake.clone(),
            blobs: blobs.clone(),
            online,
            python: python.clone(),
            cache: cache.clone(),
        };
        let training =
            tidemill_training::Deps { catalog: catalog.clone(), lake: lake.clone(), blobs: blobs.clone() };
        let pipeline = tidemill_pipeline::Deps { catalog, lake, blobs, python, cache };
        let mut jobs = tidemill_pipeline::jobs(&pipeline);
        jobs.extend(tidemill_registry::jobs(&registry));
        jobs.extend(tidemill_training::jobs(&training));
        jobs
    }

    /// Runs one job by itself.
    pub(crate) async fn job(&self, kind: &str, args: &Json) -> Result<Json, Fault> {
        let job = self.jobs().into_iter().find(|job| job.kind().as_str() == kind).unwrap();
        run_job(self.store(), job, args).await
    }

    pub(crate) fn driver(&self) -> Driver {
        Driver::with_prepare(self.store(), self.jobs(), Arc::new(Steps))
    }

    pub(crate) async fn start(&self, pipeline: &str, params: &[(&str, Json)]) -> RunId {
        let params: Map<String, Json> =
            params.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let day = Day::Date("2024-02-04".parse().unwrap());
        let start = StartRun { pipeline: pipeline.into(), params, day, trigger: Trigger::Manual, key: None };
        let mut tx = self.store().begin().await.unwrap();
        let run = start_run(&self.catalog, &mut tx, &start).await.unwrap().run;
        tx.commit().await.unwrap();
        run
    }

    /// Runs a pipeline to its end.
    pub(crate) async fn run(&self, pipeline: &str, params: &[(&str, Json)]) -> RunPage {
        let run = self.start(pipeline, params).await;
        self.driver().until_idle().await.unwrap();
        self.store().run(run).await.unwrap()
    }
}

/// What a step of a run returned.
#[track_caller]
pub(crate) fn outputs<'a>(page: &'a RunPage, step: &str) -> &'a Json {
    let found = page.step_list.iter().find(|found| found.name == step).unwrap();
    found.outputs.as_ref().unwrap_or_else(|| panic!("{step}: {:?} {:?}", found.fault, found.reason))
}

pub(crate) fn python() -> PyOptions {
    PyOptions {
        python: tidemill_testkit::python().unwrap(),
        package: Some(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../workers/python/src")),
        ..PyOptions::default()
    }
}

/// Two hours after the one before; the first at midnight of 1 January 2024.
pub(crate) fn time(visit: i64) -> Time {
    "2024-01-01T00:00:00Z".parse::<Time>().unwrap() + TimeDelta::hours(2 * visit)
}

pub(crate) fn visit(number: i64) -> Row {
    let pages = number * 7 % 10;
    row(
        number,
        time(number) - TimeDelta::hours(1),
        &[("pages", Value::Int(pages)), ("landing", landing(number))],
    )
}

fn landing(number: i64) -> Value {
    match number % 3 {
        0 => Value::Null,
        1 => Value::String("offer".into()),
        _ => Value::String("search".into()),
    }
}

/// Known a day after the visit; those who saw many pages buy, but for every seventh.
fn outcome(number: i64) -> Row {
    let bought = (number * 7 % 10 > 5) != (number % 7 == 0);
    let known = time(number) + TimeDelta::days(1);
    row(number, known, &[("bought", Value::Bool(bought)), ("known", Value::Timestamp(known))])
}

fn row(number: i64, valid_at: Time, columns: &[(&str, Value)]) -> Row {
    let system = [
        ("visit", Value::Int(number)),
        ("seen_at", Value::Timestamp(time(number))),
        ("published", Value::Timestamp(valid_at)),
        ("valid_at", Value::Timestamp(valid_at)),
        ("created_at", Value::Timestamp(valid_at)),
        ("seq", Value::Int(number)),
        ("deleted", Value::Bool(false)),
    ];
    system.iter().chain(columns).map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}
