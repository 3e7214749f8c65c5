//! `entity.erase`: takes away the rows of one entity wherever they are, at every version, so that nothing brings them back.
//!
//! In this order. Files of the lake, in the order in which rows are computed from rows: whoever has read a file of before
//! can't commit what follows from it, so what is clean stays clean. Files that were uploaded. Values in Redis, by a job for
//! each view: one at a time works on a view, so none writes what it read before. Views of other entities that counted the
//! rows are filled anew. Training sets are flagged: they stay as they were trained on.
//!
//! Safe to repeat: what is gone isn't found again, and what a file was replaced by is kept with the checkpoint until the
//! file is deleted. There is no day of grace: a reader that has a file in hand fails, and reads the new one when it tries
//! again.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};
use tidemill_catalog::{Upload, ViewState, ViewVersion};
use tidemill_core::{DatasetId, Fault, JobError, Kind, RunId, RunState};
use tidemill_features::{computed_from, forget_new, reset, tables_of};
use tidemill_offline::{Sought, Table, upload::StreamPlace};
use tidemill_rows::prediction_log::{REFUSED, SEGMENTS, model_of};
use tidemill_runtime::{Context, Job, Outcome, job_new};
use tidemill_spec::{
    Entity, Value,
    args::{PREDICTIONS_INGEST, PredictionsIngest},
};
use tidemill_store::{NewJob, Tx};

use crate::{Deps, Error};

/// Kind of [`EraseJob`].
const ENTITY_ERASE: Kind = Kind::new("entity.erase");
/// Between two looks at what must end first.
const SNOOZE: TimeDelta = TimeDelta::seconds(1);

/// Which entity. Stored in the queue: fields are only ever added, with a default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntityErase {
    /// The entity as declared.
    entity: String,
    /// Its key columns with their values.
    key: Map<String, Json>,
}

/// What is done so far. Stored as the checkpoint: fields are only ever added, with a default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Uploads up to this place came before; what comes later is new.
    uploads_upto: i64,
    /// Segments of prediction logs that were there at first: they came before.
    #[serde(default)]
    awaited: Vec<String>,
    /// Tables of which no file holds a row of the entity any more.
    tables: BTreeSet<Table>,
    /// Rows that went, by table.
    rows: BTreeMap<Table, i64>,
    /// Files that others stand for: to be deleted.
    replaced: Vec<String>,
    /// What takes the values out of Redis; none until that is asked for.
    forgetting: Option<Vec<RunId>>,
    /// Training sets that hold the entity.
    datasets: Vec<DatasetId>,
}

/// What an erasure will touch.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct EraseScope {
    /// The entity.
    pub entity: String,
    /// Its key.
    pub key: Map<String, Json>,
    /// Rows that the newest version of the lake has, by table.
    pub tables: BTreeMap<Table, i64>,
    /// Rows in files that only older versions read.
    pub old_rows: i64,
    /// Uploads whose files go: they were of sources that name the entity.
    pub uploads: usize,
    /// Uploads that are not in the lake and not under way: they go, and have to be sent again.
    pub uploads_failed: usize,
    /// Views of which the values of the entity go from Redis.
    pub online: Vec<String>,
    /// Views of other entities that counted the rows: they are filled anew.
    pub refilled: Vec<String>,
    /// Training sets that hold rows of the entity, with the models that were trained on them: they are flagged, and stay.
    pub datasets: Vec<Trained>,
}

/// A training set that holds rows of the entity.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Trained {
    /// The training set.
    pub dataset: DatasetId,
    /// Rows of the entity.
    pub rows: i64,
    /// Versions of models that were trained on it, `NAME@VERSION`.
    pub models: Vec<String>,
}

/// The entity, and where to look for it.
struct Search {
    sought: Sought,
    /// Uploads of sources that name the entity, newest first.
    uploads: Vec<Upload>,
    /// Versions of all views.
    versions: Vec<ViewVersion>,
    /// Tables of the lake, rows before what is computed from them.
    tables: Vec<Table>,
}

/// The job.
#[derive(Debug)]
pub struct EraseJob {
    deps: Deps,
}

impl EraseJob {
    /// With what it needs.
    pub fn new(deps: Deps) -> Self {
        Self { deps }
    }
}

impl Job for EraseJob {
    type Args = EntityErase;
    type Checkpoint = Progress;
    const KIND: Kind = ENTITY_ERASE;

