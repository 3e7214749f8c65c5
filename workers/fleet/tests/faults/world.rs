//! A small shop that has lived: files came in, views are computed, a model was trained and promoted.
//!
//! It is filled once by the fleet's own jobs; each test then gets a copy of its database, objects and Redis keys.

use std::{collections::BTreeSet, fs, path::Path, process::Command, sync::Arc, time::Duration};

use anyhow::{Context as _, ensure};
use tempfile::TempDir;
use tidemill_blobs::BlobOptions;
use tidemill_catalog::CodeArchive;
use tidemill_core::{DataClock, Kind, RunId, SystemClock, Time};
use tidemill_ingest::{Accepted, FileClaim, Ingest, Limits, Start};
use tidemill_offline::{LakeOptions, Read, Table};
use tidemill_online::OnlineOptions;
use tidemill_pipeline::{Day, StartRun, Steps, start_run};
use tidemill_runtime::JobEntry;
use tidemill_spec::{LoadOptions, diagnostic::SourceFile, load_files};
use tidemill_store::{DatabaseOptions, NewJob, RunQuery, Trigger};
use tidemill_stores::{Stores, StoresOptions};
use tidemill_testkit::{
    Driver,
    faults::FaultWorld,
    postgres::{self, Database},
    redis::{self, Prefix},
};

use crate::{digest::digest, scenarios::Scenario, webhook::Webhook};

/// What the data clock shows: some visits lie ahead of it.
pub(crate) const NOW: &str = "2024-02-16T12:00:00Z";
const PROJECT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/faults/shop");

/// The shop that worlds are copies of.
pub(crate) struct Template {
    name: &'static str,
    folder: TempDir,
    redis: Prefix,
    webhook: Webhook,
}

/// A copy of the shop.
pub(crate) struct World {
    pub(crate) stores: Stores,
    pub(crate) database: Database,
    pub(crate) redis: Prefix,
    pub(crate) webhook: Webhook,
    pub(crate) folder: TempDir,
}

impl Template {
    /// Fills a shop of that name, which no other test fills.
    pub(crate) async fn fill(name: &'static str) -> anyhow::Result<Self> {
        let template = Self {
            name,
            folder: tempfile::tempdir()?,
            redis: redis::prefix().await?,
            webhook: Webhook::start().await?,
        };
        let fill = async |database: &Database| {
            let stores = open(&database.url, &template.redis, template.folder.path())?;
            fill(&stores, template.folder.path(), &template.webhook).await?;
            // The template can be copied only when nobody is connected to it.
            stores.store.pool().close().await;
            Ok(())
        };
        drop(postgres::database(name, fill).await?);
        Ok(template)
    }

    /// A copy.
    pub(crate) async fn world(&self) -> anyhow::Result<World> {
        let database = postgres::database(self.name, async |_| anyhow::bail!("it was filled before")).await?;
        let (folder, redis) = (tempfile::tempdir()?, self.redis.copy().await?);
        // Objects are never changed in place, so links are copies.
        let copied = Command::new("cp").arg("-rlT").args([self.folder.path(), folder.path()]).status()?;
        ensure!(copied.success(), "the objects could not be copied");
        self.webhook.clear();
        let stores = open(&database.url, &redis, folder.path())?;
        Ok(World { stores, database, redis, webhook: self.webhook.clone(), folder })
    }

    /// Every registered kind.
    pub(crate) async fn kinds(&self) -> anyhow::Result<BTreeSet<String>> {
        let world = self.world().await?;
        let kinds: Vec<String> = world.jobs(None).iter().map(|job| job.kind().to_string()).collect();
        let distinct: BTreeSet<String> = kinds.iter().cloned().collect();
        ensure!(kinds.len() == distinct.len(), "a kind is registered twice: {kinds:?}");
        Ok(distinct)
    }
}

