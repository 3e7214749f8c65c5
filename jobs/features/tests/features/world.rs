//! A small airport: departures and weather, a view of each kind over them, a frozen data clock.

use std::{
    path::Path,
    sync::atomic::{AtomicI64, Ordering},
};

use serde_json::{Map, json};
use tempfile::TempDir;
use tidemill_blobs::{BlobOptions, Blobs};
use tidemill_catalog::{Catalog, Change, CodeArchive, ViewVersion};
use tidemill_core::{DataClock, Time};
use tidemill_features::{
    Deps, GetRequest, GotFeatures, Parity, get, jobs, parity, update_new, updates_of_source,
};
use tidemill_offline::{Lake, LakeOptions, Table, View};
use tidemill_online::{Online, OnlineOptions, ViewFeatures};
use tidemill_pyrun::{PyOptions, PyPools};
use tidemill_rows::{Row, batch_of, source_schema};
use tidemill_spec::{
    HydrationRead, KeyOrigin, LoadOptions, Objects, Value, diagnostic::SourceFile, load_files,
};
use tidemill_store::{NewJob, RunQuery};
use tidemill_testkit::{
    Engine, engine_with, failures,
    redis::{self, Prefix},
    run_until_idle,
};

pub(crate) const PROJECT: &str = r#"
apiVersion: tidemill/v1
kind: Project
name: airport
clock: { replay: { start: "2013-06-01T00:00:00Z", speed: 0 } }
---
apiVersion: tidemill/v1
kind: Entity
name: airport
keys: { origin: string }
---
apiVersion: tidemill/v1
kind: Source
name: departures
columns:
  origin: { type: string, nullable: true }
  flight: int
  departed_at: timestamp
  delay: { type: float, nullable: true }
  gone: bool
event_time: departed_at
available_time: departed_at
deleted: gone
unique: [flight]
---
apiVersion: tidemill/v1
kind: Source
name: weather
columns:
  origin: string
  observed_at: timestamp
  wind: { type: float, nullable: true }
event_time: observed_at
available_time: observed_at
---
apiVersion: tidemill/v1
kind: FeatureView
name: newest
entity: airport
source: departures
ttl: 2h
features:
  delay: { type: float, last: delay, default: -1 }
  twice: { type: float, sql: delay * 2 }
  minutes: { type: float, age: true }
online: true
---
apiVersion: tidemill/v1
kind: FeatureView
name: load
entity: airport
source: departures
features:
  mean_2h: { type: float, mean: delay, window: 2h }
  sum_2h: { type: float, sum: delay, window: 2h }
  worst_13h: { type: float, max: delay, window: 13h }
  flights_2h: { type: int, count: "*", window: 2h }
  late_2h: { type: int, count: "*", where: delay > 60, window: 2h }
  spread_2h: { type: float, sum: (delay - flight) * 2, where: NOT gone, window: 2h }
  deviation_2h: { type: float, stddev: delay, window: 2h }
  newest_2h: { type: float, last: delay, window: 2h }
  oldest_13h: { type: timestamp, first: departed_at, where: delay > 0, window: 13h }
  kinds_13h: { type: int, distinct: flight % 4, window: 13h }
  commonest_13h: { type: int, mode: flight, window: 13h }
  p90_13h: { type: float, percentile: delay, p: 0.9, window: 13h }
online: true
---
apiVersion: tidemill/v1
kind: FeatureView
name: weather_now
entity: airport
source: weather
ttl: 3h
features: { wind: float }
online: true
---
apiVersion: tidemill/v1
kind: FeatureView
name: stress
entity: airport
inputs: [load, weather_now]
features: { stress: { type: float, sql: worst_13h * wind } }
online: true
"#;

/// One departure: origin, flight, minute it departed, delay.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Departure {
    pub(crate) origin: &'static str,
    pub(crate) flight: i64,
    pub(crate) minute: i64,
    pub(crate) delay: Option<f64>,
    pub(crate) gone: bool,
}

