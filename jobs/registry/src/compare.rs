//! Step `model.compare`: two versions on the same holdout, by the same code.

use serde_json::{Value as Json, json};
use tidemill_catalog::{Catalog, DatasetPartRef, ModelVersion};
use tidemill_core::{JobError, Kind};
use tidemill_runtime::{Context, Job, Outcome};
use tidemill_spec::steps::{CHAMPION, MODEL_COMPARE, ModelCompare};

use crate::{
    Deps, Error, Evaluation,
    evaluate::{evaluate, named_version},
};

/// Compares.
#[derive(Clone, Debug)]
pub(crate) struct CompareJob {
    deps: Deps,
}

impl CompareJob {
    pub(crate) fn new(deps: Deps) -> Self {
        Self { deps }
    }
}

impl Job for CompareJob {
    type Args = ModelCompare;
    type Checkpoint = ();
    const KIND: Kind = MODEL_COMPARE;

    async fn run(&self, args: &ModelCompare, cx: &mut Context<()>) -> Result<Outcome, JobError> {
        let catalog = &self.deps.catalog;
        let dataset: DatasetPartRef = args.dataset.parse().map_err(JobError::discard)?;
        let model = match &args.model {
            Some(model) => model.clone(),
            None => model_of(catalog, dataset).await?,
        };
        let candidate = named_version(catalog, &model, Some(args.candidate), "").await?;
        let against = other_version(catalog, &model, &args.against).await?;

        let other = async {
            match &against {
                None => Ok(None),
                Some(version) => evaluate(&self.deps, version, dataset).await.map(Some),
            }
        };
        let (new, old) = tokio::try_join!(evaluate(&self.deps, &candidate, dataset), other)?;
        let outputs = outputs(&args.metric, &new, old.as_ref())?;
        if old.is_none() {
            cx.log(format!("{model} has no {}: nothing to compare with, delta is 0", args.against));
        }
        for note in [Some(&new), old.as_ref()].into_iter().flatten().flat_map(|evaluation| &evaluation.notes)
        {
            cx.log(note.clone());
        }
        let mut tx = cx.begin().await?;
        for evaluation in [Some(&new), old.as_ref()].into_iter().flatten() {
            evaluation.keep(catalog, &mut tx).await?;
        }
        cx.commit(tx, outputs).await
    }
}

/// The model whose inputs the dataset was built from.
async fn model_of(catalog: &Catalog, dataset: DatasetPartRef) -> Result<String, Error> {
    let (dataset, _) = catalog.dataset_part(dataset).await?;
    let none = || {
        Error::Metric(format!(
            "dataset {} was not built from a model's inputs; add `model: NAME` to the step",
            dataset.id
        ))
    };
    dataset.model.clone().ok_or_else(none)
}

/// What to compare with: a number names a version, anything else an alias. The champion may not be there yet; another
/// alias neither as long as the model has none at all: a mistyped one would let every candidate pass.
async fn other_version(catalog: &Catalog, model: &str, against: &str) -> Result<Option<ModelVersion>, Error> {
    if let Ok(number) = against.parse::<u32>() {
        return named_version(catalog, model, Some(number), "").await.map(Some);
    }
    match named_version(catalog, model, None, against).await {
        Err(Error::UnknownAlias { .. })
            if against == CHAMPION || catalog.model_aliases(Some(model)).await?.is_empty() =>
        {
            Ok(None)
        }
        found => found.map(Some),
    }
}

/// `delta` is how much better the candidate is, whichever way the metric runs; 0 where there is no other.
fn outputs(metric: &str, new: &Evaluation, old: Option<&Evaluation>) -> Result<Json, Error> {
    let (candidate, against) = (figure(metric, new)?, old.map(|old| figure(metric, old)).transpose()?);
    let sign = if metric == "log_loss" { -1.0 } else { 1.0 };
    Ok(json!({
        "metric": metric,
        "rows": new.rows,
        "candidate": candidate,
        "against": against,
        "against_version": old.map(|old| old.version),
        "delta": against.map_or(0.0, |against| sign * (candidate - against)),
    }))
}

fn figure(metric: &str, evaluation: &Evaluation) -> Result<f64, Error> {
    let value = match metric {
        "auc" => evaluation.auc,
        "log_loss" => evaluation.log_loss,
        "accuracy" => evaluation.accuracy,
        _ => {
            return Err(Error::Metric(format!(
                "metric `{metric}` is not supported yet; use auc, log_loss or accuracy"
            )));
        }
    };
    let needs = match metric {
        "accuracy" => "a class output, and labels",
        "auc" if evaluation.accuracy.is_some() => "an output of two classes, and labels of both",
        _ => "labels of both classes",
    };
    value.ok_or_else(|| {
        Error::Metric(format!("{metric} can't be computed on {}: it needs {needs}", evaluation.dataset))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evaluation(version: i32, auc: Option<f64>, log_loss: Option<f64>) -> Evaluation {
        let (model, dataset) = ("late_flight".to_owned(), "dst_1.holdout".to_owned());
        let rest = Evaluation {
            model,
            version,
            dataset,
            rows: 4,
            auc,
            log_loss,
            accuracy: None,
            label_rate: None,
            mean_prediction: None,
            notes: Vec::new(),
        };
        Evaluation { ..rest }
    }

    #[test]
    fn delta_is_positive_where_the_candidate_is_better() {
        let (new, old) = (evaluation(2, Some(0.75), Some(0.5)), evaluation(1, Some(0.5), Some(0.75)));
        let delta = |metric, old| outputs(metric, &new, old).unwrap()["delta"].as_f64().unwrap();
        assert_eq!(delta("auc", Some(&old)).to_bits(), 0.25_f64.to_bits());
        assert_eq!(delta("log_loss", Some(&old)).to_bits(), 0.25_f64.to_bits());
        assert_eq!(delta("auc", None).to_bits(), 0.0_f64.to_bits());
    }

    #[test]
    fn a_holdout_of_one_class_has_no_auc() {
        let error = outputs("auc", &evaluation(2, None, Some(0.5)), None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "auc can't be computed on dst_1.holdout: it needs labels of both classes"
        );
        assert!(outputs("f1", &evaluation(2, None, None), None).is_err());
        let error = outputs("accuracy", &evaluation(2, Some(0.7), Some(0.5)), None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "accuracy can't be computed on dst_1.holdout: it needs a class output, and labels"
        );
        let class = Evaluation { accuracy: Some(0.9), ..evaluation(2, None, Some(0.5)) };
        let error = outputs("auc", &class, None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "auc can't be computed on dst_1.holdout: it needs an output of two classes, and labels of both"
        );
        assert_eq!(outputs("accuracy", &class, None).unwrap()["candidate"], 0.9);
    }
}
