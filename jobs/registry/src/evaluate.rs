//! Figures of a version on a dataset: AUC, log loss, accuracy, means. Kept with the version, by the dataset's part.

use arrow::array::{ArrayRef, RecordBatch};
use serde::Serialize;
use tidemill_catalog::{Catalog, DatasetPartRef, Edge, ModelMetric, ModelVersion, Node};
use tidemill_core::{JobError, Kind};
use tidemill_runtime::{Context, Job, Outcome};
use tidemill_spec::steps::{MODEL_EVALUATE, ModelEvaluate};
use tidemill_store::Tx;

use crate::{Deps, Error, Warm, figures::figures};

/// Figures of one version on one part of a dataset.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// The model.
    pub model: String,
    /// Its version.
    pub version: i32,
    /// What it was scored on: `dst_…` or `dst_….holdout`.
    pub dataset: String,
    /// Rows.
    pub rows: usize,
    /// Area under the ROC curve; none where only one class is there, or more than two are declared.
    pub auc: Option<f64>,
    /// Mean negative log likelihood; none over nothing.
    pub log_loss: Option<f64>,
    /// Share of rows whose class was predicted; none where the model gives no class.
    pub accuracy: Option<f64>,
    /// Share of positive labels; none for a class.
    pub label_rate: Option<f64>,
    /// Mean of the first float output; none for a class.
    pub mean_prediction: Option<f64>,
    /// Why the figures may not be those of what is served.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl Evaluation {
    /// Its figures by name.
    pub(crate) fn figures(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let figures = [
            ("auc", self.auc),
            ("log_loss", self.log_loss),
            ("accuracy", self.accuracy),
            ("label_rate", self.label_rate),
            ("mean_prediction", self.mean_prediction),
        ];
        figures.into_iter().filter_map(|(name, value)| Some((name, value?)))
    }

    /// Keeps them with the version; a repeat overwrites them with the same.
    pub(crate) async fn keep(&self, catalog: &Catalog, tx: &mut Tx) -> Result<(), Error> {
        for (metric, value) in self.figures() {
            let figure = ModelMetric {
                model: self.model.clone(),
                version: self.version,
                subject: self.dataset.clone(),
                metric: metric.to_owned(),
                value,
                rows: i64::try_from(self.rows).unwrap_or(i64::MAX),
            };
            catalog.set_model_metric(tx, &figure).await?;
        }
        Ok(())
    }
}

/// Scores a version on a part of a dataset whose columns the model takes, by its first output that is a float or a class.
/// The label of a float is a bool or 0 and 1, that of a class the name of one.
///
/// # Errors
/// The dataset lacks a column, its label has another type, or a server can't be reached.
pub async fn evaluate(
    deps: &Deps,
    version: &ModelVersion,
    dataset: DatasetPartRef,
) -> Result<Evaluation, Error> {
    let (described, table) = read_part(deps, dataset).await?;
    let predicted = Warm::load_version(deps, version).await?.predict(&table).await?;
    let label = label(&table, &described.label)?;
    let figures = figures(&predicted, &version.model, &version.outputs, (&described.label, label))?;
    Ok(Evaluation {
        model: version.model.clone(),
        version: version.version,
        dataset: dataset.to_string(),
        rows: figures.rows,
        auc: figures.auc,
        log_loss: figures.log_loss,
        accuracy: figures.accuracy,
        label_rate: figures.label_rate,
        mean_prediction: figures.mean_prediction,
        notes: other_views(version, &described),
    })
}

/// Views of which the dataset has other versions than the model version reads: their values may differ.
fn other_views(version: &ModelVersion, dataset: &tidemill_catalog::Dataset) -> Vec<String> {
    let note = |(view, read): (&String, &i32)| {
        let has = dataset.view_versions.get(view).filter(|has| *has != read)?;
        Some(format!(
            "note: {} v{} reads view {view} v{read}, the dataset has v{has}: it is judged on values that it may not see when it serves",
            version.model, version.version
        ))
    };
    version.view_versions.iter().filter_map(note).collect()
}

/// A part of a dataset as one table.
pub(crate) async fn read_part(
    deps: &Deps,
    reference: DatasetPartRef,
) -> Result<(tidemill_catalog::Dataset, RecordBatch), Error> {
    let (dataset, part) = deps.catalog.dataset_part(reference).await?;
    let bytes = deps.blobs.get_at(&part.path).await?;
    let table = tokio::task::spawn_blocking(move || tidemill_rows::parquet::read(bytes))
        .await
        .map_err(std::io::Error::other)??;
    Ok((dataset, table))
}

fn label<'a>(table: &'a RecordBatch, label: &str) -> Result<&'a ArrayRef, Error> {
    let column = table.column_by_name(label);
    column.ok_or_else(|| Error::Metric(format!("the dataset has no label `{label}`")))
}

/// The version that a step names: by number, else by alias.
pub(crate) async fn named_version(
    catalog: &Catalog,
    model: &str,
    version: Option<u32>,
    alias: &str,
) -> Result<ModelVersion, Error> {
    let number = match version {
        Some(number) => i32::try_from(number).unwrap_or(i32::MAX),
        None => {
            let unknown = || Error::UnknownAlias { model: model.to_owned(), alias: alias.to_owned() };
            catalog.model_alias(model, alias).await?.ok_or_else(unknown)?.version
        }
    };
    let unknown = || Error::UnknownVersion { model: model.to_owned(), version: number };
    catalog.model_version(model, number).await?.ok_or_else(unknown)
}

/// Step `model.evaluate`.
#[derive(Clone, Debug)]
pub(crate) struct EvaluateJob {
    deps: Deps,
}

impl EvaluateJob {
    pub(crate) fn new(deps: Deps) -> Self {
        Self { deps }
    }
}

impl Job for EvaluateJob {
    type Args = ModelEvaluate;
    type Checkpoint = ();
    const KIND: Kind = MODEL_EVALUATE;

    async fn run(&self, args: &ModelEvaluate, cx: &mut Context<()>) -> Result<Outcome, JobError> {
        let catalog = &self.deps.catalog;
        let dataset: DatasetPartRef = args.dataset.parse().map_err(JobError::discard)?;
        let version = named_version(catalog, &args.model, args.version, &args.alias).await?;
        let evaluation = evaluate(&self.deps, &version, dataset).await?;
        let mut tx = cx.begin().await?;
        evaluation.keep(catalog, &mut tx).await?;
        let scored = Node::Predictions(args.model.clone(), version.version);
        let edge = Edge { run: Some(cx.run()), ..Edge::new(Node::Dataset(dataset.id), scored) };
        catalog.lineage(&mut tx, &[edge]).await?;
        for note in &evaluation.notes {
            cx.log(note.clone());
        }
        let outputs = serde_json::to_value(&evaluation).map_err(JobError::discard)?;
        cx.commit(tx, outputs).await
    }
}
