//! Figures of a version on a dataset: AUC, log loss, means. Kept with the version, by the dataset's part.

use arrow::{
    array::{Array as _, AsArray as _, RecordBatch},
    compute::cast,
    datatypes::{DataType, Float64Type},
};
use serde::Serialize;
use tidemill_catalog::{Catalog, DatasetPartRef, Edge, ModelMetric, ModelVersion, Node};
use tidemill_core::{JobError, Kind};
use tidemill_runtime::{Context, Job, Outcome};
use tidemill_spec::{
    Type,
    steps::{MODEL_EVALUATE, ModelEvaluate},
};
use tidemill_store::Tx;

use crate::{Deps, Error, Warm, score};

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
    /// Area under the ROC curve; none where only one class is there.
    pub auc: Option<f64>,
    /// Mean negative log likelihood; none over nothing.
    pub log_loss: Option<f64>,
    /// Share of positive labels.
    pub label_rate: Option<f64>,
    /// Mean of the first float output.
    pub mean_prediction: Option<f64>,
}

impl Evaluation {
    /// Its figures by name.
    pub(crate) fn figures(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let figures = [
            ("auc", self.auc),
            ("log_loss", self.log_loss),
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

/// Scores a version on a part of a dataset whose columns the model takes. The label must be a bool or 0 and 1.
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
    let labels = labels(&table, &described.label)?;
    let scores = scores(&predicted, version)?;
    // A label that nobody knows and a prediction that the model refused say nothing about its quality.
    let (scores, positive): (Vec<f64>, Vec<bool>) =
        scores.into_iter().zip(labels).filter_map(|(score, label)| Some((score?, label?))).unzip();
    Ok(Evaluation {
        model: version.model.clone(),
        version: version.version,
        dataset: dataset.to_string(),
        rows: scores.len(),
        auc: score::auc(&scores, &positive),
        log_loss: score::log_loss(&scores, &positive),
        label_rate: score::mean(positive.iter().map(|&truth| f64::from(u8::from(truth)))),
        mean_prediction: score::mean(scores.iter().copied()),
    })
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

fn labels(table: &RecordBatch, label: &str) -> Result<Vec<Option<bool>>, Error> {
    let column = table
        .column_by_name(label)
        .ok_or_else(|| Error::Metric(format!("the dataset has no label `{label}`")))?;
    let usable = matches!(column.data_type(), DataType::Boolean) || column.data_type().is_numeric();
    if !usable {
        return Err(Error::Metric(format!("label `{label}` is neither a bool nor a number")));
    }
    Ok(cast(column, &DataType::Boolean)?.as_boolean().iter().collect())
}

/// The first float output, the probability of the label.
fn scores(predicted: &RecordBatch, version: &ModelVersion) -> Result<Vec<Option<f64>>, Error> {
    let output = version.outputs.iter().find(|(_, ty)| **ty == Type::Float).map(|(name, _)| name);
    let column = output.and_then(|name| predicted.column_by_name(name));
    let column = column
        .ok_or_else(|| Error::Metric(format!("model `{}` has no float output to score", version.model)))?;
    Ok(cast(column, &DataType::Float64)?.as_primitive::<Float64Type>().iter().collect())
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
        let outputs = serde_json::to_value(&evaluation).map_err(JobError::discard)?;
        cx.commit(tx, outputs).await
    }
}
