//! Step `model.register`: an artifact, or a file of a person's, becomes the model's next immutable version.
//!
//! Checked first, written once: the row is keyed by the step, so a repeat finds the version it gave before.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde_json::{Map, Value as Json, json};
use tidemill_catalog::{Dataset, DatasetPartRef, Edge, ModelMetric, ModelVersion, Node, ViewVersion};
use tidemill_core::{JobError, Kind, RunId};
use tidemill_inference::Signature;
use tidemill_runtime::{Context, Job, Outcome, job_new};
use tidemill_spec::{
    Hydration, Model, Objects,
    args::{FEATURES_UPDATE, FeaturesUpdate, features_concurrency_key},
    steps::{MODEL_REGISTER, ModelRegister},
};
use tidemill_store::{NewJob, StepRow};

use crate::{Deps, Error, file::Filed, folder, warm, warm::Warm};

/// Registers.
#[derive(Clone, Debug)]
pub(crate) struct RegisterJob {
    deps: Deps,
}

impl RegisterJob {
    pub(crate) fn new(deps: Deps) -> Self {
        Self { deps }
    }
}

impl Job for RegisterJob {
    type Args = ModelRegister;
    /// The number it was given: what follows the commit is only a publication.
    type Checkpoint = i32;
    const KIND: Kind = MODEL_REGISTER;

    async fn run(&self, args: &ModelRegister, cx: &mut Context<i32>) -> Result<Outcome, JobError> {
        let number = match cx.checkpoint() {
            Some(number) => *number,
            None => self.register(args, cx).await?,
        };
        // The newest version is kept warm, so that it can be asked for by number before any alias names it.
        tidemill_live::publish(&self.deps.catalog, &self.deps.online).await.map_err(Error::from)?;
        Ok(Outcome::Completed(json!({ "model": args.model, "version": number })))
    }
}

impl RegisterJob {
    async fn register(&self, args: &ModelRegister, cx: &mut Context<i32>) -> Result<i32, JobError> {
        let catalog = &self.deps.catalog;
        let objects = catalog.objects().await?;
        let filed = match &args.file {
            Some(file) => Some(self.filed(&objects, args, file, cx).await?),
            None => None,
        };
        let artifact = filed.as_ref().map(|filed| filed.artifact.clone()).or_else(|| args.artifact.clone());
        let artifact = artifact.unwrap_or_default();
        let training = Training::of(&self.deps, cx.run(), &artifact).await?;
        if !warm::is_artifact(&artifact) {
            return Err(Error::NoArtifact { artifact, known: training.known }.into());
        }
        let version = self.version(&objects, (&args.model, &artifact), &training, cx.run()).await?;
        Warm::load_version(&self.deps, &version).await?;
        cx.log(format!("the golden rows of {artifact} predict what was recorded"));

        let key = format!("{}/{}", cx.run(), cx.step().unwrap_or(MODEL_REGISTER.as_str()));
        let wishes = self.wishes(&version).await?;
        let mut tx = cx.begin().await?;
        let number = catalog.insert_model_version(&mut tx, &key, &version).await?;
        for (metric, value) in training.figures() {
            let subject = "training".to_owned();
            let figure =
                ModelMetric { model: args.model.clone(), version: number, subject, metric, value, rows: 0 };
            catalog.set_model_metric(&mut tx, &figure).await?;
        }
        catalog.lineage(&mut tx, &edges(&version, number, filed.map(|filed| filed.node))).await?;
        cx.enqueue(&mut tx, &wishes).await?;
        cx.commit_checkpoint(tx, number).await?;
        Ok(number)
    }

    /// The file that a step names, as an artifact.
    async fn filed(
        &self,
        objects: &Objects,
        args: &ModelRegister,
        file: &str,
        cx: &mut Context<i32>,
    ) -> Result<Filed, JobError> {
        let (model, hydration) = declared(objects, &args.model)?;
        let mut columns = hydration.columns;
        columns.extend(model.request.clone());
        Filed::of(&self.deps, args, file, model, &columns, cx).await
    }

