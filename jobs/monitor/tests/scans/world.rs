//! A shop with a visit every half hour: forty-eight a day. Every test has its own.

use std::{path::PathBuf, process::Command};

use chrono::TimeDelta;
use indexmap::IndexMap;
use serde_json::{Value as Json, json};
use tempfile::TempDir;
use tidemill_blobs::{BlobOptions, Blobs};
use tidemill_catalog::{Catalog, CodeArchive, Format, Incident, ModelVersion, NewUpload, Publication};
use tidemill_core::{DataClock, Fault, RunId, Time, UploadId};
use tidemill_monitor::{Deps, Scan, start_scan};
use tidemill_offline::{Lake, LakeOptions, Table};
use tidemill_online::{Online, OnlineOptions};
use tidemill_pyrun::PyOptions;
use tidemill_rows::{Row, batch_of, source_schema};
use tidemill_runtime::job_new;
use tidemill_spec::{LoadOptions, Objects, Value, args::NOTIFY, diagnostic::SourceFile, load_files};
use tidemill_store::Store;
use tidemill_testkit::{Engine, engine_with, failures, redis, run_job, run_until_idle};

use crate::webhook::Webhook;

const SHOP: &str = include_str!("shop.yaml");

pub(crate) struct World {
    pub(crate) engine: Engine,
    pub(crate) deps: Deps,
    pub(crate) objects: Objects,
    pub(crate) webhook: Webhook,
    _folder: TempDir,
}

/// One visit and what came of it.
#[derive(Clone, Debug)]
pub(crate) struct Visit {
    pub(crate) number: i64,
    pub(crate) pages: Option<f64>,
    pub(crate) landing: &'static str,
    pub(crate) bought: bool,
}

/// As in the days the model was trained on: who saw more than five pages buys, but for every seventh visit.
pub(crate) fn usual(number: i64) -> Visit {
    let pages = number * 7 % 10;
    let landing = if number % 3 == 0 { "offer" } else { "search" };
    let bought = (pages > 5) != (number % 7 == 0);
    #[expect(clippy::cast_precision_loss, reason = "at most nine pages")]
    let pages = Some(pages as f64);
    Visit { number, pages, landing, bought }
}

/// Everybody sees many pages, comes by a new way, and nobody buys.
pub(crate) fn unusual(number: i64) -> Visit {
    Visit {
        pages: usual(number).pages.map(|pages| 6.0 + pages / 3.0),
        landing: "rumour",
        bought: false,
        ..usual(number)
    }
}

/// A day of January 2024, and on.
pub(crate) fn day(day: i64) -> Time {
    "2024-01-01T00:00:00Z".parse::<Time>().unwrap() + TimeDelta::days(day - 1)
}

/// The visits of some days, `from` to the day before `to`.
pub(crate) fn visits(from: i64, to: i64, visit: impl Fn(i64) -> Visit) -> Vec<Visit> {
    ((from - 1) * 48..(to - 1) * 48).map(visit).collect()
}

