//! Training sets for notebooks and scripts: anyone's rows with a moment each, and the features as of then.

use std::{collections::BTreeMap, path::Path, time::Duration};

use arrow::{
    array::{ArrayRef, RecordBatch},
    compute::cast,
    datatypes::{DataType, Field, Schema, TimeUnit},
};
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
    wait,
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
    /// Rows that would change under `known_at: label`; none where a derived view is read.
    pub changed_under_known_at: Option<u64>,
}

/// Joins the rows of a file (Parquet, CSV or JSON lines) with features as of each row's `label_ts`. The file has the
/// key columns and anything else, kept as it is; naive instants are UTC. Waits until the views hold what is in the
/// lake now.
///
/// # Errors
/// A column is missing, a name isn't declared, or the views don't catch up within two minutes.
pub async fn build_from_labels(
    deps: &Deps,
    file: &Path,
    inputs: &DatasetInputs,
    known_at: Option<KnownAt>,
) -> Result<FromLabels, Error> {
    let objects = deps.catalog.objects().await?;
    let labels = deps.lake.read_file(file).await?;
    let columns: Vec<String> = labels.schema().fields().iter().map(|field| field.name().clone()).collect();
    let inputs = Inputs::resolve(&deps.catalog, &objects, inputs, &columns).await?;
    let labels = conform(labels, &typed_columns(&objects, &inputs))?;
    let lake_version = catch_up(deps, &inputs).await?;
    let assembled = assemble(&deps.lake, labels, &inputs, lake_version, known_at).await?;
    Ok(FromLabels {
        rows: assembled.rows,
        lake_version,
        view_versions: inputs.view_versions(),
        leak_allowed: inputs.leak_allowed,
        changed_under_known_at: assembled.changed,
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
        if now_behind != behind {
            wait::ask_for_updates(&deps.catalog, &now_behind).await?;
            behind = now_behind;
        }
    }
    Err(Error::Behind(behind))
}

/// The columns that the labels must have, and the types that the join needs them in.
fn typed_columns(objects: &Objects, inputs: &Inputs) -> IndexMap<String, Type> {
    let mut columns = inputs.request.clone();
    for read in inputs.hydration.rounds.iter().flatten() {
        let entity = inputs.views.get(&read.view).map(|view| &view.entity);
        for ((key, ty), origin) in entity.into_iter().flat_map(|entity| &entity.keys).zip(&read.keys) {
            if let KeyOrigin::Request(column) = origin {
                columns.insert(if column.is_empty() { key.clone() } else { column.clone() }, *ty);
            }
        }
    }
    // Key columns that are themselves inputs of the model.
    let model = inputs.model.as_ref().and_then(|name| objects.models.get(name));
    let keys = model.and_then(|model| objects.entities.get(&model.entity)).map(|entity| &entity.keys);
    for (key, ty) in keys.into_iter().flatten().filter(|(key, _)| inputs.hydration.columns.contains_key(*key))
    {
        columns.insert(key.clone(), *ty);
    }
    columns
}

/// The rows with their moment and the needed columns in the types that the join needs.
fn conform(labels: RecordBatch, columns: &IndexMap<String, Type>) -> Result<RecordBatch, Error> {
    let instant = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let mut needed: IndexMap<&str, DataType> =
        columns.iter().map(|(name, ty)| (name.as_str(), tidemill_rows::arrow_type(*ty))).collect();
    needed.insert(LABEL_TS, instant);
    if let Some(column) = needed.keys().find(|name| labels.column_by_name(name).is_none()) {
        let purpose = if *column == LABEL_TS { "each row's moment" } else { "needed to find the features" };
        return Err(Error::MissingColumn { column: (*column).to_owned(), purpose });
    }
    let schema = labels.schema();
    let converted = schema.fields().iter().zip(labels.columns()).map(|(field, array)| {
        let array: ArrayRef = match needed.get(field.name().as_str()) {
            Some(wanted) if wanted != field.data_type() => cast(array, wanted)?,
            _ => array.clone(),
        };
        Ok((Field::new(field.name(), array.data_type().clone(), true), array))
    });
    let (fields, arrays): (Vec<_>, Vec<_>) =
        converted.collect::<Result<Vec<_>, Error>>()?.into_iter().unzip();
    Ok(RecordBatch::try_new(std::sync::Arc::new(Schema::new(fields)), arrays)?)
}