    /// Updates of views that were left behind when a newer version took their place, while this model was trained, and of
    /// those that they are computed from: they are kept up to date again from now on.
    async fn wishes(&self, version: &ModelVersion) -> Result<Vec<NewJob>, Error> {
        let kept = tidemill_live::maintained_versions(&self.deps.catalog, None).await?;
        let versions = self.deps.catalog.view_versions(None).await?;
        let mut needed = Vec::new();
        for (view, number) in &version.view_versions {
            if let Some(read) = versions.iter().find(|it| it.view == *view && it.version == *number) {
                read.with_inputs(&versions, &mut needed);
            }
        }
        let is_kept = |needed: &ViewVersion| {
            kept.iter().any(|kept| (&kept.view, kept.version) == (&needed.view, needed.version))
        };
        let left_behind = needed.into_iter().filter(|needed| !is_kept(needed));
        let stored = left_behind.filter(|version| version.plan.definition.kind().stored());
        let update = |ViewVersion { view, .. }: &ViewVersion| {
            let update = FeaturesUpdate { view: view.clone() };
            NewJob {
                key: Some(update.key()),
                concurrency_key: Some(features_concurrency_key(view)),
                ..job_new(FEATURES_UPDATE, &update)
            }
        };
        Ok(stored.map(update).collect())
    }

    async fn version(
        &self,
        objects: &Objects,
        (name, artifact): (&str, &str),
        training: &Training,
        run: RunId,
    ) -> Result<ModelVersion, Error> {
        let (model, hydration) = declared(objects, name)?;
        let local = warm::fetch(&self.deps, artifact).await?;
        let signature = Signature::read(&local)?;
        let mut columns = hydration.columns.clone();
        columns.extend(model.request.clone());
        folder::check_mlmodel(&local, &signature)
            .and_then(|()| folder::check_signature(&signature, &model.runtime, &columns, &model.outputs))
            .map_err(|mismatch| Error::Mismatch { model: name.to_owned(), mismatch })?;
        let columns = folder::nulls_that_fail(&signature, objects, &hydration);
        if !model.fail_on_missing && !columns.is_empty() {
            return Err(Error::FailsOnNulls { model: name.to_owned(), columns });
        }
        if let Some(column) = model.nullable.iter().find(|name| signature.no_nulls.contains(name)) {
            let mismatch =
                format!("it fails on a null in `{column}`, which the model's `request` says is nullable");
            return Err(Error::Mismatch { model: name.to_owned(), mismatch });
        }
        let views: Vec<String> = hydration.rounds.iter().flatten().map(|read| read.view.clone()).collect();
        let dataset = training.dataset.as_ref();
        let mut view_versions = dataset.map(|dataset| dataset.view_versions.clone()).unwrap_or_default();
        if let Some((dataset, view)) = dataset.zip(untrained(&views, &view_versions)) {
            let mismatch =
                format!("it was trained on {}, which has nothing of its input `{view}`", dataset.id);
            return Err(Error::Mismatch { model: name.to_owned(), mismatch });
        }
        for view in &views {
            if !view_versions.contains_key(view)
                && let Some(current) = self.deps.catalog.current_view(view).await?
            {
                view_versions.insert(view.clone(), current.version);
            }
        }
        Ok(ModelVersion {
            model: name.to_owned(),
            version: 0,
            artifact: artifact.to_owned(),
            runtime: model.runtime.clone(),
            keys: objects.entities.get(&model.entity).map(|entity| entity.keys.clone()).unwrap_or_default(),
            hydration,
            request: model.request.clone(),
            nullable: Some(model.nullable_in_request()),
            outputs: model.outputs.clone(),
            fail_on_missing: model.fail_on_missing,
            processes: model.processes,
            processes_max: model.processes_max,
            categories: categories(&signature),
            view_versions,
            leak_allowed: dataset
                .map_or_else(|| objects.leaks(&views), |dataset| dataset.leak_allowed.clone()),
            dataset: dataset.map(|dataset| dataset.id),
            params: training.params.clone(),
            run: Some(run),
            // What the model was made with, whatever was applied since.
            code_hash: match training.code.clone() {
                Some(code) => Some(code),
                None => self.deps.catalog.code_hash().await?,
            },
        })
    }
}

