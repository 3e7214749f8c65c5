//! The rows of a model's window and of its reference, read as of what the scan has pinned.

use std::{ops::Range, sync::Arc};

use arrow::{
    array::{ArrayRef, AsArray as _, RecordBatch},
    datatypes::{Field, TimestampMicrosecondType},
};
use chrono::TimeDelta;
use tidemill_catalog::{Dataset, DatasetPartRef, ModelVersion};
use tidemill_core::Time;
use tidemill_offline::PitRequest;
use tidemill_registry::{Deps, Warm, auc, evaluate, pinned_views};
use tidemill_spec::{Check, Hydration, Monitor, Objects, Reference, scored};
use tidemill_training::LabelRead;

use crate::{
    Error,
    column::named,
    facts::{Facts, Pin},
    table::newest,
};

/// What checks call a model's output.
pub(crate) const PREDICTION: &str = "prediction";

/// A model's version and what it was trained on.
#[derive(Clone, Debug)]
pub(crate) struct Champion {
    pub(crate) version: ModelVersion,
    pub(crate) dataset: Dataset,
}

/// A numbered version with its training set.
pub(crate) async fn champion(deps: &Deps, model: &str, number: i32) -> Result<Champion, Error> {
    let version = deps.catalog.model_version(model, number).await?;
    let version = version.ok_or_else(|| Error::NoReference(format!("`{model}` has no version {number}")))?;
    let untold = || Error::NoReference(format!("version {number} of `{model}` names no training set"));
    let dataset = deps.catalog.dataset(version.dataset.ok_or_else(untold)?).await?.ok_or_else(untold)?;
    Ok(Champion { version, dataset })
}

/// Everything that the checks ask of a model's window.
pub(crate) async fn of_model(
    deps: &Deps,
    objects: &Objects,
    monitor: &Monitor,
    champion: &Champion,
    window: Range<Time>,
    pin: Pin,
) -> Result<Facts, Error> {
    let warm = Warm::load_version(deps, &champion.version).await?;
    let source = Source { deps, objects, monitor, champion, warm: &warm, pin };
    let training = tidemill_rows::parquet::read(deps.blobs.get_at(&champion.dataset.train.path).await?)?;
    let (end, due) = (window.end.min(pin.clock), window.end + label_delay(&training));
    let reference = match &monitor.reference {
        Reference::Training => source.training(training).await?.table,
        Reference::Range { from, to } => source.rows(*from..*to).await?.table,
    };
    // A version is no judge of what it has learnt, nor of what it was chosen by.
    let learnt = champion.dataset.to.is_some_and(|to| window.start < to);
    let window = source.rows(window).await?;
    Ok(Facts {
        auc: window.auc(champion)?,
        learnt,
        auc_reference: source.holdout_auc().await?,
        newest: newest(deps, objects, monitor, end, pin).await?,
        label: Some(champion.dataset.label.clone()),
        reference,
        window: window.table,
        end,
        due,
        now: pin.clock,
        awaited: Vec::new(),
    })
}

/// The longest that a label of the training set took after what it tells of.
fn label_delay(training: &RecordBatch) -> TimeDelta {
    let times = |name: &str| training.column_by_name(name)?.as_primitive_opt::<TimestampMicrosecondType>();
    let delays = times("event_time").zip(times("matured_at")).and_then(|(happened, matured)| {
        happened.iter().zip(matured).filter_map(|(happened, matured)| Some(matured? - happened?)).max()
    });
    TimeDelta::microseconds(delays.unwrap_or(0).max(0))
}

/// Rows and what the version says of them.
struct Predicted {
    /// The rows with the outputs beside them, the scored one also as [`PREDICTION`]: a float, or the class as text.
    table: RecordBatch,
    /// The outputs alone, whatever the rows' columns are called; none of no rows.
    outputs: Option<RecordBatch>,
}

impl Predicted {
    /// AUC of the predictions over known labels.
    fn auc(&self, champion: &Champion) -> Result<Option<f64>, Error> {
        let Some(outputs) = &self.outputs else { return Ok(None) };
        let label = named(&self.table, &champion.dataset.label, "the window")?;
        Ok(auc(outputs, &champion.version.outputs, label))
    }
}

struct Source<'a> {
    deps: &'a Deps,
    objects: &'a Objects,
    monitor: &'a Monitor,
    champion: &'a Champion,
    warm: &'a Warm,
    pin: Pin,
}

