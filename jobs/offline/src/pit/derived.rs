//! The join with views that hold nothing: their inputs as of each row's moment, and expressions over these.

use std::sync::Arc;

use arrow::{
    array::{
        Array as _, ArrayRef, AsArray as _, RecordBatch, RecordBatchOptions, TimestampMicrosecondArray,
        new_null_array,
    },
    datatypes::{Field, FieldRef, Schema, TimestampMicrosecondType},
};
use tidemill_expressions::Expressions;
use tidemill_rows::{self as rows, array, arrow_type, value_at};
use tidemill_spec::{Feature, HydrationRead, OnDemand, Type, Value};

use super::{Asked, FOUND_AT, Found, PitRead, join::Join, typed_keys};
use crate::{Error, Lake, view::Input};

/// The features of one view for the asked rows, in their order, and [`FOUND_AT`].
pub(super) async fn features(
    join: &Join<'_>,
    read: &PitRead,
    features: &[String],
    asked: &Asked,
) -> Result<Vec<(String, ArrayRef)>, Error> {
    let view = &read.view;
    let declared = features.iter().filter_map(|name| view.definition.features.get_key_value(name));
    let declared: Vec<(&String, &Feature)> = declared.collect();
    let expressions = Arc::new(Expressions::new(&view.row(), declared.iter().copied()));
    let wanted: Vec<&str> = expressions.columns().map(|(name, _)| name).collect();
    let reads: Vec<&HydrationRead> = view.inputs.iter().map(|input| &input.read).collect();
    let mut found: Vec<Found> = Vec::new();
    for Input { read: of, view: input } in &view.inputs {
        let used = of.features.iter().filter(|name| wanted.contains(&of.column(name).as_str()));
        let mut needed: Vec<String> = used.cloned().collect();
        for key in of.gives(reads.iter().copied()) {
            if !needed.contains(&key) {
                needed.push(key);
            }
        }
        let keys = typed_keys(input, &of.keys, &found, |name| {
            let own = asked.keys.iter().find(|(key, _)| key == name);
            let (_, keys) = own.ok_or_else(|| no_input(view.name(), name))?;
            Ok(Arc::clone(keys))
        })?;
        let asked = Asked { keys, ..asked.clone() };
        let columns = join.features(&PitRead::all(input.clone()), &needed, &asked).await?;
        found.push(Found { view: of.name().to_owned(), columns });
    }
    let row = row(&expressions, read, asked, &found)?;
    let computed = evaluated(join.lake, &expressions, &row, &format!("view {}", view.name())).await?;
    let columns = declared.iter().zip(computed.columns());
    let columns =
        columns.map(|((name, feature), array)| Ok(((*name).clone(), with_default(name, feature, array)?)));
    let mut columns = columns.collect::<Result<Vec<_>, Error>>()?;
    columns.push((FOUND_AT.to_owned(), oldest(&found, asked.moments.len())));
    Ok(columns)
}

/// The rows with the features that are computed from them.
pub(super) async fn on_demand(
    lake: &Lake,
    OnDemand { row, features }: &OnDemand,
    rows: RecordBatch,
) -> Result<RecordBatch, Error> {
    let expressions = Arc::new(Expressions::new(row, features));
    if let Some((column, _)) = expressions.columns().find(|(column, _)| rows.column_by_name(column).is_none())
    {
        let message = format!("on-demand features are computed from `{column}`, which the rows do not have");
        return Err(Error::invalid(602, message));
    }
    let computed = evaluated(lake, &expressions, &rows, "on-demand features").await?;
    let schema = rows.schema();
    let mut fields: Vec<FieldRef> = schema.fields().iter().cloned().collect();
    let mut columns = rows.columns().to_vec();
    for ((name, feature), array) in features.iter().zip(computed.columns()) {
        if rows.column_by_name(name).is_some() {
            let message =
                format!("two columns are named `{name}`: one of the rows, and an on-demand feature");
            return Err(Error::invalid(603, message));
        }
        let array = with_default(name, feature, array)?;
        fields.push(Arc::new(Field::new(name, array.data_type().clone(), true)));
        columns.push(array);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    let batch = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options);
    Ok(batch.map_err(rows::Error::from)?)
}

/// Expressions over rows, for as long as SQL over rows may take.
async fn evaluated(
    lake: &Lake,
    expressions: &Arc<Expressions>,
    rows: &RecordBatch,
    of: &str,
) -> Result<RecordBatch, Error> {
    let computed = lake.evaluator.evaluate(expressions, rows, lake.duck.rows_limit()).await;
    computed.map_err(|source| match source {
        tidemill_expressions::Error::TooLong { limit } => {
            Error::TooLong { doing: format!("computing {of}"), limit }
        }
        source => Error::Expressions { of: of.to_owned(), source },
    })
}

/// The columns that expressions read: the entity's keys, and what was found of the inputs.
fn row(
    expressions: &Expressions,
    read: &PitRead,
    asked: &Asked,
    found: &[Found],
) -> Result<RecordBatch, Error> {
    let of_inputs = read.view.inputs.iter().zip(found).flat_map(|(input, found)| {
        found.columns.iter().map(|(feature, array)| (input.read.column(feature), array))
    });
    let keys = asked.keys.iter().map(|(name, array)| (name.clone(), array));
    let known: Vec<(String, &ArrayRef)> = keys.chain(of_inputs).collect();
    let column = |name: &str| {
        let (_, array) =
            known.iter().find(|(known, _)| known == name).ok_or_else(|| no_input(read.view.name(), name))?;
        Ok((Arc::new(Field::new(name, array.data_type().clone(), true)), Arc::clone(array)))
    };
    let columns = expressions.columns().map(|(name, _)| column(name)).collect::<Result<Vec<_>, Error>>()?;
    // Rows have to be counted, also where no expression reads a column of them.
    let count = Arc::new(Field::new("_at", asked.moments.data_type().clone(), false));
    let columns = columns.into_iter().chain([(count, Arc::clone(&asked.moments))]);
    let (fields, arrays): (Vec<FieldRef>, Vec<ArrayRef>) = columns.unzip();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).map_err(rows::Error::from)?)
}

fn no_input(view: &str, column: &str) -> Error {
    Error::invalid(602, format!("view `{view}` is computed from `{column}`, which none of its inputs has"))
}

/// What can't be computed, or comes to nothing, is the declared default.
fn with_default(name: &str, feature: &Feature, computed: &ArrayRef) -> Result<ArrayRef, Error> {
    let Some(default) = &feature.default else { return Ok(Arc::clone(computed)) };
    let values: Vec<Value> = (0..computed.len()).map(|row| value_at(computed, row)).collect();
    let values = values.iter().map(|value| if value.is_null() { default } else { value });
    Ok(array(name, feature.ty, values)?)
}

/// When the oldest of what was found of the inputs became known; null where nothing was.
fn oldest(found: &[Found], count: usize) -> ArrayRef {
    let of_inputs = found.iter().filter_map(|found| found.columns.iter().find(|(name, _)| name == FOUND_AT));
    let of_inputs: Vec<_> =
        of_inputs.map(|(_, array)| array.as_primitive::<TimestampMicrosecondType>()).collect();
    if of_inputs.is_empty() {
        return new_null_array(&arrow_type(Type::Timestamp), count);
    }
    let oldest = |row: usize| of_inputs.iter().filter(|at| at.is_valid(row)).map(|at| at.value(row)).min();
    let oldest: TimestampMicrosecondArray = (0..count).map(oldest).collect();
    Arc::new(oldest.with_timezone("UTC"))
}