/// A model as it is declared, and how a key becomes its vector.
fn declared<'o>(objects: &'o Objects, name: &str) -> Result<(&'o Model, Hydration), Error> {
    let unknown =
        || Error::UnknownModel { name: name.to_owned(), known: objects.models.keys().cloned().collect() };
    let model = objects.models.get(name).ok_or_else(unknown)?;
    Ok((model, objects.hydration(name).ok_or_else(unknown)?))
}

/// A view that the model reads and its dataset knows nothing of, though columns of other views may have its names. A dataset
/// without views says nothing.
fn untrained<'v>(views: &'v [String], trained: &BTreeMap<String, i32>) -> Option<&'v String> {
    views.iter().find(|view| !trained.is_empty() && !trained.contains_key(*view))
}

fn categories(signature: &Signature) -> IndexMap<String, Vec<String>> {
    let columns = signature.columns.iter();
    columns.filter_map(|column| Some((column.name.clone(), column.categories.clone()?))).collect()
}

fn edges(version: &ModelVersion, number: i32, file: Option<Node>) -> Vec<Edge> {
    let model = Node::Model(version.model.clone(), number);
    let mut origins: Vec<Node> = version.dataset.map(Node::Dataset).into_iter().chain(file).collect();
    origins.extend(version.view_versions.iter().map(|(view, version)| Node::View(view.clone(), *version)));
    let edge = |from| Edge {
        run: version.run,
        code_hash: version.code_hash.clone(),
        ..Edge::new(from, model.clone())
    };
    origins.into_iter().map(edge).collect()
}

/// What the run says of how the artifact was made; empty for an artifact from elsewhere.
#[derive(Debug, Default)]
struct Training {
    dataset: Option<Dataset>,
    params: Map<String, Json>,
    metrics: Map<String, Json>,
    /// Hash of the code that the step ran.
    code: Option<String>,
    /// All artifacts that steps of the run left.
    known: Vec<String>,
}

impl Training {
    /// Looks for the step of the same run that left the artifact.
    async fn of(deps: &Deps, run: RunId, artifact: &str) -> Result<Self, Error> {
        let page = deps.catalog.store().run(run).await?;
        let left = |step: &StepRow| Some(step.outputs.as_ref()?.get("artifact")?.as_str()?.to_owned());
        let known: Vec<String> = page.step_list.iter().filter_map(left).collect();
        let Some(step) = page.step_list.into_iter().find(|step| left(step).as_deref() == Some(artifact))
        else {
            return Ok(Self { known, ..Self::default() });
        };
        let code = step.args.get("code").and_then(Json::as_str).map(str::to_owned);
        let reference =
            step.outputs.as_ref().and_then(|outputs| outputs.get("dataset")?.as_str()?.parse().ok());
        let dataset = match reference {
            Some(DatasetPartRef { id, .. }) => deps.catalog.dataset(id).await?,
            None => None,
        };
        let map = |json: Option<Json>| match json {
            Some(Json::Object(map)) => map,
            _ => Map::new(),
        };
        Ok(Self { dataset, params: map(step.params), metrics: map(step.metrics), code, known })
    }

    /// Logged metrics that are numbers.
    fn figures(&self) -> impl Iterator<Item = (String, f64)> {
        self.metrics.iter().filter_map(|(name, value)| Some((name.clone(), value.as_f64()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_another_view_are_no_training_on_the_model_s_own() {
        let views = ["group2".to_owned(), "win".to_owned()];
        let trained = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), 1)).collect();
        assert_eq!(untrained(&views, &trained(&["group", "win"])), Some(&views[0]));
        assert_eq!(untrained(&views, &trained(&["group", "group2", "win"])), None);
        assert_eq!(untrained(&views, &trained(&[])), None);
    }
}
