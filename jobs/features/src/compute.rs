//! The rows of a unit: in SQL by the lake, or by user Python. Rows that either fails on become dead letters, and null.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray as _, BooleanArray, RecordBatch},
    compute::{concat_batches, filter, filter_record_batch, not},
};
use tidemill_catalog::{ViewVersion, code};
use tidemill_core::Fault;
use tidemill_offline::{Moments, Refused, Stamp, View};
use tidemill_pyrun::{Mode, Printed, PyError, PyPool, Transform};
use tidemill_rows::{CREATED_AT, DELETED, Row, SEQ, VALID_AT, array, json_rows, row::column, rows_of};
use tidemill_spec::{Type, Value, ViewKind};

use crate::{
    Deps, Error,
    selection::Selection,
    target::{Target, Unit},
};

/// What a unit computed.
#[derive(Debug)]
pub(crate) struct Computed {
    /// In the columns of the view's table.
    pub(crate) rows: RecordBatch,
    /// Rows that could not be computed; what fails is null in `rows`.
    pub(crate) dead: Vec<DeadRow>,
}

/// A row that the view's SQL or Python fails on.
#[derive(Debug)]
pub(crate) struct DeadRow {
    /// When the row became known.
    pub(crate) valid_at: Value,
    /// The row as it was read, as JSON.
    pub(crate) raw: String,
    /// Why; of Python with its traceback, trimmed to the user's own frames.
    pub(crate) fault: Fault,
}

/// Computes a unit of `view`. `printed`: what user Python prints.
pub(crate) async fn compute(
    deps: &Deps,
    view: &View,
    version: &ViewVersion,
    target: &Target,
    unit: &Unit,
    printed: &mut Printed,
) -> Result<Computed, Error> {
    let stamp = Stamp { created_at: target.clock, seq: target.lake_version };
    let lake = &deps.lake;
    match (view.kind(), &view.definition.python) {
        (ViewKind::Windows, _) => {
            // Which rows are not counted is told once, for all entities.
            let refused = match unit.part.0 {
                0 => lake.uncounted_rows(view, unit.commits).await?,
                _ => None,
            };
            let rows = tiles(deps, view, target, unit.part.0).await?;
            Computed::in_sql(tidemill_offline::Computed { rows, keyless: 0, refused })
        }
        (ViewKind::Rows, None) => {
            let mut computed = lake.compute_rows(view, unit.commits, unit.part).await?;
            computed.rows = unit.selection.filter(computed.rows)?;
            if let Some(refused) = computed.refused.take() {
                computed.refused = Some(chosen(refused, &unit.selection)?);
            }
            Computed::in_sql(computed)
        }
        (ViewKind::Rows, Some(entry)) => {
            let rows = lake.source_rows(view, unit.commits, unit.part).await?.rows;
            let rows = unit.selection.filter(rows)?;
            let mut python = Python { pool: pool(deps, version).await?, view, entry, printed };
            python.row_view(&rows).await
        }
        (ViewKind::Snapshots, entry) => {
            let mut moments = lake.snapshots(view, unit.commits, unit.part).await?;
            if unit.selection != Selection::All {
                let chosen = unit.selection.of(&moments.inputs)?;
                moments.inputs = filter_record_batch(&moments.inputs, &chosen)?;
                moments.gone = filter(&moments.gone, &chosen)?.as_boolean().clone();
            }
            let entry = entry.as_deref().unwrap_or_default();
            let mut python = Python { pool: pool(deps, version).await?, view, entry, printed };
            python.over_views(&moments, stamp).await
        }
        (ViewKind::Derived, _) => Ok(Computed::whole(RecordBatch::new_empty(view.schema()))),
    }
}

/// What SQL failed on among the rows that are wanted.
fn chosen(refused: Refused, selection: &Selection) -> Result<Refused, Error> {
    if *selection == Selection::All {
        return Ok(refused);
    }
    let wanted = selection.of(&refused.rows)?;
    let reasons = refused.reasons.into_iter().zip(wanted.values()).filter(|(_, wanted)| *wanted);
    let reasons = reasons.map(|(reason, _)| reason).collect();
    Ok(Refused { rows: filter_record_batch(&refused.rows, &wanted)?, reasons })
}

/// The tiles within reach of the clock that the target touches, of a part of the entities.
pub(crate) async fn tiles(
    deps: &Deps,
    view: &View,
    target: &Target,
    part: u32,
) -> Result<RecordBatch, Error> {
    let stamp = Stamp { created_at: target.clock, seq: target.lake_version };
    Ok(deps.lake.tiles_touched(view, target.range(part), stamp).await?)
}

/// The processes that hold the code which the view version was applied with.
async fn pool(deps: &Deps, version: &ViewVersion) -> Result<PyPool, Error> {
    let folder = code::unpack(&deps.blobs, &version.code_hash, &deps.cache).await?;
    Ok(deps.python.get(&version.code_hash, &folder))
}

impl Computed {
    fn whole(rows: RecordBatch) -> Self {
        Self { rows, dead: Vec::new() }
    }

    /// Rows that an expression failed on become dead letters, as those do that Python refuses.
    fn in_sql(computed: tidemill_offline::Computed) -> Result<Self, Error> {
        let refused = computed.refused.iter().flat_map(|refused| {
            let reasons = refused.reasons.iter().enumerate();
            reasons.map(|(row, reason)| dead_row(&refused.rows, row, Fault::coded(601, reason.clone())))
        });
        Ok(Self { dead: refused.collect::<Result<_, _>>()?, rows: computed.rows })
    }
}

/// System columns by name.
type System = Vec<(&'static str, ArrayRef)>;

/// A view's function, ready to be called.
struct Python<'a> {
    pool: PyPool,
    view: &'a View,
    entry: &'a str,
    printed: &'a mut Printed,
}