    async fn run(&self, args: &EntityErase, cx: &mut Context<Progress>) -> Result<Outcome, JobError> {
        if cx.checkpoint().is_none() {
            let uploads_upto = self.deps.catalog.newest_upload().await.map_err(Error::from)?;
            let segments = self.deps.blobs.list(SEGMENTS).await.map_err(Error::from)?;
            let awaited = segments.into_iter().map(|segment| segment.path).collect();
            cx.save_checkpoint(Progress { uploads_upto, awaited, ..Progress::default() }).await?;
        }
        self.wait_for_uploads(cx).await?;
        self.wait_for_logs(cx).await?;
        let search = self.deps.search(args).await?;
        for table in &search.tables {
            self.erase_from(table, &search.sought, cx).await?;
        }
        self.delete_uploads(&search, cx).await?;
        self.start_over(args, &search, cx).await?;
        self.wait_for_redis(cx).await?;
        let progress = cx.checkpoint().cloned().unwrap_or_default();
        let rows: i64 = progress.rows.values().sum();
        cx.log(format!("{rows} rows of {} tables are gone", progress.rows.len()));
        Ok(Outcome::Completed(
            json!({ "rows": rows, "tables": progress.rows, "datasets": progress.datasets }),
        ))
    }
}

impl EraseJob {
    /// Notes that rows of a source are gone, with what they came: by ordinal of uploads, or as streams number theirs.
    async fn count_off(&self, tx: &mut Tx, table: &Table, gone: &[(i64, i64)]) -> Result<(), Error> {
        let Some(source) = table.as_str().strip_prefix("source/") else { return Ok(()) };
        let (mut streamed, mut uploaded) = (Vec::new(), Vec::new());
        for &(ordinal, rows) in gone {
            match StreamPlace::of_ordinal(ordinal) {
                Some(place) => streamed.push((place.partition, place.generation, rows)),
                None => uploaded.push((ordinal, rows)),
            }
        }
        let catalog = &self.deps.catalog;
        catalog.erase_rows(tx, &uploaded).await?;
        Ok(catalog.erase_stream_rows(tx, source, &streamed).await?)
    }

    /// What was accepted before is in the lake, or its ingest has ended.
    async fn wait_for_uploads(&self, cx: &Context<Progress>) -> Result<(), JobError> {
        let upto = cx.checkpoint().map_or(0, |progress| progress.uploads_upto);
        let under_way = self.deps.catalog.uploads_under_way(upto).await.map_err(Error::from)?;
        if under_way == 0 {
            return Ok(());
        }
        let reason = format!("waits for {under_way} uploads that were accepted before");
        Err(JobError::Snooze { until: cx.clock().now() + SNOOZE, reason })
    }

    /// Predictions that serving had shipped before are in the lake, where they are found.
    async fn wait_for_logs(&self, cx: &mut Context<Progress>) -> Result<(), JobError> {
        let mut progress = cx.checkpoint().cloned().unwrap_or_default();
        if progress.awaited.is_empty() {
            return Ok(());
        }
        let mut waiting = self.deps.blobs.list(SEGMENTS).await.map_err(Error::from)?;
        waiting.retain(|segment| progress.awaited.contains(&segment.path));
        progress.awaited = waiting.iter().map(|segment| segment.path.clone()).collect();
        if waiting.is_empty() {
            return cx.save_checkpoint(progress).await;
        }
        let models: BTreeSet<&str> = waiting.iter().filter_map(|segment| model_of(&segment.path)).collect();
        let ingests: Vec<NewJob> = models.into_iter().map(|model| ingest_new(model.to_owned())).collect();
        let mut tx = cx.begin().await?;
        cx.enqueue(&mut tx, &ingests).await?;
        cx.commit_checkpoint(tx, progress).await?;
        let reason = format!("waits for {} segments of prediction logs", waiting.len());
        Err(JobError::Snooze { until: cx.clock().now() + SNOOZE, reason })
    }

