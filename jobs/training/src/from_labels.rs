//! Training sets for notebooks and scripts: anyone's rows with a moment each, and the features as of then.

use std::{collections::BTreeMap, path::Path, time::Duration};

use arrow::array::{Array as _, RecordBatch};
use indexmap::IndexMap;
use tidemill_core::Time;
use tidemill_offline::{Answers, Version};
use tidemill_spec::{
    KeyOrigin, Model, Objects, Type,
    steps::{DatasetInputs, KnownAt},
};

use crate::{
    Deps, Error, LabelRead,
    assemble::{LABEL_TS, assemble},
    coverage,
    inputs::Inputs,
    split::MATURED_AT,
    told, wait,
};

/// How often lagging views are looked at, and how often at most.
const LOOK_EVERY: Duration = Duration::from_millis(100);
const LOOKS_MAX: u32 = 1_200;

/// What was built.
#[derive(Clone, Debug)]
pub struct FromLabels {
    /// The label rows in their order with all their columns, then the features.
    pub rows: RecordBatch,
    /// Lake version that every read was pinned to.
    pub lake_version: Version,
    /// Version of each view that was read.
    pub view_versions: BTreeMap<String, i32>,
    /// Views read whose declared leak is allowed.
    pub leak_allowed: Vec<String>,
    /// Rows that would change under `known_at: label`; none where Python over views is read.
    pub changed_under_known_at: Option<u64>,
    /// How rows that it was made of are stored otherwise than their sources are declared, a sentence each.
    pub warnings: Vec<String>,
    /// Some moment came without a zone and was read as UTC.
    pub naive_timestamps: bool,
    /// What became of the label that was asked for with the features, if one was.
    pub answers: Option<FileAnswers>,
}

/// A label that is computed for each row of a file.
#[derive(Clone, Copy, Debug)]
pub struct FileLabel<'a> {
    /// A label over windows.
    pub name: &'a str,
    /// The data clock: what matures later has no answer.
    pub clock: Time,
}

/// What became of the label of a file's rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileAnswers {
    /// How many have matured.
    pub matured: usize,
    /// Matured ones without an answer.
    pub left_out: usize,
    /// How many rows have each value; empty where these are too many to be classes.
    pub classes: BTreeMap<String, u64>,
}

/// Joins the rows of a file (Parquet, CSV or JSON lines) with features as of each row's `label_ts`. The file has the
/// key columns and anything else, kept as it is; naive instants are UTC. `label`: one whose answer, and `matured_at`, come
/// after the file's columns. Waits until the views hold what is in the lake now.
///
/// # Errors
/// A column is missing, a name isn't declared, a view's update has failed, or the views don't catch up within two
/// minutes.
pub async fn build_from_labels(
    deps: &Deps,
    file: &Path,
    inputs: &DatasetInputs,
    known_at: Option<KnownAt>,
    label: Option<FileLabel<'_>>,
) -> Result<FromLabels, Error> {
    let objects = deps.catalog.objects().await?;
    let columns = deps.lake.file_columns(file).await?;
    let inputs = Inputs::resolve(&deps.catalog, &objects, inputs, &columns).await?;
    let read = match label {
        Some(label) => Some(LabelRead::resolve(&deps.catalog, &objects, label.name).await?),
        None => None,
    };
    let mut types = typed_columns(&objects, &inputs);
    if let Some(read) = &read {
        fits(read, &columns)?;
        types.extend(read.entity.keys.iter().map(|(key, ty)| (key.clone(), *ty)));
    }
    if let Some(column) = types.keys().find(|name| !columns.contains(name)) {
        let purpose = if column == LABEL_TS { "each row's moment" } else { "needed to find the features" };
        return Err(Error::MissingColumn { column: column.clone(), purpose });
    }
    let labels = deps.lake.label_file(file, &types).await?;
    given(&objects, &inputs, &labels.rows)?;
    let lake_version = catch_up(deps, &inputs).await?;
    let (rows, answers) = match label.zip(read.as_ref()) {
        None => (labels.rows, None),
        Some((label, read)) => {
            let (rows, answers) = answered(deps, read, labels.rows, label.clock, lake_version).await?;
            (rows, Some(answers))
        }
    };
    let assembled = assemble(&deps.lake, rows, &inputs, lake_version, known_at).await?;
    let sources = read.iter().map(|read| &read.source);
    let warnings = told::stored_otherwise(&deps.lake, &inputs.waits_for, sources, lake_version).await?;
    Ok(FromLabels {
        rows: assembled.rows,
        lake_version,
        view_versions: inputs.view_versions(),
        leak_allowed: inputs.leak_allowed,
        changed_under_known_at: assembled.changed,
        warnings,
        naive_timestamps: labels.naive_timestamps,
        answers,
    })
}