impl Source<'_> {
    /// What the version was trained on, with the columns that are watched beside.
    async fn training(&self, rows: RecordBatch) -> Result<Predicted, Error> {
        let mut hydration = watched(&self.champion.version, self.objects, self.monitor);
        for read in hydration.rounds.iter_mut().flatten() {
            let (role, features) = (read.clone(), &mut read.features);
            features.retain(|feature| rows.column_by_name(&role.column(feature)).is_none());
        }
        if let Some(on_demand) = &mut hydration.on_demand {
            on_demand.features.retain(|name, _| rows.column_by_name(name).is_none());
        }
        let more = hydration.rounds.iter().flatten().any(|read| !read.features.is_empty());
        let rows = if more { self.hydrated(rows, &hydration).await? } else { rows };
        self.predicted(rows).await
    }

    /// Labelled rows of a range with the features that serving would have read, and what the version says of them.
    async fn rows(&self, range: Range<Time>) -> Result<Predicted, Error> {
        let name = &self.champion.dataset.label;
        let label = LabelRead::resolve(&self.deps.catalog, self.objects, name).await?;
        let labels = self.deps.lake.labels(&label.rows(range, self.pin.clock, self.pin.lake)).await?.rows;
        if labels.num_rows() == 0 {
            return Ok(Predicted { table: labels, outputs: None });
        }
        let hydration = watched(&self.champion.version, self.objects, self.monitor);
        self.predicted(self.hydrated(labels, &hydration).await?).await
    }

    async fn hydrated(&self, rows: RecordBatch, hydration: &Hydration) -> Result<RecordBatch, Error> {
        let views = pinned_views(&self.deps.catalog, &self.champion.version).await?;
        let view = |name: &str| views.get(name).cloned();
        let request = PitRequest::hydrating(rows, "label_ts", hydration, view, self.pin.lake)?;
        Ok(self.deps.lake.point_in_time(&request).await?)
    }

    async fn predicted(&self, rows: RecordBatch) -> Result<Predicted, Error> {
        let outputs = self.warm.predict(&rows).await?;
        let score = scored(&self.champion.version.outputs);
        let score = score.and_then(|(name, _)| outputs.column_by_name(name));
        let mut columns: Vec<(Arc<Field>, ArrayRef)> = Vec::new();
        for batch in [&rows, &outputs] {
            columns.extend(batch.schema().fields().iter().cloned().zip(batch.columns().iter().cloned()));
        }
        if let Some(score) = score {
            columns.push((Arc::new(Field::new(PREDICTION, score.data_type().clone(), true)), score.clone()));
        }
        let (fields, arrays): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
        let table = RecordBatch::try_new(Arc::new(arrow::datatypes::Schema::new(fields)), arrays)?;
        Ok(Predicted { table, outputs: Some(outputs) })
    }

    /// As recorded when it was judged, else computed now.
    async fn holdout_auc(&self) -> Result<Option<f64>, Error> {
        let Champion { version, dataset } = self.champion;
        let part = DatasetPartRef { id: dataset.id, holdout: true };
        let subject = part.to_string();
        let kept = self.deps.catalog.model_metrics(&version.model).await?.into_iter().find(|figure| {
            figure.version == version.version && figure.subject == subject && figure.metric == "auc"
        });
        match kept {
            Some(figure) => Ok(Some(figure.value)),
            None if dataset.holdout.is_none() => Ok(None),
            None => Ok(evaluate(self.deps, version, part).await?.auc),
        }
    }
}

/// The reads of a version, with the columns that are watched though the model doesn't take them.
fn watched(version: &ModelVersion, objects: &Objects, monitor: &Monitor) -> Hydration {
    let mut hydration = version.hydration.clone();
    let there =
        |column: &String| version.hydration.columns.contains_key(column) || version.keys.contains_key(column);
    for check in &monitor.checks {
        let columns = match check {
            Check::Drift { columns, .. } => columns.as_slice(),
            Check::NullRate { column, .. } => std::slice::from_ref(column),
            _ => &[],
        };
        for column in columns.iter().filter(|column| !there(column)) {
            for read in hydration.rounds.iter_mut().flatten() {
                let mut features =
                    objects.views.get(&read.view).into_iter().flat_map(|view| view.features.keys());
                let Some(feature) = features.find(|name| read.column(name) == *column) else { continue };
                if !read.features.contains(feature) {
                    read.features.push(feature.clone());
                }
                break;
            }
        }
    }
    hydration
}