impl World {
    /// The world in which a scenario's run is the next thing to happen.
    pub(crate) async fn under(self, scenario: &Scenario) -> anyhow::Result<FaultWorld> {
        let run = (scenario.before)(&self).await.context("before the fault")?;
        self.leave_only(run).await?;
        let (store, jobs) = (self.stores.store.clone(), self.jobs(Some(scenario.runs)));
        ensure!(!jobs.is_empty(), "no job of {:?}", scenario.runs);
        let world = Arc::new(self);
        let seen = Arc::clone(&world);
        let digest = move || -> futures::future::BoxFuture<'static, _> {
            let world = Arc::clone(&seen);
            Box::pin(async move { digest(&world).await })
        };
        Ok(FaultWorld { store, jobs, run, digest: Box::new(digest), keep: Box::new(world) })
    }

    /// The fleet's jobs; where kinds are named, those alone.
    pub(crate) fn jobs(&self, kinds: Option<&[&str]>) -> Vec<JobEntry> {
        let named = |job: &JobEntry| kinds.is_none_or(|kinds| kinds.contains(&job.kind().as_str()));
        tidemill_fleet::jobs(&self.stores, &webhooks()).into_iter().filter(named).collect()
    }

    pub(crate) async fn enqueue(&self, job: NewJob) -> anyhow::Result<RunId> {
        let mut tx = self.stores.store.begin().await?;
        let enqueued = self.stores.store.enqueue(&mut tx, job).await?;
        tx.commit().await?;
        Ok(enqueued.run)
    }

    /// A file that the next scenario may name.
    pub(crate) fn file(&self, name: &str, text: &str) -> anyhow::Result<String> {
        let path = self.folder.path().join(name);
        fs::write(&path, text)?;
        Ok(path.display().to_string())
    }

    /// Uploads rows, cut into chunks of two, and returns the run that ingests them.
    pub(crate) async fn upload(&self, source: &str, csv: &str) -> anyhow::Result<RunId> {
        upload(&self.stores, self.folder.path(), source, csv, 2).await?.run.context("a run")
    }

    /// Publishes some rows of a source again, each as a file of its own.
    pub(crate) async fn scatter(&self, source: &str) -> anyhow::Result<Table> {
        let (table, lake) = (Table::source(source), &self.stores.lake);
        let rows = lake.read(&Read::all(table.clone(), lake.head().await?)).await?;
        let mut staged = Vec::new();
        for number in 0..8 {
            let row = rows.slice(number as usize, 1);
            staged.extend(lake.stage(&table, "scattered", number, &[], &row.schema(), vec![row]).await?);
        }
        let mut tx = self.stores.store.begin().await?;
        lake.publish(tx.conn(), &table, "scattered", &staged).await?;
        tx.commit().await?;
        Ok(table)
    }

    /// What was written to the lake, or replaced in it, was so two days ago.
    pub(crate) async fn age_lake(&self) -> anyhow::Result<()> {
        sqlx::query("UPDATE lake.lake_file SET ended_at = ended_at - interval '2 days'")
            .execute(&self.database.pool)
            .await?;
        for object in self.stores.blobs.list("lake").await? {
            let written = object.modified_at - Duration::from_hours(48);
            let file = fs::File::options().append(true).open(self.stores.blobs.fetch(&object.path).await?)?;
            file.set_modified(written.into())?;
        }
        Ok(())
    }

    /// Applies the project with a changed declaration.
    pub(crate) async fn apply(&self, from: &str, to: &str) -> anyhow::Result<()> {
        apply(&self.stores, &self.webhook, |yaml| yaml.replace(from, to)).await
    }

    /// Runs everything of the named kinds, without any fault.
    pub(crate) async fn drive(&self, kinds: &[&str]) -> anyhow::Result<()> {
        drive(&self.stores, self.jobs(Some(kinds))).await
    }

    /// The run of the only waiting job of a kind.
    pub(crate) async fn waiting(&self, kind: &Kind) -> anyhow::Result<RunId> {
        let query = RunQuery { pipeline: Some(kind.to_string()), ..all() };
        let runs = self.stores.store.runs(&query).await?;
        let open: Vec<RunId> = runs.iter().filter(|run| !run.state.is_final()).map(|run| run.id).collect();
        ensure!(open.len() == 1, "{} jobs of {kind} wait", open.len());
        Ok(open[0])
    }

    /// What else waits is not this test's.
    async fn leave_only(&self, wanted: RunId) -> anyhow::Result<()> {
        for run in self.stores.store.runs(&all()).await? {
            if run.id != wanted && !run.state.is_final() {
                self.stores.store.cancel_run(run.id, "not in this test").await?;
            }
        }
        Ok(())
    }
}

fn all() -> RunQuery {
    RunQuery { state: None, pipeline: None, all: true, finished_since: None, limit: 1000 }
}

fn open(url: &str, redis: &Prefix, folder: &Path) -> anyhow::Result<Stores> {
    let unpacked = folder.join("unpacked");
    fs::create_dir_all(&unpacked)?;
    Stores::open(&StoresOptions {
        // One connection: a job that needs a second while it has a transaction open would wait for ever here, and under
        // load anywhere.
        database: DatabaseOptions { url: url.to_owned(), max_connections: 1 },
        redis: OnlineOptions::new(&redis.url, &redis.prefix),
        blobs: BlobOptions::folder(folder.join("blobs")),
        lake: LakeOptions::default(),
        python: tidemill_testkit::python()?,
        python_package: Some(Path::new(env!("CARGO_MANIFEST_DIR")).join("../python/src")),
        unpacked,
    })
}

