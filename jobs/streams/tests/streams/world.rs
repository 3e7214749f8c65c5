//! A world of its own for each test: database, lake, topic, a source that reads it, gateways that come and go.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use serde_json::Value as Json;
use tempfile::TempDir;
use tidemill_blobs::{BlobOptions, Blobs};
use tidemill_catalog::{Catalog, CodeArchive, StreamPartition};
use tidemill_core::{DataClock, JobError, RunId, SystemClock, Time};
use tidemill_ingest::{Ingest, Limits};
use tidemill_offline::{Lake, LakeOptions, Table};
use tidemill_rows::{json_rows, parquet};
use tidemill_runtime::{Fire, Maintenance, MaintenanceOptions, Worker, WorkerOptions};
use tidemill_spec::{LoadOptions, Objects, diagnostic::SourceFile, load_files};
use tidemill_store::{ScheduleRow, Tx};
use tidemill_streams::{KafkaOptions, Streams};
use tidemill_testkit::{Engine, engine_with, kafka::Topic};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

/// What the data clock shows.
pub(crate) const NOW: &str = "2024-06-01T00:00:00Z";

pub(crate) struct World {
    pub(crate) engine: Engine,
    pub(crate) catalog: Catalog,
    pub(crate) lake: Lake,
    pub(crate) ingest: Ingest,
    pub(crate) topic: Topic,
    blobs: Blobs,
    _folder: TempDir,
    _maintenance: AbortOnDropHandle<()>,
}

/// There are no schedules.
struct Nothing;

impl Fire for Nothing {
    fn fire<'a>(
        &'a self,
        _tx: &'a mut Tx,
        _schedule: &'a ScheduleRow,
        _at: Time,
    ) -> BoxFuture<'a, Result<Option<RunId>, JobError>> {
        Box::pin(async { Ok(None) })
    }
}

/// A gateway's part; dropped, it ends as by `kill -9`.
pub(crate) struct Gateway {
    stop: CancellationToken,
    tasks: Vec<AbortOnDropHandle<()>>,
}

impl World {
    pub(crate) async fn new(partitions: i32) -> Self {
        Self::over(Topic::fresh(partitions).await.unwrap()).await
    }