    /// Every file of a table that holds rows of the entity is replaced by one that doesn't, and deleted.
    async fn erase_from(
        &self,
        table: &Table,
        sought: &Sought,
        cx: &mut Context<Progress>,
    ) -> Result<(), JobError> {
        let lake = &self.deps.lake;
        let mut clean: BTreeSet<String> = BTreeSet::new();
        if cx.checkpoint().is_some_and(|progress| progress.tables.contains(table)) {
            return Ok(());
        }
        loop {
            // Until there is nothing new: a merge may have taken rows into another file meanwhile.
            let mut files = lake.files_ever(table).await.map_err(Error::from)?;
            files.retain(|(file, _)| !clean.contains(&file.path));
            if files.is_empty() {
                break;
            }
            for (file, live) in files {
                clean.insert(file.path.clone());
                let found = lake.holding(table, (file, live), sought).await.map_err(Error::from)?;
                let Some(holding) = found else { continue };
                let without = lake.without(table, &holding.file, sought).await.map_err(Error::from)?;
                let mut progress = cx.checkpoint().cloned().unwrap_or_default();
                progress.replaced.push(holding.file.path.clone());
                if holding.live {
                    *progress.rows.entry(table.clone()).or_default() += holding.rows;
                }
                let mut tx = cx.begin().await?;
                let swapped = lake.swap(tx.conn(), table, &holding.file, without.as_ref()).await;
                if !swapped.map_err(Error::from)? {
                    // Somebody merged it meanwhile, or collected it: the next look finds what stands for it.
                    continue;
                }
                if holding.live {
                    self.count_off(&mut tx, table, &holding.by_upload).await?;
                }
                cx.commit_checkpoint(tx, progress).await?;
                lake.delete_file(&holding.file.path).await.map_err(Error::from)?;
            }
        }
        let mut progress = cx.checkpoint().cloned().unwrap_or_default();
        // Whoever died between a replacement and the deletion left the file.
        for path in &progress.replaced {
            lake.delete_file(path).await.map_err(Error::from)?;
        }
        progress.replaced.clear();
        progress.tables.insert(table.clone());
        cx.save_checkpoint(progress).await
    }

    /// Nothing reads the file of an upload that is in the lake. One that failed may hold the entity: it goes as a whole.
    async fn delete_uploads(&self, search: &Search, cx: &Context<Progress>) -> Result<(), JobError> {
        let upto = cx.checkpoint().map_or(0, |progress| progress.uploads_upto);
        for upload in search.uploads.iter().filter(|upload| upload.ordinal <= upto) {
            self.deps.blobs.delete_at(&tidemill_ingest::kept_at(upload)).await.map_err(Error::from)?;
        }
        // What the lake could not take may hold it, too.
        for segment in self.deps.blobs.list(REFUSED).await.map_err(Error::from)? {
            self.deps.blobs.delete_at(&segment.path).await.map_err(Error::from)?;
        }
        let sources: BTreeSet<&str> = search.uploads.iter().map(|upload| upload.source.as_str()).collect();
        for source in sources {
            for part in self.deps.blobs.list(&format!("staging/{source}")).await.map_err(Error::from)? {
                self.deps.blobs.delete_at(&part.path).await.map_err(Error::from)?;
            }
        }
        Ok(())
    }

    /// Flags training sets, starts the views over that counted the rows of others, and asks for what takes the values out of
    /// Redis.
    async fn start_over(
        &self,
        args: &EntityErase,
        search: &Search,
        cx: &mut Context<Progress>,
    ) -> Result<(), JobError> {
        let Deps { catalog, lake, .. } = &self.deps;
        let mut progress = cx.checkpoint().cloned().unwrap_or_default();
        if progress.forgetting.is_some() {
            return Ok(());
        }
        let trained = self.deps.trained(&search.sought).await?;
        progress.datasets = trained.iter().map(|trained| trained.dataset).collect();
        let mut tx = cx.begin().await?;
        catalog.lock_objects(&mut tx).await.map_err(Error::from)?;
        let versions = catalog.view_versions_in(&mut tx).await.map_err(Error::from)?;
        let others = others(&versions, &search.sought, progress.rows.keys());
        let tables = tables_of(&versions, &others);
        let fills = reset((catalog, lake), &mut tx, &tables, &others, &cx.job().to_string()).await;
        let fills = fills.map_err(Error::from)?;
        catalog
            .remove_failed_uploads(&mut tx, &search.sources(), progress.uploads_upto)
            .await
            .map_err(Error::from)?;
        catalog.flag_datasets(&mut tx, &progress.datasets).await.map_err(Error::from)?;
        let views = views_of(&versions, &search.sought);
        let forgets: Vec<NewJob> = views.iter().map(|view| forget_new(view, &args.key)).collect();
        let asked = cx.enqueue(&mut tx, &forgets).await?;
        cx.enqueue(&mut tx, &fills).await?;
        progress.forgetting = Some(asked.iter().map(|enqueued| enqueued.run).collect());
        cx.commit_checkpoint(tx, progress).await
    }

