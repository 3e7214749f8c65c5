//! A lake of its own for each test, and short ways to fill it.

use std::collections::BTreeSet;

use arrow::array::RecordBatch;
use indexmap::IndexMap;
use tidemill_blobs::{BlobOptions, Blobs};
use tidemill_core::Time;
use tidemill_offline::{CommitRange, Input, Lake, LakeOptions, Staged, Table, Version, View};
use tidemill_rows::{Row, batch_of, source_schema};
use tidemill_spec::{
    Column, Csv, Entity, Extra, Feature, FeatureView, HydrationRead, KeyOrigin, Meta, Newest, OnlineFeatures,
    Rule, Source, Type, Value, ViewInput,
};
use tidemill_testkit::postgres::{Database, Server, database};

pub(crate) struct World {
    pub(crate) lake: Lake,
    pub(crate) database: Database,
    pub(crate) folder: tempfile::TempDir,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(LakeOptions::default()).await
    }

    pub(crate) async fn with(options: LakeOptions) -> Self {
        let (folder, blobs) = Self::folder();
        Self::over(options, blobs, folder).await
    }

    /// With its files in some store; `folder` lives as long.
    pub(crate) async fn over(options: LakeOptions, blobs: Blobs, folder: tempfile::TempDir) -> Self {
        let open = |database: &Database| Lake::open(&options, database.pool.clone(), blobs.clone()).unwrap();
        let database = database("lake", async |database| Ok(open(database).migrate().await?)).await.unwrap();
        Self { lake: open(&database), database, folder }
    }

    /// On a server that keeps what it promised: what is measured here takes as long as it does for users.
    pub(crate) async fn durable(server: &Server) -> Self {
        let (folder, blobs) = Self::folder();
        let database = server.database().await.unwrap();
        let lake = Lake::open(&LakeOptions::default(), database.pool.clone(), blobs).unwrap();
        lake.migrate().await.unwrap();
        Self { lake, database, folder }
    }

    fn folder() -> (tempfile::TempDir, Blobs) {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(&BlobOptions::folder(folder.path())).unwrap();
        (folder, blobs)
    }

    /// Publishes a batch under a job key; without rows too.
    pub(crate) async fn publish(
        &self,
        table: &Table,
        job_key: &str,
        keys: &[String],
        batch: RecordBatch,
    ) -> Version {
        self.publish_timed(table, None, job_key, keys, batch).await
    }

    async fn publish_timed(
        &self,
        table: &Table,
        timed_by: Option<String>,
        job_key: &str,
        keys: &[String],
        batch: RecordBatch,
    ) -> Version {
        let staged = self.lake.stage(table, job_key, 0, keys, &batch.schema(), vec![batch]).await.unwrap();
        let staged = staged.map(|staged| Staged { timed_by, ..staged });
        let mut tx = self.database.pool.begin().await.unwrap();
        self.lake.publish(&mut tx, table, job_key, staged.as_slice()).await.unwrap();
        tx.commit().await.unwrap();
        let commits = self.lake.commits(table, CommitRange::upto(Version::MAX)).await.unwrap();
        commits.into_iter().find(|commit| commit.job_key == job_key).unwrap().version
    }

    /// Merges whatever files can be, however few.
    pub(crate) async fn compact(&self, table: &Table) -> usize {
        let groups = self.lake.mergeable(table, 2).await.unwrap();
        for group in &groups {
            let merged = self.lake.merge(table, group).await.unwrap().unwrap();
            let mut tx = self.database.pool.begin().await.unwrap();
            assert!(self.lake.replace(&mut tx, table, group, &merged).await.unwrap());
            tx.commit().await.unwrap();
        }
        groups.len()
    }

    /// Deletes every file that nobody reads, however young.
    pub(crate) async fn collect_garbage(&self) -> usize {
        self.lake.collect_garbage(Time::MAX_UTC, &BTreeSet::new()).await.unwrap()
    }

    pub(crate) async fn append(&self, source: &Source, job_key: &str, rows: &[Row]) -> Version {
        let batch = batch_of(&source_schema(source), rows).unwrap();
        let timed_by = Some(source.available_time.clone());
        self.publish_timed(&Table::source(&source.name), timed_by, job_key, &[], batch).await
    }

    /// Brings a row view up to a range of source commits.
    pub(crate) async fn cover(&self, view: &View, commits: CommitRange) -> Version {
        let computed = self.lake.compute_rows(view, commits, (0, 1)).await.unwrap();
        let job_key = format!("cover/{}", commits.upto);
        self.publish(&view.table(), &job_key, &view.keys(), computed.rows).await
    }
}