    pub(crate) async fn over(topic: Topic) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(&BlobOptions::folder(folder.path())).unwrap();
        let all = blobs.clone();
        let engine = engine_with("streams", async |store| {
            Catalog::new(store.clone()).migrate().await?;
            Lake::open(&LakeOptions::default(), store.pool().clone(), all.clone())?.migrate().await?;
            Ok(())
        })
        .await
        .unwrap();
        let store = engine.store.clone();
        let catalog = Catalog::new(store.clone());
        let lake = Lake::open(&LakeOptions::default(), store.pool().clone(), blobs.clone()).unwrap();
        let clock = Arc::new(SystemClock);
        let ingest = Ingest::new(catalog.clone(), lake.clone(), blobs.clone(), clock, Limits::default());
        let options = MaintenanceOptions { every: Duration::from_millis(200), grace: Duration::ZERO };
        let maintenance = Maintenance::new(store.clone(), options, Arc::new(Nothing));
        let maintenance = tokio::spawn(maintenance.run(CancellationToken::new()));
        let world = Self {
            engine,
            catalog,
            lake,
            ingest,
            topic,
            blobs,
            _folder: folder,
            _maintenance: AbortOnDropHandle::new(maintenance),
        };
        world.declare("").await;
        let start = NOW.parse().unwrap();
        let mut tx = world.engine.store.begin().await.unwrap();
        let clock = DataClock::Replay { start, speed: 0.0, anchored_at: start };
        world.engine.store.set_data_clock(&mut tx, clock).await.unwrap();
        tx.commit().await.unwrap();
        world
    }

    /// Declares the source, with something more of its stream.
    pub(crate) async fn declare(&self, more: &str) {
        self.apply(&self.yaml(more)).await;
    }

    pub(crate) fn yaml(&self, more: &str) -> String {
        PROJECT.replace("{topic}", &self.topic.name).replace("{more}", more)
    }

    /// How many rows are in the lake.
    pub(crate) async fn rows_in_lake(&self) -> i64 {
        self.partitions().await.iter().map(|of| of.rows).sum()
    }

    pub(crate) async fn apply(&self, yaml: &str) {
        let mut tx = self.engine.store.begin().await.unwrap();
        let now: Time = NOW.parse().unwrap();
        self.catalog.apply(&mut tx, &objects(yaml), &CodeArchive::default(), now).await.unwrap();
        tx.commit().await.unwrap();
    }

    pub(crate) fn gateway(&self) -> Gateway {
        let options = KafkaOptions { brokers: self.topic.brokers.clone(), config_file: None };
        let streams = Streams::new(self.ingest.clone(), self.catalog.clone(), options, "gateway".to_owned());
        let options = WorkerOptions {
            lease: Duration::from_secs(3),
            heartbeat: Duration::from_millis(200),
            ..WorkerOptions::default()
        };
        let worker = Worker::new(self.engine.store.clone(), options, streams.jobs(), Arc::new(()));
        let (adopter, stop) = (worker.adopter(), CancellationToken::new());
        let works = worker.run(stop.clone());
        let tasks = vec![
            AbortOnDropHandle::new(tokio::spawn(async move { works.await.unwrap() })),
            AbortOnDropHandle::new(tokio::spawn(streams.run(adopter, stop.clone()))),
        ];
        Gateway { stop, tasks }
    }

    pub(crate) async fn partitions(&self) -> Vec<StreamPartition> {
        self.catalog.stream_partitions("events").await.unwrap()
    }

    /// Waits until so many records are behind us.
    pub(crate) async fn reached(&self, records: i64) {
        soon(async || {
            let partitions = self.partitions().await;
            partitions.iter().map(|of| of.rows + of.dead_letters).sum::<i64>() == records
        })
        .await;
    }

    /// Rows of the source as JSON, in the order of their `seq`.
    pub(crate) async fn rows(&self) -> Vec<serde_json::Map<String, Json>> {
        let head = self.lake.head().await.unwrap();
        let mut rows = Vec::new();
        for file in self.lake.files(&Table::source("events"), head).await.unwrap() {
            let bytes = self.blobs.get_at(&file.path).await.unwrap();
            rows.extend(json_rows(&parquet::read(bytes).unwrap()).unwrap());
        }
        rows.sort_by_key(|row| row["seq"].as_i64());
        rows
    }

    /// Rows by what their column `n` says.
    pub(crate) async fn counted(&self) -> BTreeMap<i64, usize> {
        let mut counts = BTreeMap::new();
        for row in self.rows().await {
            *counts.entry(row["n"].as_i64().unwrap()).or_default() += 1;
        }
        counts
    }

    /// Dead letters as `place reason raw`, in order.
    pub(crate) async fn dead(&self) -> Vec<String> {
        let letters = self.ingest.dead_letters("events", 1_000).await.unwrap();
        let told = letters.iter().map(|letter| {
            let place = serde_json::to_value(&letter.place).unwrap();
            format!("{}:{} {} {}", place["partition"], place["offset"], letter.reason, letter.raw)
        });
        let mut told: Vec<_> = told.collect();
        told.sort();
        told
    }
}

impl Gateway {
    /// Lets it end in order.
    pub(crate) async fn drain(mut self) {
        self.stop.cancel();
        for task in self.tasks.drain(..) {
            task.await.unwrap();
        }
    }
}

const PROJECT: &str = "
apiVersion: tidemill/v1
kind: Project
name: test
---
apiVersion: tidemill/v1
kind: Source
name: events
columns:
  user_id: int
  n: { type: int, nullable: true, max: 1000000 }
  at: timestamp
  gone: { type: bool, nullable: true }
event_time: at
deleted: gone
stream: { topic: {topic}, key: user_id, batch: { rows: 50, every: 20ms } {more} }
";

pub(crate) fn objects(yaml: &str) -> Objects {
    let file = SourceFile { path: "tidemill.yaml".to_owned(), text: yaml.to_owned() };
    let loaded = load_files(vec![file], &LoadOptions::default());
    assert!(loaded.diagnostics.is_empty(), "{:?}", loaded.diagnostics);
    loaded.objects
}

pub(crate) async fn soon(mut asked: impl AsyncFnMut() -> bool) {
    let waits = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        while !asked().await {
            ticks.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_mins(2), waits).await.expect("in time");
}
