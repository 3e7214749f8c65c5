//! Step `dataset.build`: a training set and its holdout, pinned, registered, repeatable.
//!
//! The first attempt fixes the id, the data clock and the lake's head; the step then waits until its views hold what
//! was in the lake by then, and pins the head once more, since the rows they computed meanwhile lie behind it. What
//! follows is a function of what is fixed: a repeat writes the same files and finds the same row. Where another version of
//! a view took over before a repeat, that begins with the pin, whose rows are none of the new version's. What the holdout is:
//! [`split`].

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tidemill_blobs::BlobRef;
use tidemill_catalog::{Dataset, DatasetPart, DatasetPartRef, Edge, LabelCoverage, Node, ViewVersion};
use tidemill_core::{DatasetId, JobError, Kind, Time};
use tidemill_offline::{Population, Version};
use tidemill_runtime::{Context, Job, Outcome};
use tidemill_spec::{
    Label, Objects,
    steps::{DATASET_BUILD, DatasetBuild},
};

use crate::{
    Deps, Error, LabelRead,
    assemble::{assemble, rate},
    coverage,
    inputs::Inputs,
    split::{Split, split},
    told, wait,
};

/// How long the step sleeps while its views catch up.
const SNOOZE: TimeDelta = TimeDelta::milliseconds(300);

/// What the first attempt fixed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fixed {
    id: DatasetId,
    clock: Time,
    head: Version,
    /// The version that is read, once the views have reached `head`.
    #[serde(default)]
    pinned: Option<Version>,
    /// The versions of the views that had reached it. Where others are in force by now, it has not their rows.
    #[serde(default)]
    views: BTreeMap<String, i32>,
    /// Updates of the views that were behind have been asked for.
    #[serde(default)]
    asked: bool,
}

/// Builds.
#[derive(Clone, Debug)]
pub struct DatasetJob {
    deps: Deps,
}

impl DatasetJob {
    /// With what it needs.
    pub fn new(deps: Deps) -> Self {
        Self { deps }
    }
}

impl Job for DatasetJob {
    type Args = DatasetBuild;
    type Checkpoint = Fixed;
    const KIND: Kind = DATASET_BUILD;

    async fn run(&self, args: &DatasetBuild, cx: &mut Context<Fixed>) -> Result<Outcome, JobError> {
        let Deps { catalog, lake, .. } = &self.deps;
        let objects = catalog.objects().await?;
        let read = LabelRead::resolve(catalog, &objects, &args.label).await?;
        let (label, keys) = (&read.label, read.entity.keys.keys().cloned().collect::<Vec<_>>());
        let inputs = Inputs::resolve(catalog, &objects, &args.inputs, &keys).await?;
        check(args, &objects, label, &inputs)?;

        let fixed = self.fix(cx).await?;
        let views = [inputs.waits_for.as_slice(), &read.waits_for].concat();
        let (version, fixed) = self.pin(&views, fixed, cx).await?;

        let labels = lake.labels(&read.rows(args.from..args.to, fixed.clock, version)).await?;
        if labels.rows.num_rows() == 0 {
            return Err(Error::NoRows { label: label.name.clone(), asked: labels.asked }.into());
        }
        cx.log(coverage::told(&labels, fixed.clock));
        let coverage = coverage::of(&labels, read.population.as_ref());
        let assembled = assemble(lake, labels.rows, &inputs, version, args.known_at).await?;
        let Split { train, holdout, holdout_from, purged } = split(&assembled.rows, args.holdout)?;
        if let Some(from) = holdout_from {
            cx.log(format!(
                "the holdout begins at {from}, counted from the newest matured label; {purged} labels before it are left out of training, since they mature inside it"
            ));
        }
        let warnings = told::stored_otherwise(lake, &views, read.sources(), version).await?;
        for warning in &warnings {
            cx.log(warning);
        }
        let dataset = Dataset {
            id: fixed.id,
            label: label.name.clone(),
            model: inputs.model.clone(),
            columns: inputs.columns(),
            from: Some(args.from),
            to: Some(args.to),
            holdout_from,
            clock: fixed.clock,
            lake_version: version,
            view_versions: inputs.view_versions(),
            leak_allowed: inputs.leak_allowed.clone(),
            train: self.keep(fixed.id, "train", &train, &label.name).await?,
            holdout: match holdout {
                None => None,
                Some(rows) => Some(self.keep(fixed.id, "holdout", &rows, &label.name).await?),
            },
            coverage: Some(LabelCoverage { purged: purged as u64, ..coverage }),
            changed_under_known_at: assembled.changed,
            warnings,
            run: Some(cx.run()),
            code_hash: catalog.code_hash().await?,
        };
        self.register(&dataset, &read, cx).await
    }
}

impl DatasetJob {
    async fn fix(&self, cx: &mut Context<Fixed>) -> Result<Fixed, JobError> {
        if let Some(fixed) = cx.checkpoint() {
            return Ok(fixed.clone());
        }
        let (clock, head) = (cx.now_data().await?, self.deps.lake.head().await?);
        let fixed = Fixed {
            id: DatasetId::generate(),
            clock,
            head,
            pinned: None,
            views: BTreeMap::new(),
            asked: false,
        };
        cx.save_checkpoint(fixed.clone()).await?;
        Ok(fixed)
    }

