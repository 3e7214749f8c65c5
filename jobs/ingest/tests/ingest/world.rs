//! A world of its own for each test: database, object store, lake, one source that a view reads.

use std::{fmt::Write as _, path::PathBuf, sync::Arc};

use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tidemill_blobs::{BlobOptions, Blobs};
use tidemill_catalog::{Catalog, CodeArchive};
use tidemill_core::{DataClock, SystemClock, Time};
use tidemill_ingest::{Accepted, DeadLetter, Error, FileClaim, Ingest, Limits, Place, Start, jobs};
use tidemill_offline::{Lake, LakeOptions, Table};
use tidemill_rows::{json_rows, parquet};
use tidemill_runtime::JobEntry;
use tidemill_spec::{LoadOptions, Objects, diagnostic::SourceFile, load_files};
use tidemill_testkit::{Engine, engine_with, run_until_idle};

/// What the data clock shows.
pub(crate) const NOW: &str = "2013-06-01T00:00:00Z";

pub(crate) const PROJECT: &str = r"
apiVersion: tidemill/v1
kind: Project
name: test
---
apiVersion: tidemill/v1
kind: Entity
name: airport
keys: { origin: string }
---
apiVersion: tidemill/v1
kind: Source
name: weather
columns:
  origin: string
  observed_at: timestamp
  hour: { type: int, nullable: true }
  temp: { type: float, nullable: true, min: -60, max: 140 }
  windy: { type: bool, nullable: true }
  day: { type: date, nullable: true }
event_time: observed_at
---
apiVersion: tidemill/v1
kind: FeatureView
name: weather_now
entity: airport
source: weather
features: { temp: float }
";

pub(crate) struct World {
    pub(crate) engine: Engine,
    pub(crate) catalog: Catalog,
    pub(crate) lake: Lake,
    pub(crate) blobs: Blobs,
    pub(crate) ingest: Ingest,
    folder: TempDir,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with_chunks_of(50_000).await
    }

    pub(crate) async fn with_chunks_of(chunk_rows: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(&BlobOptions::folder(folder.path())).unwrap();
        let all = blobs.clone();
        let engine = engine_with("ingest", async |store| {
            Catalog::new(store.clone()).migrate().await?;
            Lake::open(&LakeOptions::default(), store.pool().clone(), all.clone())?.migrate().await?;
            Ok(())
        })
        .await
        .unwrap();
        let store = engine.store.clone();
        let catalog = Catalog::new(store.clone());
        let lake = Lake::open(&LakeOptions::default(), store.pool().clone(), blobs.clone()).unwrap();
        let limits = Limits { chunk_rows, ..Limits::default() };
        let ingest = Ingest::new(catalog.clone(), lake.clone(), blobs.clone(), Arc::new(SystemClock), limits);
        let world = Self { engine, catalog, lake, blobs, ingest, folder };
        world.apply(PROJECT).await;
        let start = NOW.parse().unwrap();
        let mut tx = world.engine.store.begin().await.unwrap();
        let clock = DataClock::Replay { start, speed: 0.0, anchored_at: start };
        world.engine.store.set_data_clock(&mut tx, clock).await.unwrap();
        tx.commit().await.unwrap();
        world
    }

    pub(crate) async fn apply(&self, yaml: &str) {
        let mut tx = self.engine.store.begin().await.unwrap();
        let now: Time = NOW.parse().unwrap();
        self.catalog.apply(&mut tx, &objects(yaml), &CodeArchive::default(), now).await.unwrap();
        tx.commit().await.unwrap();
    }

    pub(crate) fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// Uploads a file to `weather`.
    pub(crate) async fn upload(&self, name: &str, bytes: impl AsRef<[u8]>) -> Result<Accepted, Error> {
        self.claim(name, bytes, false).await
    }

    pub(crate) async fn claim(
        &self,
        name: &str,
        bytes: impl AsRef<[u8]>,
        force: bool,
    ) -> Result<Accepted, Error> {
        self.send("weather", name, bytes, force).await
    }

    pub(crate) async fn send(
        &self,
        source: &str,
        name: &str,
        bytes: impl AsRef<[u8]>,
        force: bool,
    ) -> Result<Accepted, Error> {
        let path = self.file(name, bytes.as_ref());
        let sha256 = Sha256::digest(bytes.as_ref()).iter().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").unwrap();
            hex
        });
        let claim = FileClaim {
            source: source.to_owned(),
            format: name.rsplit('.').next().unwrap().to_owned(),
            sha256,
            size_bytes: bytes.as_ref().len() as u64,
            file_name: name.to_owned(),
            force,
        };
        self.ingest.accept(&claim, &path, Start::Run).await
    }

    pub(crate) fn jobs(&self) -> Vec<JobEntry> {
        jobs::jobs(&self.ingest)
    }

    pub(crate) async fn settle(&self) {
        run_until_idle(&self.engine.store, self.jobs()).await.unwrap();
    }

    /// Rows of a table as JSON lines, in the order of their `seq`.
    pub(crate) async fn rows(&self, table: Table) -> Vec<serde_json::Map<String, serde_json::Value>> {
        let head = self.lake.head().await.unwrap();
        let mut rows = Vec::new();
        for file in self.lake.files(&table, head).await.unwrap() {
            let bytes = self.blobs.get_at(&file.path).await.unwrap();
            rows.extend(json_rows(&parquet::read(bytes).unwrap()).unwrap());
        }
        rows.sort_by_key(|row| (row["seq"].as_i64(), row["created_at"].to_string()));
        rows
    }

    /// All that a person can see of the source, without ids.
    pub(crate) async fn digest(&self) -> String {
        let rows = self.rows(Table::source("weather")).await;
        let dead = self.ingest.dead_letters("weather", 1000).await.unwrap();
        let dead: Vec<_> = dead
            .iter()
            .map(|letter| format!("{} {} {}", row_of(letter), letter.reason, letter.raw))
            .collect();
        let summary = self.catalog.source_summary("weather").await.unwrap();
        let counts = (summary.uploads, summary.rows, summary.dead_letters, summary.newest_event_at);
        let rows: Vec<_> = rows.into_iter().map(|row| serde_json::Value::from(row).to_string()).collect();
        format!("{counts:?}\n{}\n{}", rows.join("\n"), dead.join("\n"))
    }
}

/// The row of a dead letter of a file.
pub(crate) fn row_of(letter: &DeadLetter) -> i64 {
    match letter.place {
        Place::File { row, .. } => row,
        Place::Record { .. } => panic!("{letter:?} is of a file"),
    }
}

/// Its line.
pub(crate) fn line_of(letter: &DeadLetter) -> Option<i64> {
    match letter.place {
        Place::File { line, .. } => line,
        Place::Record { .. } => panic!("{letter:?} is of a file"),
    }
}

pub(crate) fn objects(yaml: &str) -> Objects {
    let file = SourceFile { path: "tidemill.yaml".to_owned(), text: yaml.to_owned() };
    let loaded = load_files(vec![file], &LoadOptions::default());
    assert!(loaded.diagnostics.is_empty(), "{:?}", loaded.diagnostics);
    loaded.objects
}