    async fn wait_for_redis(&self, cx: &Context<Progress>) -> Result<(), JobError> {
        let asked = cx.checkpoint().and_then(|progress| progress.forgetting.clone()).unwrap_or_default();
        for run in asked {
            let page = cx.store().run(run).await.map_err(JobError::retry)?;
            match page.run.state {
                RunState::Completed => {}
                RunState::Failed | RunState::Cancelled => {
                    let fault =
                        Fault::new(format!("the values in Redis are not gone: {run} has not done its work"));
                    return Err(JobError::Discard(
                        fault.hint(format!("tidemill retry {run}, then retry this run")),
                    ));
                }
                _ => {
                    let reason = format!("waits for {run}, which takes the values out of Redis");
                    return Err(JobError::Snooze { until: cx.clock().now() + SNOOZE, reason });
                }
            }
        }
        Ok(())
    }
}

impl Search {
    fn sources(&self) -> Vec<String> {
        let sources: BTreeSet<&String> = self.uploads.iter().map(|upload| &upload.source).collect();
        sources.into_iter().cloned().collect()
    }
}

impl Deps {
    /// Where rows of an entity may be.
    async fn search(&self, args: &EntityErase) -> Result<Search, Error> {
        let objects = self.catalog.objects().await?;
        let entity = objects.entities.get(&args.entity).ok_or_else(|| {
            let fault = Fault::coded(509, format!("there is no entity `{}`", args.entity));
            Error::Refused(fault.hint("declare it for as long as it is erased: tidemill apply"))
        })?;
        let key = key_of(entity, &args.key)?;
        let mut uploads = self.catalog.uploads(None, u32::MAX).await?;
        let names =
            |upload: &Upload| key.iter().all(|(name, _)| upload.definition.columns.contains_key(name));
        uploads.retain(names);
        let in_files = key.iter().map(|(name, _)| {
            let names: BTreeSet<&str> =
                uploads.iter().map(|of| of.definition.columns[name].in_files(name)).collect();
            names.into_iter().map(str::to_owned).collect()
        });
        let sought = Sought { in_files: in_files.collect(), key };
        let versions = self.catalog.view_versions(None).await?;
        let tables = in_order(self.lake.tables().await?, &versions);
        Ok(Search { sought, uploads, versions, tables })
    }

    /// Training sets that hold rows of an entity.
    async fn trained(&self, sought: &Sought) -> Result<Vec<Trained>, Error> {
        let models = self.catalog.model_versions(None).await?;
        let mut trained = Vec::new();
        for row in self.catalog.datasets(u32::MAX).await? {
            let parts = std::iter::once(&row.dataset.train).chain(&row.dataset.holdout);
            let mut rows = 0;
            for part in parts {
                rows += self.lake.rows_of_entity(&part.path, sought).await?;
            }
            if rows > 0 {
                let id = row.dataset.id;
                let on = models.iter().filter(|model| model.version.dataset == Some(id));
                let models =
                    on.map(|model| format!("{}@{}", model.version.model, model.version.version)).collect();
                trained.push(Trained { dataset: id, rows, models });
            }
        }
        Ok(trained)
    }
}

/// Looks for an entity wherever its rows may be. Changes nothing.
///
/// # Errors
/// It is not declared, or the key is not its key.
pub async fn erase_scope(deps: &Deps, entity: &str, key: &Map<String, Json>) -> Result<EraseScope, Error> {
    let args = EntityErase { entity: entity.to_owned(), key: key.clone() };
    let Search { sought, uploads, versions, tables } = deps.search(&args).await?;
    let mut scope = EraseScope { entity: args.entity, key: args.key, ..EraseScope::default() };
    for table in tables {
        for file in deps.lake.files_ever(&table).await? {
            let Some(holding) = deps.lake.holding(&table, file, &sought).await? else { continue };
            if holding.live {
                *scope.tables.entry(table.clone()).or_default() += holding.rows;
            } else {
                scope.old_rows += holding.rows;
            }
        }
    }
    scope.uploads = uploads.iter().filter(|upload| upload.published_at.is_some()).count();
    let sources: BTreeSet<String> = uploads.iter().map(|upload| upload.source.clone()).collect();
    let sources: Vec<String> = sources.into_iter().collect();
    let unpublished = deps.catalog.uploads_unpublished(&sources).await?;
    scope.uploads_failed = unpublished.iter().filter(|upload| !upload.running).count();
    scope.online = views_of(&versions, &sought);
    scope.refilled = others(&versions, &sought, scope.tables.keys())
        .iter()
        .map(|version| format!("view/{}@{}", version.view, version.version))
        .collect();
    scope.datasets = deps.trained(&sought).await?;
    Ok(scope)
}