/// Seconds after a round moment.
pub(crate) fn at(seconds: i64) -> Time {
    Time::from_timestamp(1_370_000_000 - 1_370_000_000 % 86_400 + seconds, 0).unwrap()
}

pub(crate) fn instant(seconds: i64) -> Value {
    Value::Timestamp(at(seconds))
}

pub(crate) fn text(value: &str) -> Value {
    Value::String(value.to_owned())
}

pub(crate) fn row<const N: usize>(columns: [(&str, Value); N]) -> Row {
    columns.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

pub(crate) fn entity(name: &str, keys: &[(&str, Type)]) -> Entity {
    let keys = keys.iter().map(|(name, ty)| ((*name).to_owned(), *ty)).collect();
    Entity { name: name.to_owned(), meta: Meta::default(), keys }
}

/// A source whose every column may be null, with `happened_at` as event and available time.
pub(crate) fn source(name: &str, columns: &[(&str, Type)], unique: &[&str]) -> Source {
    let column = |ty| Column { nullable: true, ..Column::of(ty) };
    let columns = columns.iter().chain(&[("happened_at", Type::Timestamp)]);
    Source {
        name: name.to_owned(),
        meta: Meta::default(),
        columns: columns.map(|(name, ty)| ((*name).to_owned(), column(*ty))).collect(),
        event_time: "happened_at".to_owned(),
        available_time: "happened_at".to_owned(),
        created_time: None,
        deleted: None,
        unique: unique.iter().map(|name| (*name).to_owned()).collect(),
        newest: Newest::default(),
        extra: Extra::Ignore,
        csv: Csv::default(),
        stream: None,
    }
}

pub(crate) fn feature(ty: Type, rule: Rule) -> Feature {
    Feature { ty, rule, default: None }
}

pub(crate) fn view(
    name: &str,
    entity: &Entity,
    input: Result<&Source, Vec<Input>>,
    features: Vec<(&str, Feature)>,
) -> View {
    let features: IndexMap<String, Feature> =
        features.into_iter().map(|(name, feature)| (name.to_owned(), feature)).collect();
    let definition = FeatureView {
        name: name.to_owned(),
        meta: Meta::default(),
        entity: entity.name.clone(),
        input: match &input {
            Ok(source) => ViewInput::Source(source.name.clone()),
            Err(_) => ViewInput::Views(Vec::new()),
        },
        ttl: None,
        features,
        python: None,
        batch: false,
        timeout: None,
        online: OnlineFeatures::None,
        freshness: None,
        leak_allowed: false,
    };
    let (source, inputs) = match input {
        Ok(source) => (Some(source.clone()), Vec::new()),
        Err(inputs) => (None, inputs),
    };
    View { definition, entity: entity.clone(), source, inputs, version: 1 }
}

/// All of a view as the input of another, in a role if it has one. `keys`: where its own come from.
pub(crate) fn input(view: &View, role: Option<&str>, keys: Vec<KeyOrigin>) -> Input {
    let read = HydrationRead {
        view: view.name().to_owned(),
        role: role.map(str::to_owned),
        keys,
        features: view.definition.features.keys().cloned().collect(),
    };
    Input { read, view: view.clone() }
}