impl Python<'_> {
    /// Source rows keep their place in the total order.
    async fn row_view(&mut self, source: &RecordBatch) -> Result<Computed, Error> {
        let deleted = column(source, DELETED)?.as_boolean().clone();
        let system = |rows: &RecordBatch, _: bool| -> Result<System, Error> {
            [VALID_AT, CREATED_AT, SEQ, DELETED]
                .iter()
                .map(|name| Ok((*name, Arc::clone(column(rows, name)?))))
                .collect()
        };
        self.call_on_living(source, &deleted, system).await
    }

    /// Rows that have no source row of their own carry the stamp of their target.
    async fn over_views(&mut self, moments: &Moments, stamp: Stamp) -> Result<Computed, Error> {
        let system = |rows: &RecordBatch, deleted: bool| -> Result<System, Error> {
            let same =
                |name: &str, ty, value: Value| array(name, ty, std::iter::repeat_n(&value, rows.num_rows()));
            Ok(vec![
                (VALID_AT, Arc::clone(column(rows, VALID_AT)?)),
                (CREATED_AT, same(CREATED_AT, Type::Timestamp, Value::Timestamp(stamp.created_at))?),
                (SEQ, same(SEQ, Type::Int, Value::Int(stamp.seq))?),
                (DELETED, same(DELETED, Type::Bool, Value::Bool(deleted))?),
            ])
        };
        self.call_on_living(&moments.inputs, &moments.gone, system).await
    }

    /// A deletion is passed on without asking Python. `system`: the system columns of some rows that are, or are not,
    /// deleted.
    async fn call_on_living(
        &mut self,
        input: &RecordBatch,
        deleted: &BooleanArray,
        system: impl Fn(&RecordBatch, bool) -> Result<System, Error>,
    ) -> Result<Computed, Error> {
        let living = filter_record_batch(input, &not(deleted)?)?;
        let gone = filter_record_batch(input, deleted)?;
        let mut computed = self.call(&living, &system(&living, false)?).await?;
        let nothing = self.assemble(&gone, None, &system(&gone, true)?)?;
        computed.rows = concat_batches(&self.view.schema(), [&computed.rows, &nothing])?;
        Ok(computed)
    }

    /// Calls the function on rows and puts what it returns beside their keys. Rows that fail become dead letters, and
    /// their features null: what was there before, or what a correction replaced, isn't their value any more.
    async fn call(&mut self, input: &RecordBatch, system: &[(&str, ArrayRef)]) -> Result<Computed, Error> {
        let features = &self.view.definition.features;
        let out = features.iter().map(|(name, feature)| (name.clone(), feature.ty)).collect();
        if input.num_rows() == 0 {
            return Ok(Computed::whole(self.assemble(input, None, system)?));
        }
        let transform = Transform {
            entry: self.entry.to_owned(),
            mode: if self.view.definition.batch { Mode::Batch } else { Mode::Row },
            out,
            call_limit: self.view.definition.call_limit(),
            patience: self.view.definition.call_patience(),
        };
        let transformed = self.pool.transform(&transform, input, self.printed).await;
        let transformed = transformed.map_err(|error| self.at_view(input, error))?;
        let rows = self.assemble(input, Some(&transformed.rows), system)?;
        let dead = transformed.failures.into_iter().map(|(row, fault)| dead_row(input, row, fault));
        Ok(Computed { rows, dead: dead.collect::<Result<_, _>>()? })
    }

    /// Names the function, the view, and the first of the rows that it was called with last.
    fn at_view(&self, input: &RecordBatch, source: PyError) -> Error {
        let call = match &source {
            PyError::GaveUp { rows, .. } => raw(input, rows.start).ok().map(|row| match rows.len() {
                1 => row,
                count => format!("{count} rows, the first {row}"),
            }),
            _ => None,
        };
        Error::Python {
            place: format!("`{}` of view `{}`", self.entry, self.view.name()),
            call,
            source: Box::new(source),
        }
    }

    /// The view's columns: keys of the input, features as returned (null without), system columns as given.
    fn assemble(
        &self,
        input: &RecordBatch,
        features: Option<&RecordBatch>,
        system: &[(&str, ArrayRef)],
    ) -> Result<RecordBatch, Error> {
        let schema = self.view.schema();
        let find = |name: &str| -> Result<ArrayRef, Error> {
            if let Some((_, array)) = system.iter().find(|(system, _)| *system == name) {
                return Ok(Arc::clone(array));
            }
            if self.view.entity.keys.contains_key(name) {
                return Ok(Arc::clone(column(input, name)?));
            }
            match features {
                Some(features) => Ok(Arc::clone(column(features, name)?)),
                None => Ok(arrow::array::new_null_array(
                    schema.field_with_name(name)?.data_type(),
                    input.num_rows(),
                )),
            }
        };
        let arrays = schema.fields().iter().map(|field| find(field.name())).collect::<Result<Vec<_>, _>>()?;
        Ok(RecordBatch::try_new(schema.clone(), arrays)?)
    }
}

fn dead_row(input: &RecordBatch, row: usize, fault: Fault) -> Result<DeadRow, Error> {
    let one = input.slice(row, 1);
    let valid_at = rows_of(&one)?.into_iter().next().and_then(|mut row: Row| row.swap_remove(VALID_AT));
    Ok(DeadRow { valid_at: valid_at.unwrap_or(Value::Null), raw: raw(input, row)?, fault })
}

/// A row as JSON.
fn raw(input: &RecordBatch, row: usize) -> Result<String, Error> {
    let raw = json_rows(&input.slice(row, 1))?.into_iter().next().unwrap_or_default();
    Ok(serde_json::Value::Object(raw).to_string())
}