/// The job for an entity; asking again while one waits changes nothing.
pub fn erasure(entity: &str, key: &Map<String, Json>) -> NewJob {
    let args = EntityErase { entity: entity.to_owned(), key: key.clone() };
    let name = format!("{ENTITY_ERASE}/{entity}/{}", Json::Object(key.clone()));
    NewJob {
        key: Some(name),
        // One after another: each looks through all files.
        concurrency_key: Some(ENTITY_ERASE.to_string()),
        ..job_new(ENTITY_ERASE, &args)
    }
}

/// What takes a model's log into the lake, as the server asks for it.
fn ingest_new(model: String) -> NewJob {
    let args = PredictionsIngest { model };
    NewJob { key: Some(args.key()), concurrency_key: Some(args.key()), ..job_new(PREDICTIONS_INGEST, &args) }
}

/// All values of an entity's key.
fn key_of(entity: &Entity, key: &Map<String, Json>) -> Result<Vec<(String, Value)>, Error> {
    let value = |(name, ty): (&String, &tidemill_spec::Type)| {
        let given = key.get(name).unwrap_or(&Json::Null);
        match Value::from_json(given, *ty) {
            Ok(value) if !value.is_null() => Ok((name.clone(), value)),
            _ => {
                let keys: Vec<String> =
                    entity.keys.iter().map(|(name, ty)| format!("{name}: {ty}")).collect();
                let fault = Fault::coded(616, format!("key `{name}` is missing or not of its type"));
                Err(Error::Refused(fault.hint(format!(
                    "entity `{}` has the keys {}",
                    entity.name,
                    keys.join(", ")
                ))))
            }
        }
    };
    entity.keys.iter().map(value).collect()
}

/// Tables so that rows come before what is computed from them: what was refused, sources, views inputs first, the rest.
fn in_order(mut tables: Vec<Table>, versions: &[ViewVersion]) -> Vec<Table> {
    let mut inputs_first = Vec::new();
    for version in versions {
        version.with_inputs(versions, &mut inputs_first);
    }
    let views: Vec<Table> =
        inputs_first.iter().map(|version| Table::view(&version.view, version.version)).collect();
    let place = |table: &Table| {
        let name = table.as_str();
        let kind = match name.split('/').next() {
            Some("dead") if !name.starts_with("dead/view/") => 0,
            Some("source") => 1,
            Some("view") => 2,
            _ => 3,
        };
        (kind, views.iter().position(|view| view == table))
    };
    tables.sort_by_key(|table| (place(table), table.clone()));
    tables
}

/// Whether a version's entity is named by the key, alone or with more.
fn named(version: &ViewVersion, sought: &Sought) -> bool {
    sought.key.iter().all(|(name, _)| version.plan.entity.keys.contains_key(name))
}

/// Views of which a version has values of the entity.
fn views_of(versions: &[ViewVersion], sought: &Sought) -> Vec<String> {
    let stored = |version: &&ViewVersion| {
        version.state != ViewState::Dropped && version.plan.definition.kind().stored()
    };
    let of_entity = |version: &&ViewVersion| stored(version) && named(version, sought);
    let views: BTreeSet<&String> = versions.iter().filter(of_entity).map(|version| &version.view).collect();
    views.into_iter().cloned().collect()
}

/// Versions of other entities that are computed from sources of which rows go, inputs first.
fn others<'a>(
    versions: &'a [ViewVersion],
    sought: &Sought,
    touched: impl Iterator<Item = &'a Table>,
) -> Vec<&'a ViewVersion> {
    let sources: BTreeSet<&str> =
        touched.filter_map(|table| table.as_str().strip_prefix("source/")).collect();
    let mut others: Vec<&ViewVersion> = Vec::new();
    for source in sources {
        for version in computed_from(versions, source) {
            let known = others.iter().any(|it| (&it.view, it.version) == (&version.view, version.version));
            if !known && !named(version, sought) {
                others.push(version);
            }
        }
    }
    others
}