/// Whether a label can be computed for rows of a file.
fn fits(read: &LabelRead, columns: &[String]) -> Result<(), Error> {
    let name = &read.label.name;
    if read.label.ahead().is_none() {
        return Err(Error::NotAhead { label: name.clone(), source_name: read.source.name.clone() });
    }
    let taken = columns.iter().find(|column| *column == name || *column == MATURED_AT);
    taken.map_or(Ok(()), |column| Err(Error::DoubleColumn(column.clone())))
}

/// The rows with the label's answer and when it matures.
async fn answered(
    deps: &Deps,
    read: &LabelRead,
    rows: RecordBatch,
    clock: Time,
    version: Version,
) -> Result<(RecordBatch, FileAnswers), Error> {
    let request = read.rows(Time::MIN_UTC..Time::MAX_UTC, clock, version);
    let Answers { answer, matured_at, matured } = deps.lake.answers(&request, &rows).await?;
    let known = answer.len() - answer.null_count();
    let name = &read.label.name;
    let schema = rows.schema();
    let own = schema.fields().iter().map(|field| field.name().as_str()).zip(rows.columns().iter().cloned());
    let more = [(name.as_str(), answer), (MATURED_AT, matured_at)];
    let columns = own.chain(more).map(|(name, array)| (name, array, true));
    let rows = RecordBatch::try_from_iter_with_nullable(columns)?;
    let classes = coverage::classes(&rows, name);
    Ok((rows, FileAnswers { matured, left_out: matured - known, classes }))
}

/// The version to read: the head once every view has reached what is in the lake now.
async fn catch_up(deps: &Deps, inputs: &Inputs) -> Result<Version, Error> {
    let head = deps.lake.head().await?;
    let mut looks = tokio::time::interval(LOOK_EVERY);
    let mut behind = Vec::new();
    for _ in 0..LOOKS_MAX {
        looks.tick().await;
        let now_behind = wait::behind(&deps.catalog, &inputs.waits_for, head).await?;
        if now_behind.is_empty() {
            return Ok(deps.lake.head().await?);
        }
        wait::check_failed(&deps.catalog, &now_behind).await?;
        if now_behind != behind {
            wait::ask_for_updates(&deps.catalog, &now_behind).await?;
            behind = now_behind;
        }
    }
    Err(Error::Behind(behind))
}

/// A model never meets a null in serving where its request says there is none; so it doesn't in training.
fn given(objects: &Objects, inputs: &Inputs, labels: &RecordBatch) -> Result<(), Error> {
    let model = inputs.model.as_ref().and_then(|name| objects.models.get(name));
    let nullable = model.map(Model::nullable_in_request).unwrap_or_default();
    for column in inputs.request.keys().filter(|name| !nullable.contains(name)) {
        let nulls = labels.column_by_name(column).filter(|values| values.null_count() > 0);
        if let Some(row) = nulls.and_then(|values| (0..values.len()).find(|row| values.is_null(*row))) {
            return Err(Error::NullRequest { column: column.clone(), row: row + 1 });
        }
    }
    Ok(())
}

/// The columns that the labels must have, and the types that the join needs them in; each row's moment among them.
fn typed_columns(objects: &Objects, inputs: &Inputs) -> IndexMap<String, Type> {
    let mut columns = inputs.request.clone();
    columns.insert(LABEL_TS.to_owned(), Type::Timestamp);
    for read in inputs.hydration.rounds.iter().flatten() {
        let entity = inputs.views.get(&read.view).map(|view| &view.entity);
        for ((key, ty), origin) in entity.into_iter().flat_map(|entity| &entity.keys).zip(&read.keys) {
            if let KeyOrigin::Request(column) = origin {
                columns.insert(if column.is_empty() { key.clone() } else { column.clone() }, *ty);
            }
        }
    }
    // Key columns that are themselves inputs of the model, or may be read by what it computes.
    let model = inputs.model.as_ref().and_then(|name| objects.models.get(name));
    let keys = model.and_then(|model| objects.entities.get(&model.entity)).map(|entity| &entity.keys);
    let computed = inputs.hydration.on_demand.is_some();
    let read = |key: &String| computed || inputs.hydration.columns.contains_key(key);
    for (key, ty) in keys.into_iter().flatten().filter(|(key, _)| read(key)) {
        columns.insert(key.clone(), *ty);
    }
    columns
}
