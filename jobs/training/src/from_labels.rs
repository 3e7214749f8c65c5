//! Training sets for notebooks and scripts: anyone's rows with a moment each, and the features as of then.

use std::{collections::BTreeMap, path::Path, time::Duration};

use arrow::array::RecordBatch;
use indexmap::IndexMap;
use tidemill_offline::Version;
use tidemill_spec::{
    KeyOrigin, Objects, Type,
    steps::{DatasetInputs, KnownAt},
};

use crate::{
    Deps, Error,
    assemble::{LABEL_TS, assemble},
    inputs::Inputs,
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
}

/// Joins the rows of a file (Parquet, CSV or JSON lines) with features as of each row's `label_ts`. The file has the
/// key columns and anything else, kept as it is; naive instants are UTC. Waits until the views hold what is in the
/// lake now.
///
/// # Errors
/// A column is missing, a name isn't declared, a view's update has failed, or the views don't catch up within two
/// minutes.
pub async fn build_from_labels(
    deps: &Deps,
    file: &Path,
    inputs: &DatasetInputs,
    known_at: Option<KnownAt>,
) -> Result<FromLabels, Error> {
    let objects = deps.catalog.objects().await?;
    let columns = deps.lake.file_columns(file).await?;
    let inputs = Inputs::resolve(&deps.catalog, &objects, inputs, &columns).await?;
    let types = typed_columns(&objects, &inputs);
    if let Some(column) = types.keys().find(|name| !columns.contains(name)) {
        let purpose = if column == LABEL_TS { "each row's moment" } else { "needed to find the features" };
        return Err(Error::MissingColumn { column: column.clone(), purpose });
    }
    let labels = deps.lake.label_file(file, &types).await?;
    given(&objects, &inputs, &labels.rows)?;
    let lake_version = catch_up(deps, &inputs).await?;
    let assembled = assemble(&deps.lake, labels.rows, &inputs, lake_version, known_at).await?;
    let warnings =
        told::stored_otherwise(&deps.lake, &inputs.waits_for, std::iter::empty(), lake_version).await?;
    Ok(FromLabels {
        rows: assembled.rows,
        lake_version,
        view_versions: inputs.view_versions(),
        leak_allowed: inputs.leak_allowed,
        changed_under_known_at: assembled.changed,
        warnings,
        naive_timestamps: labels.naive_timestamps,
    })
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
    let nullable = model.map(|model| model.nullable.as_slice()).unwrap_or_default();
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