pub(crate) fn departure(origin: &'static str, flight: i64, minute: i64, delay: f64) -> Departure {
    Departure { origin, flight, minute, delay: Some(delay), gone: false }
}

/// Minutes of the first of June 2013.
pub(crate) fn at(minute: i64) -> Time {
    "2013-06-01T00:00:00Z".parse::<Time>().unwrap() + chrono::TimeDelta::minutes(minute)
}

pub(crate) struct World {
    pub(crate) deps: Deps,
    pub(crate) objects: Objects,
    pub(crate) redis: Prefix,
    _engine: Engine,
    _folder: TempDir,
    commits: AtomicI64,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(PROJECT, &[]).await
    }

    /// A project and the Python beside it.
    pub(crate) async fn with(yaml: &str, python: &[(&str, &str)]) -> Self {
        let engine = engine_with("features", async |store| {
            Catalog::new(store.clone()).migrate().await?;
            let folder = tempfile::tempdir()?;
            let blobs = Blobs::open(&BlobOptions::folder(folder.path()))?;
            Lake::open(&LakeOptions::default(), store.pool().clone(), blobs)?.migrate().await?;
            Ok(())
        })
        .await
        .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(&BlobOptions::folder(folder.path().join("blobs"))).unwrap();
        let redis = redis::prefix().await.unwrap();
        let deps = Deps {
            catalog: Catalog::new(engine.store.clone()),
            lake: Lake::open(&LakeOptions::default(), engine.store.pool().clone(), blobs.clone()).unwrap(),
            online: connect(&redis),
            blobs,
            python: PyPools::new(python_options()),
            cache: folder.path().join("cache"),
        };
        let objects = Objects::default();
        let commits = AtomicI64::new(0);
        let mut world = Self { deps, objects, redis, _engine: engine, _folder: folder, commits };
        world.apply(yaml, python).await;
        world.clock(600).await;
        world
    }

    pub(crate) async fn apply(&mut self, yaml: &str, python: &[(&str, &str)]) -> Vec<Change> {
        let file = |path: &str, text: &str| SourceFile { path: path.to_owned(), text: text.to_owned() };
        let mut files = vec![file("tidemill.yaml", yaml)];
        files.extend(python.iter().map(|(path, text)| file(path, text)));
        let loaded = load_files(files, &LoadOptions::default());
        assert!(!loaded.failed(), "{:#?}", loaded.diagnostics);
        self.objects = loaded.objects;
        let files = python.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        let code = CodeArchive { files };
        code.store(&self.deps.blobs).await.unwrap();
        let store = self.deps.catalog.store();
        let mut tx = store.begin().await.unwrap();
        let changes = self.deps.catalog.apply(&mut tx, &self.objects, &code, at(0)).await.unwrap();
        tx.commit().await.unwrap();
        changes
    }

    /// Sets the frozen data clock and asks for the updates that this makes necessary.
    pub(crate) async fn clock(&self, minute: i64) {
        let store = self.deps.catalog.store();
        let mut tx = store.begin().await.unwrap();
        let clock = DataClock::Replay { start: at(minute), speed: 0.0, anchored_at: at(0) };
        store.set_data_clock(&mut tx, clock).await.unwrap();
        tx.commit().await.unwrap();
        self.enqueue(tidemill_features::clock_moved(&self.deps.catalog).await.unwrap()).await;
    }

    pub(crate) async fn depart(&self, departures: &[Departure]) {
        let row = |departure: &Departure| {
            Row::from_iter([
                ("origin".to_owned(), Value::String(departure.origin.to_owned())),
                ("flight".to_owned(), Value::Int(departure.flight)),
                ("departed_at".to_owned(), Value::Timestamp(at(departure.minute))),
                ("delay".to_owned(), departure.delay.map_or(Value::Null, Value::Float)),
                ("gone".to_owned(), Value::Bool(departure.gone)),
            ])
        };
        let rows = departures.iter().map(|departure| (departure.minute, departure.gone, row(departure)));
        self.ingest("departures", rows.collect()).await;
    }

    pub(crate) async fn observe(&self, observations: &[(&str, i64, f64)]) {
        let row = |(origin, minute, wind): &(&str, i64, f64)| {
            Row::from_iter([
                ("origin".to_owned(), Value::String((*origin).to_owned())),
                ("observed_at".to_owned(), Value::Timestamp(at(*minute))),
                ("wind".to_owned(), Value::Float(*wind)),
            ])
        };
        let rows = observations.iter().map(|observation| (observation.1, false, row(observation)));
        self.ingest("weather", rows.collect()).await;
    }

    /// Redis comes back with what another prefix holds, or empty. Returns what it held.
    pub(crate) async fn restart_redis(&mut self, old: Option<Prefix>) -> Prefix {
        let now = match old {
            Some(old) => old.copy().await.unwrap(),
            None => redis::prefix().await.unwrap(),
        };
        self.deps.online = connect(&now);
        std::mem::replace(&mut self.redis, now)
    }

    /// Values go elsewhere from now on.
    pub(crate) fn move_redis(&mut self, redis: Prefix) {
        self.deps.online = connect(&redis);
        self.redis = redis;
    }

    /// Every version that is retired has been so for long.
    pub(crate) async fn retired_long_ago(&self) {
        let earlier =
            "UPDATE catalog.view_version SET retired_at = now() - interval '1 day' WHERE state = 'retired'";
        sqlx::query(earlier).execute(self.deps.catalog.store().pool()).await.unwrap();
    }

    /// How many times rows were ingested.
    pub(crate) fn commits_so_far(&self) -> i64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// The `seq` of a row, counted from 0, that is ingested next.
    pub(crate) fn next_seq(&self, row: usize) -> i64 {
        (self.commits_so_far() << 40) + i64::try_from(row).unwrap()
    }

    /// Publishes rows as an upload would: accepted later than everything before.
    pub(crate) async fn ingest(&self, source: &str, rows: Vec<(i64, bool, Row)>) {
        let commit = self.commits.fetch_add(1, Ordering::Relaxed);
        let rows: Vec<Row> = rows
            .into_iter()
            .zip(0..)
            .map(|((minute, gone, mut row), index)| {
                row.entry("valid_at".to_owned()).or_insert(Value::Timestamp(at(minute)));
                row.insert("created_at".to_owned(), Value::Timestamp(at(10_000 + commit)));
                row.insert("seq".to_owned(), Value::Int((commit << 40) + index));
                row.insert("deleted".to_owned(), Value::Bool(gone));
                row
            })
            .collect();
        let schema = source_schema(&self.objects.sources[source]);
        let (table, key) = (Table::source(source), format!("upload {commit}"));
        let batch = batch_of(&schema, &rows).unwrap();
        let staged = self.deps.lake.stage(&table, &key, 0, &[], &schema, vec![batch]).await.unwrap();
        let store = self.deps.catalog.store();
        let mut tx = store.begin().await.unwrap();
        self.deps.lake.publish(tx.conn(), &table, &key, &[staged.unwrap()]).await.unwrap();
        let updates = updates_of_source(&self.deps.catalog, &mut tx, source).await.unwrap();
        tx.commit().await.unwrap();
        self.enqueue(updates).await;
    }

    pub(crate) async fn enqueue(&self, wishes: Vec<NewJob>) {
        let store = self.deps.catalog.store();
        let mut tx = store.begin().await.unwrap();
        for wish in wishes {
            store.enqueue(&mut tx, wish).await.unwrap();
        }
        tx.commit().await.unwrap();
    }

    /// Runs every job that waits, and those they wish for.
    pub(crate) async fn drain(&self) {
        let Deps { catalog, lake, blobs, .. } = self.deps.clone();
        let removal = tidemill_removal::jobs(&tidemill_removal::Deps { catalog, lake, blobs });
        let jobs = [jobs(&self.deps), removal].concat();
        run_until_idle(self.deps.catalog.store(), jobs).await.unwrap();
        let failed = failures(self.deps.catalog.store()).await.unwrap();
        assert!(failed.is_empty(), "{failed:#?}");
    }

    /// What the jobs that have run said.
    pub(crate) async fn log(&self) -> Vec<String> {
        let store = self.deps.catalog.store();
        let all = RunQuery { state: None, pipeline: None, all: true, finished_since: None, limit: 100 };
        let mut lines = Vec::new();
        for run in store.runs(&all).await.unwrap() {
            let log = store.log(run.id, None, None).await.unwrap();
            lines.extend(log.into_iter().map(|line| line.line));
        }
        lines
    }

    /// An airport's features in a view now, as Redis has them.
    pub(crate) async fn now(&self, view: &str, origin: &str) -> ViewFeatures {
        self.get(view, origin, None).await
    }

    /// The same as of a minute, from the lake.
    pub(crate) async fn as_of(&self, view: &str, origin: &str, minute: i64) -> ViewFeatures {
        self.get(view, origin, Some(at(minute))).await
    }

    async fn get(&self, view: &str, origin: &str, at: Option<Time>) -> ViewFeatures {
        self.of("origin", origin.into(), view, at).await
    }

    /// The features of the entity with this key: now, or as of a moment.
    pub(crate) async fn of(
        &self,
        key: &str,
        value: serde_json::Value,
        view: &str,
        at: Option<Time>,
    ) -> ViewFeatures {
        self.asked(key, value, view, at).await.features
    }

    /// What a version says of some entities now, as serving reads it.
    pub(crate) async fn now_of(
        &self,
        version: &ViewVersion,
        keys: &[Vec<Value>],
        now: Time,
    ) -> Vec<ViewFeatures> {
        let view = View::of(&version.plan, version.version);
        let names = view.entity.keys.keys();
        let read = HydrationRead {
            view: version.view.clone(),
            role: None,
            keys: names.clone().cloned().map(KeyOrigin::Request).collect(),
            features: Vec::new(),
        };
        let given: Vec<Row> =
            keys.iter().map(|key| names.clone().cloned().zip(key.iter().cloned()).collect()).collect();
        let views = [(version.view.clone(), tidemill_live::live_view_of(&view, &|_| false))].into();
        let limit = (now, std::time::Duration::from_secs(30));
        let Deps { online, lake, .. } = &self.deps;
        let hydrated = online.hydrate(lake.evaluator(), &[&read], &views, &given, limit).await.unwrap();
        hydrated.into_iter().map(|one| one.views.into_iter().next().unwrap().unwrap()).collect()
    }

    /// An airport's features in a view now, with what holds the view up.
    pub(crate) async fn got(&self, view: &str, origin: &str) -> GotFeatures {
        self.asked("origin", origin.into(), view, None).await
    }

    async fn asked(&self, key: &str, value: serde_json::Value, view: &str, at: Option<Time>) -> GotFeatures {
        let entity: Map<_, _> = json!({ key: value }).as_object().unwrap().clone();
        let request = GetRequest {
            entities: vec![entity],
            features: vec![view.to_owned()],
            at,
            ..GetRequest::default()
        };
        get(&self.deps, &request).await.unwrap().remove(0).remove(0)
    }

    /// Online equals offline, for every entity of every online view.
    pub(crate) async fn check_parity(&self) -> Vec<Parity> {
        self.enqueue(self.objects.views.keys().map(|view| update_new(view)).collect()).await;
        self.drain().await;
        let mut all = Vec::new();
        for view in self.objects.views.keys() {
            let parity = parity(&self.deps, view).await.unwrap();
            assert_eq!((parity.equal, &parity.differing), (parity.entities, &Vec::new()), "{view}");
            all.push(parity);
        }
        all
    }
}

fn connect(redis: &Prefix) -> Online {
    let (url, prefix) = (redis.url.clone(), redis.prefix.clone());
    Online::connect(&OnlineOptions::new(url, prefix)).unwrap()
}

fn python_options() -> PyOptions {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    PyOptions {
        python: tidemill_testkit::python().unwrap(),
        package: Some(here.join("../../workers/python/src").canonicalize().unwrap()),
        ..PyOptions::default()
    }
}