async fn fill(stores: &Stores, folder: &Path, webhook: &Webhook) -> anyhow::Result<()> {
    stores.migrate().await?;
    apply(stores, webhook, |yaml| yaml).await?;
    upload(stores, folder, "visits", &visits(0..40), 20).await?;
    upload(stores, folder, "orders", &orders(40), 20).await?;
    drive(stores, tidemill_fleet::jobs(stores, &webhooks())).await?;
    let day = Day::Date("2024-02-10".parse()?);
    let train = StartRun {
        pipeline: "train".to_owned(),
        params: serde_json::Map::new(),
        day,
        trigger: Trigger::Manual,
        key: None,
    };
    let mut tx = stores.store.begin().await?;
    start_run(&stores.catalog, &mut tx, &train).await?;
    tx.commit().await?;
    drive(stores, tidemill_fleet::jobs(stores, &webhooks())).await
}

async fn apply(stores: &Stores, webhook: &Webhook, change: impl Fn(String) -> String) -> anyhow::Result<()> {
    let read = |name: &str| fs::read_to_string(Path::new(PROJECT).join(name));
    let code = CodeArchive::of(&tidemill_spec::load(Path::new(PROJECT))?.files);
    let shop = change(read("shop.yaml")?.replace("WEBHOOK", &webhook.url));
    let yaml = [("tidemill.yaml", read("tidemill.yaml")?), ("shop.yaml", shop)];
    let python = code.files.iter().map(|(path, text)| (path.as_str(), text.clone()));
    let files = yaml.into_iter().chain(python);
    let files = files.map(|(path, text)| SourceFile { path: path.to_owned(), text }).collect();
    let loaded = load_files(files, &LoadOptions::default());
    ensure!(!loaded.failed(), "{:#?}", loaded.diagnostics);
    code.store(&stores.blobs).await?;
    let now: Time = NOW.parse()?;
    let clock = DataClock::Replay { start: now, speed: 0.0, anchored_at: now };
    let mut tx = stores.store.begin().await?;
    stores.store.set_data_clock(&mut tx, clock).await?;
    stores.catalog.apply(&mut tx, &loaded.objects, &code, now).await?;
    tx.commit().await?;
    Ok(())
}

async fn upload(
    stores: &Stores,
    folder: &Path,
    source: &str,
    csv: &str,
    chunk_rows: u64,
) -> anyhow::Result<Accepted> {
    let Stores { catalog, lake, blobs, .. } = stores.clone();
    let limits = Limits { chunk_rows, ..Limits::default() };
    let ingest = Ingest::new(catalog, lake, blobs, Arc::new(SystemClock), limits);
    let file = folder.join("upload.csv");
    fs::write(&file, csv)?;
    let claim = FileClaim {
        source: source.to_owned(),
        format: "csv".to_owned(),
        sha256: tidemill_blobs::BlobRef::of(csv.as_bytes()).to_string(),
        size_bytes: csv.len() as u64,
        file_name: format!("{source}.csv"),
        force: false,
    };
    Ok(ingest.accept(&claim, &file, Start::Run).await?)
}

async fn drive(stores: &Stores, jobs: Vec<JobEntry>) -> anyhow::Result<()> {
    Driver::with_prepare(&stores.store, jobs, Arc::new(Steps)).until_idle().await?;
    let runs = stores.store.runs(&all()).await?;
    let failed: Vec<_> = runs.iter().filter_map(|run| Some((&run.pipeline, run.fault.as_ref()?))).collect();
    ensure!(failed.is_empty(), "{failed:#?}");
    Ok(())
}

/// Visits of four shoppers, one a day; every eighth without a landing page.
pub(crate) fn visits(numbers: std::ops::Range<u32>) -> String {
    let line = |n: u32| {
        let landing = if n % 8 == 7 { "" } else { "search" };
        format!("{n},{},{},{},{landing}\n", shopper(n), day(n, 9), n * 7 % 10)
    };
    format!("visit,shopper,seen_at,pages,landing\n{}", numbers.map(line).collect::<String>())
}

/// What they bought, an hour later; known a day after.
fn orders(count: u32) -> String {
    let line = |n: u32| format!("{},{},{},{}\n", shopper(n), day(n, 10), day(n + 1, 10), n * 7 % 10 > 5);
    format!("shopper,seen_at,known,bought\n{}", (0..count).map(line).collect::<String>())
}

fn shopper(n: u32) -> char {
    char::from(b"abcd"[n as usize % 4])
}

/// An hour of the nth day of the year.
fn day(n: u32, hour: u32) -> String {
    format!("2024-{:02}-{:02}T{hour:02}:00:00Z", 1 + n / 28, 1 + n % 28)
}

/// Webhooks of tests are on loopback.
fn webhooks() -> tidemill_monitor::Webhooks {
    let options = tidemill_monitor::WebhookOptions { allow: "127.0.0.1".to_owned() };
    tidemill_monitor::Webhooks::new(&options, tidemill_monitor::Secrets::default()).unwrap()
}