impl World {
    /// The project in force, an empty lake; the clock stands at 1 March.
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(&BlobOptions::folder(folder.path().join("blobs"))).unwrap();
        let engine = engine_with("monitor", async |store| {
            Catalog::new(store.clone()).migrate().await?;
            let nowhere = tempfile::tempdir()?;
            let blobs = Blobs::open(&BlobOptions::folder(nowhere.path()))?;
            Ok(Lake::open(&LakeOptions::default(), store.pool().clone(), blobs)?.migrate().await?)
        });
        let engine = engine.await.unwrap();
        let lake = Lake::open(&LakeOptions::default(), engine.store.pool().clone(), blobs.clone()).unwrap();
        let prefix = redis::prefix().await.unwrap();
        let online = Online::connect(&OnlineOptions::new(prefix.url, prefix.prefix)).unwrap();
        let catalog = Catalog::new(engine.store.clone());
        let cache = folder.path().join("cache");
        std::fs::create_dir_all(&cache).unwrap();
        let deps = Deps { catalog, lake, blobs, online, python: python(), cache };
        let webhook = Webhook::start().await;
        let mut world = Self { engine, deps, objects: Objects::default(), webhook, _folder: folder };
        world.apply().await;
        world.clock(day(61)).await;
        world
    }

    pub(crate) fn store(&self) -> &Store {
        &self.engine.store
    }

    async fn apply(&mut self) {
        let text = SHOP.replace("WEBHOOK", &self.webhook.url);
        let file = SourceFile { path: "tidemill.yaml".to_owned(), text };
        let loaded = load_files(vec![file], &LoadOptions::default());
        assert!(!loaded.failed(), "{:#?}", loaded.diagnostics);
        self.objects = loaded.objects;
        let code = CodeArchive { files: std::collections::BTreeMap::new() };
        code.store(&self.deps.blobs).await.unwrap();
        let mut tx = self.store().begin().await.unwrap();
        self.deps.catalog.apply(&mut tx, &self.objects, &code, day(1)).await.unwrap();
        tx.commit().await.unwrap();
    }

    pub(crate) async fn clock(&self, now: Time) {
        let mut tx = self.store().begin().await.unwrap();
        let clock = DataClock::Replay { start: now, speed: 0.0, anchored_at: day(1) };
        self.store().set_data_clock(&mut tx, clock).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Visits are in the lake when they happen, what came of them a day later; the views hold them.
    pub(crate) async fn fill(&self, visits: &[Visit]) {
        self.tell(visits).await;
        self.see(visits).await;
    }

    /// What came of visits is in the lake.
    pub(crate) async fn tell(&self, visits: &[Visit]) {
        let outcomes: Vec<Row> = visits.iter().map(outcome).collect();
        let outcome = source_schema(&self.objects.sources["outcomes"]);
        let version = self.put(&Table::source("outcomes"), &outcome, &outcomes).await;
        self.reach(version).await;
    }

    /// Visits are in the lake, and the views hold them.
    pub(crate) async fn see(&self, visits: &[Visit]) {
        let seen: Vec<Row> = visits.iter().map(seen).collect();
        let mut version =
            self.put(&Table::source("visits"), &source_schema(&self.objects.sources["visits"]), &seen).await;
        let view = self.deps.catalog.current_view("visit_pages").await.unwrap().unwrap();
        let view = tidemill_offline::View::of(&view.plan, view.version);
        version = version.max(self.put(&view.table(), &view.schema(), &seen).await);
        self.reach(version).await;
    }

    /// The views have consumed the lake up to a version.
    async fn reach(&self, version: i64) {
        let mut tx = self.store().begin().await.unwrap();
        for view in self.objects.views.keys() {
            self.deps.catalog.move_position(&mut tx, view, 1, (version, version), day(1)).await.unwrap();
        }
        tx.commit().await.unwrap();
    }

    async fn put(&self, table: &Table, schema: &arrow::datatypes::SchemaRef, rows: &[Row]) -> i64 {
        let key = format!("test/{:?}", rows[0]["visit"]);
        let batch = batch_of(schema, rows).unwrap();
        let staged = self.deps.lake.stage(table, &key, 0, &[], schema, vec![batch]).await.unwrap();
        let mut tx = self.store().begin().await.unwrap();
        self.deps.lake.publish(tx.conn(), table, &key, &[staged.unwrap()]).await.unwrap();
        tx.commit().await.unwrap();
        self.deps.lake.head().await.unwrap()
    }

    /// Scans some days, and runs whatever follows.
    pub(crate) async fn scan(&self, monitor: &str, from: i64, to: i64) -> Scan {
        self.start(monitor, day(from), day(to)).await;
        run_until_idle(self.store(), tidemill_monitor::jobs(&self.deps, &crate::world::webhooks()))
            .await
            .unwrap();
        let failed = self.failures().await;
        assert!(failed.is_empty(), "{failed:?}");
        self.scanned(monitor, day(from)).await
    }

    pub(crate) async fn start(&self, monitor: &str, from: Time, to: Time) -> RunId {
        let mut tx = self.store().begin().await.unwrap();
        let run = start_scan(&self.deps.catalog, &mut tx, monitor, from, to).await.unwrap().run;
        tx.commit().await.unwrap();
        run
    }

    /// A file for a source is accepted; nothing of it is in the lake.
    pub(crate) async fn accept(&self, source: &str) -> UploadId {
        let upload = NewUpload {
            source: self.objects.sources[source].clone(),
            sha256: format!("{source:0>64}"),
            repeat_of: None,
            push_key: None,
            format: Format::Csv,
            file_name: format!("{source}.csv"),
            size_bytes: 1,
            header: Vec::new(),
            created_at: day(61),
            chunks: Vec::new(),
        };
        let mut tx = self.store().begin().await.unwrap();
        let id = self.deps.catalog.insert_upload(&mut tx, &upload).await.unwrap().unwrap();
        tx.commit().await.unwrap();
        id
    }

    /// The file's rows are in the lake.
    pub(crate) async fn publish(&self, upload: UploadId) {
        let publication = Publication::default();
        let mut tx = self.store().begin().await.unwrap();
        self.deps.catalog.publish_upload(&mut tx, upload, &publication).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// The file's ingest has failed for good.
    pub(crate) async fn fail(&self, upload: UploadId) {
        let mut tx = self.store().begin().await.unwrap();
        let job = job_new(NOTIFY, &json!({}));
        let run = self.store().enqueue(&mut tx, job).await.unwrap().run;
        self.deps.catalog.set_upload_run(&mut tx, upload, run).await.unwrap();
        tx.commit().await.unwrap();
        self.store().cancel_run(run, "a test").await.unwrap();
    }

    /// What is kept of a window.
    pub(crate) async fn scanned(&self, monitor: &str, from: Time) -> Scan {
        let scans = self.deps.catalog.scans(monitor, None).await.unwrap();
        let scan = scans.into_iter().find(|scan| scan.from == from).unwrap();
        serde_json::from_value(scan.body).unwrap()
    }

    pub(crate) async fn failures(&self) -> Vec<Fault> {
        failures(self.store()).await.unwrap()
    }

    pub(crate) async fn incidents(&self, monitor: &str) -> Vec<Incident> {
        self.deps.catalog.incidents(Some(monitor)).await.unwrap()
    }

    /// A champion, trained on the fifteen days from 1 January; the last five are its holdout.
    pub(crate) async fn train(&self, model: &str) {
        self.train_to(model, 16).await;
    }

    /// The next champion, trained on the fifteen days before `to`; the last five are its holdout.
    pub(crate) async fn train_to(&self, model: &str, to: i64) {
        let training = tidemill_training::Deps {
            catalog: self.deps.catalog.clone(),
            lake: self.deps.lake.clone(),
            blobs: self.deps.blobs.clone(),
        };
        let build = tidemill_training::jobs(&training).remove(0);
        let args = json!({ "label": "bought", "inputs": model, "from": day(to - 15), "to": day(to), "holdout": "5d" });
        let built = run_job(self.store(), build, &args).await.unwrap();
        let declared = &self.objects.models[model];
        let folder = model_folder(&serde_json::to_string(&declared.outputs).unwrap());
        let artifact = self.deps.blobs.put_folder("artifacts", folder.path()).await.unwrap();
        let version = ModelVersion {
            model: model.to_owned(),
            version: 0,
            artifact,
            runtime: declared.runtime.clone(),
            keys: self.objects.entities["visit"].keys.clone(),
            hydration: self.objects.hydration(model).unwrap(),
            request: IndexMap::new(),
            nullable: Some(Vec::new()),
            outputs: declared.outputs.clone(),
            fail_on_missing: false,
            processes: 1,
            processes_max: None,
            categories: IndexMap::new(),
            view_versions: [("visit_pages".to_owned(), 1)].into(),
            leak_allowed: Vec::new(),
            dataset: Some(built["dataset"].as_str().unwrap().parse().unwrap()),
            params: serde_json::Map::new(),
            run: None,
            code_hash: None,
        };
        let mut tx = self.store().begin().await.unwrap();
        let key = format!("test/{to}");
        let number = self.deps.catalog.insert_model_version(&mut tx, &key, &version).await.unwrap();
        self.deps.catalog.promote_model(&mut tx, model, number, "champion").await.unwrap();
        tx.commit().await.unwrap();
    }
}

/// `check column` → what was said, and its value.
pub(crate) fn said(scan: &Scan) -> Vec<(String, &'static str)> {
    let name = |result: &tidemill_monitor::CheckResult| format!("{} {}", result.check, result.column);
    scan.results.iter().map(|result| (name(result).trim_end().to_owned(), result.status.as_str())).collect()
}

/// A column's figures as the scan keeps them.
pub(crate) async fn column(world: &World, monitor: &str, from: i64, name: &str) -> Json {
    let scans = world.deps.catalog.scans(monitor, None).await.unwrap();
    let scan = scans.into_iter().find(|scan| scan.from == day(from)).unwrap();
    let columns = scan.body["columns"].as_array().unwrap();
    columns.iter().find(|column| column["column"] == name).unwrap().clone()
}

fn seen(visit: &Visit) -> Row {
    let at = seen_at(visit);
    let pages = visit.pages.map_or(Value::Null, Value::Float);
    row(
        visit,
        at,
        &[
            ("page", Value::String("home".into())),
            ("pages", pages),
            ("landing", Value::String(visit.landing.into())),
        ],
    )
}

fn outcome(visit: &Visit) -> Row {
    let known = seen_at(visit) + TimeDelta::days(1);
    row(visit, known, &[("known", Value::Timestamp(known)), ("bought", Value::Bool(visit.bought))])
}

fn seen_at(visit: &Visit) -> Time {
    day(1) + TimeDelta::minutes(30 * visit.number)
}

fn row(visit: &Visit, valid_at: Time, columns: &[(&str, Value)]) -> Row {
    let system = [
        ("visit", Value::Int(visit.number)),
        ("seen_at", Value::Timestamp(seen_at(visit))),
        ("valid_at", Value::Timestamp(valid_at)),
        ("created_at", Value::Timestamp(valid_at)),
        ("seq", Value::Int(visit.number)),
        ("deleted", Value::Bool(false)),
    ];
    system.iter().chain(columns).map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

fn model_folder(outputs: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/scans/make_model.py");
    let options = python();
    let status = Command::new(options.python)
        .env("PYTHONPATH", options.package.unwrap())
        .args([script.as_path(), folder.path()])
        .arg(outputs)
        .status()
        .unwrap();
    assert!(status.success());
    folder
}

fn python() -> PyOptions {
    PyOptions {
        python: tidemill_testkit::python().unwrap(),
        package: Some(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../workers/python/src")),
        ..PyOptions::default()
    }
}

/// Webhooks of tests are on loopback.
pub(crate) fn webhooks() -> tidemill_monitor::Webhooks {
    let options = tidemill_monitor::WebhookOptions { allow: "127.0.0.1".to_owned() };
    tidemill_monitor::Webhooks::new(&options, tidemill_monitor::Secrets::default()).unwrap()
}