    /// The version to read; snoozes while a view is behind. An update that failed earlier is asked for once more, since
    /// what it failed of may be over; if that fails, too, there is nothing to wait for.
    async fn pin(
        &self,
        views: &[ViewVersion],
        fixed: Fixed,
        cx: &mut Context<Fixed>,
    ) -> Result<(Version, Fixed), JobError> {
        let in_force = views.iter().map(|version| (version.view.clone(), version.version)).collect();
        if let Some(version) = fixed.pinned.filter(|_| fixed.views == in_force) {
            return Ok((version, fixed));
        }
        let behind = wait::behind(&self.deps.catalog, views, fixed.head).await?;
        if !behind.is_empty() {
            if fixed.asked {
                wait::check_failed(&self.deps.catalog, &behind).await?;
            }
            wait::ask_for_updates(&self.deps.catalog, &behind).await?;
            if !fixed.asked {
                cx.save_checkpoint(Fixed { asked: true, ..fixed.clone() }).await?;
            }
            let reason = format!("waits for {} to reach lake version {}", behind.join(", "), fixed.head);
            return Err(JobError::Snooze { until: cx.clock().now() + SNOOZE, reason });
        }
        let version = self.deps.lake.head().await?;
        let fixed = Fixed { pinned: Some(version), views: in_force, ..fixed };
        cx.save_checkpoint(fixed.clone()).await?;
        Ok((version, fixed))
    }

    /// Writes one file; the same rows are the same bytes.
    async fn keep(
        &self,
        id: DatasetId,
        name: &str,
        rows: &RecordBatch,
        label: &str,
    ) -> Result<DatasetPart, Error> {
        let bytes = tidemill_rows::parquet::write(rows)?;
        let part = DatasetPart {
            path: format!("dataset/{id}/{name}.parquet"),
            rows: rows.num_rows() as u64,
            label_rate: rate(rows, label),
            classes: coverage::classes(rows, label),
            sha256: BlobRef::of(&bytes).to_string(),
        };
        self.deps.blobs.put_at(&part.path, bytes).await?;
        Ok(part)
    }

    async fn register(
        &self,
        dataset: &Dataset,
        read: &LabelRead,
        cx: &mut Context<Fixed>,
    ) -> Result<Outcome, JobError> {
        let key = format!("{}/{}", cx.run(), cx.step().unwrap_or(DATASET_BUILD.as_str()));
        let mut tx = cx.begin().await?;
        let id = self.deps.catalog.insert_dataset(&mut tx, &key, dataset).await?;
        self.deps.catalog.lineage(&mut tx, &edges(dataset, read)).await?;
        let (holdout, coverage) = (dataset.holdout.as_ref(), dataset.coverage.as_ref());
        let outputs = json!({
            "dataset": id,
            "holdout": holdout.map(|_| DatasetPartRef { id, holdout: true }.to_string()),
            "rows": dataset.train.rows,
            "holdout_rows": holdout.map_or(0, |part| part.rows),
            "asked": coverage.and_then(|coverage| coverage.asked),
            "matured": coverage.map(|coverage| coverage.matured),
            "left_out": coverage.map(|coverage| coverage.left_out),
            "purged": coverage.map(|coverage| coverage.purged),
            "label_rate": dataset.train.label_rate,
            "classes": dataset.train.classes,
            "lake_version": dataset.lake_version,
            "leak_allowed": dataset.leak_allowed,
            "changed_under_known_at": dataset.changed_under_known_at,
            "warnings": dataset.warnings,
        });
        cx.commit(tx, outputs).await
    }
}

/// Refuses what can't be built.
fn check(args: &DatasetBuild, objects: &Objects, label: &Label, inputs: &Inputs) -> Result<(), Error> {
    if let Some(model) = inputs.model.as_ref().and_then(|name| objects.models.get(name))
        && model.entity != label.entity
    {
        return Err(Error::OtherEntity {
            label: label.name.clone(),
            label_entity: label.entity.clone(),
            model: model.name.clone(),
            model_entity: model.entity.clone(),
        });
    }
    if let Some(column) = inputs.request.keys().next() {
        let purpose = "known only to the caller: build the dataset from a labels file that has it";
        return Err(Error::MissingColumn { column: column.clone(), purpose });
    }
    if args.from >= args.to {
        return Err(Error::EmptyRange(format!("from {} to {} there is nothing", args.from, args.to)));
    }
    let Some(length) = args.holdout else { return Ok(()) };
    let start = args.to.checked_sub_signed(TimeDelta::from_std(length).unwrap_or(TimeDelta::MAX));
    if start.is_some_and(|start| start > args.from) {
        return Ok(());
    }
    Err(Error::EmptyRange("the holdout is as long as the range and leaves nothing to train on".to_owned()))
}

fn edges(dataset: &Dataset, read: &LabelRead) -> Vec<Edge> {
    let label = &read.label;
    let made = Node::Dataset(dataset.id);
    let views = dataset.view_versions.iter().map(|(view, version)| Node::View(view.clone(), *version));
    let origins = views.chain([Node::Label(label.name.clone())]).map(|from| (from, made.clone()));
    let answers = (Node::Source(label.source.clone()), Node::Label(label.name.clone()));
    let population = read.population.as_ref().map(|population| match population {
        Population::Entities { view, .. } => Node::View(view.name().to_owned(), view.version),
        Population::Rows { source, .. } => Node::Source(source.name.clone()),
    });
    let asked = population.map(|from| (from, Node::Label(label.name.clone())));
    let edge = |(from, to)| Edge {
        run: dataset.run,
        code_hash: dataset.code_hash.clone(),
        lake_version: Some(dataset.lake_version),
        ..Edge::new(from, to)
    };
    origins.chain([answers]).chain(asked).map(edge).collect()
}
