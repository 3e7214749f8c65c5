//! Step `model.predict_batch`: predictions of a version for the rows of a dataset, appended to the model's table.
//!
//! The table keeps the rows as they were asked (keys, features, label) beside the outputs as flat columns
//! (`OutputType::columns`), so that monitors read one table. Keyed by version and dataset: however often it is asked for, a row is predicted once.

use std::sync::Arc;

use arrow::{
    array::{
        Array as _, ArrayRef, AsArray as _, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray,
        TimestampMicrosecondArray,
    },
    datatypes::{DataType, Field, Float64Type, Schema, TimeUnit},
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tidemill_catalog::{DatasetPartRef, Edge, ModelVersion, Node};
use tidemill_core::{JobError, Kind, Time};
use tidemill_offline::{Staged, Table};
use tidemill_rows::{CREATED_AT, DELETED, SEQ, VALID_AT};
use tidemill_runtime::{Context, Job, Outcome};
use tidemill_spec::steps::{PREDICT_BATCH, PredictBatch};

use crate::{
    Deps, Error, Warm,
    evaluate::{named_version, read_part},
};

/// Column of a dataset that holds each row's moment.
const LABEL_TS: &str = "label_ts";
/// Before the name of a column of the dataset that an output is called too.
const ASKED: &str = "asked_";
/// Column of the table that holds the version.
const MODEL_VERSION: &str = "model_version";
/// Column of the table that holds the dataset's part.
const DATASET: &str = "dataset";

/// What was fixed by the first attempt.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Fixed {
    version: i32,
    created_at: Time,
}

/// Predicts.
#[derive(Clone, Debug)]
pub(crate) struct PredictJob {
    deps: Deps,
}

impl PredictJob {
    pub(crate) fn new(deps: Deps) -> Self {
        Self { deps }
    }
}

impl Job for PredictJob {
    type Args = PredictBatch;
    /// An alias may move between attempts.
    type Checkpoint = Fixed;
    const KIND: Kind = PREDICT_BATCH;

    async fn run(&self, args: &PredictBatch, cx: &mut Context<Fixed>) -> Result<Outcome, JobError> {
        let Deps { catalog, lake, .. } = &self.deps;
        let dataset: DatasetPartRef = args.dataset.parse().map_err(JobError::discard)?;
        let fixed = match cx.checkpoint() {
            Some(fixed) => fixed.clone(),
            None => {
                let named = named_version(catalog, &args.model, args.version, &args.alias).await?;
                let fixed = Fixed { version: named.version, created_at: cx.now_data().await? };
                cx.save_checkpoint(fixed.clone()).await?;
                fixed
            }
        };
        let version =
            named_version(catalog, &args.model, Some(fixed.version.unsigned_abs()), &args.alias).await?;
        let (rows, not_finite) = self.predict(&version, dataset, fixed.created_at).await?;
        if not_finite > 0 {
            cx.log(format!("{not_finite} predictions are not finite numbers: they are kept as null"));
        }

        let table = Table::predictions(&args.model);
        let key = format!("{}/{dataset}", fixed.version);
        let staged = self.stage(&table, &key, &version, rows.clone()).await?;
        let node = Node::Predictions(args.model.clone(), fixed.version);
        let origins = [Node::Model(args.model.clone(), fixed.version), Node::Dataset(dataset.id)];
        let edges = origins.map(|from| Edge { run: Some(cx.run()), ..Edge::new(from, node.clone()) });
        let mut tx = cx.begin().await?;
        lake.publish(tx.conn(), &table, &key, &staged).await?;
        catalog.lineage(&mut tx, &edges).await?;
        let outputs = json!({
            "rows": rows.num_rows(), "version": fixed.version, "not_finite": not_finite,
        });
        cx.commit(tx, outputs).await
    }
}

impl PredictJob {
    async fn predict(
        &self,
        version: &ModelVersion,
        dataset: DatasetPartRef,
        created_at: Time,
    ) -> Result<(RecordBatch, usize), Error> {
        let (_, asked) = read_part(&self.deps, dataset).await?;
        let predicted = Warm::load_version(&self.deps, version).await?.predict(&asked).await?;
        let (predicted, not_finite) = finite(&predicted)?;
        Ok((table_rows(&asked, &predicted, version.version, &dataset.to_string(), created_at)?, not_finite))
    }

    async fn stage(
        &self,
        table: &Table,
        key: &str,
        version: &ModelVersion,
        rows: RecordBatch,
    ) -> Result<Vec<Staged>, Error> {
        let keys: Vec<String> = version.keys.keys().cloned().collect();
        let staged = self.deps.lake.stage(table, key, 0, &keys, &rows.schema(), vec![rows]).await?;
        Ok(staged.into_iter().collect())
    }
}

/// The outputs with null for what is no finite number, and how many there were: serving answers them with an error, a table
/// of many rows is not lost for one.
fn finite(predicted: &RecordBatch) -> Result<(RecordBatch, usize), arrow::error::ArrowError> {
    let mut not_finite = 0;
    let columns = predicted.columns().iter().map(|column| {
        let Some(numbers) = column.as_primitive_opt::<Float64Type>() else { return Arc::clone(column) };
        let kept: Float64Array =
            numbers.iter().map(|number| number.filter(|number| number.is_finite())).collect();
        not_finite += kept.null_count() - numbers.null_count();
        Arc::new(kept) as ArrayRef
    });
    let columns = columns.collect();
    Ok((RecordBatch::try_new(predicted.schema(), columns)?, not_finite))
}

/// Rows of the table: what was asked, what came out, which version said so, and the columns of every lake table.
/// A prediction is valid at the moment it was asked for.
fn table_rows(
    asked: &RecordBatch,
    predicted: &RecordBatch,
    version: i32,
    dataset: &str,
    created_at: Time,
) -> Result<RecordBatch, arrow::error::ArrowError> {
    let rows = asked.num_rows();
    let own = |field: &Arc<Field>| match predicted.column_by_name(field.name()) {
        // The label may well be called what the model calls its output.
        Some(_) => Arc::new(field.as_ref().clone().with_name(format!("{ASKED}{}", field.name()))),
        None => Arc::clone(field),
    };
    let (given, said) = (asked.schema(), predicted.schema());
    let fields = given.fields().iter().map(own).chain(said.fields().iter().cloned());
    let mut columns: Vec<(Arc<Field>, ArrayRef)> =
        fields.zip(asked.columns().iter().chain(predicted.columns()).cloned()).collect();
    let moment = asked.column_by_name(LABEL_TS).cloned();
    let created =
        TimestampMicrosecondArray::from_value(created_at.timestamp_micros(), rows).with_timezone("UTC");
    let numbers = Int64Array::from_iter_values((0_i64..).take(rows));
    let instant = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let mut add = |name: &str, array: ArrayRef| {
        columns.push((Arc::new(Field::new(name, array.data_type().clone(), false)), array));
    };
    add(MODEL_VERSION, Arc::new(Int64Array::from_value(i64::from(version), rows)));
    add(DATASET, Arc::new(StringArray::from_iter_values(std::iter::repeat_n(dataset, rows))));
    add(
        VALID_AT,
        match moment {
            Some(moment) => arrow::compute::cast(&moment, &instant)?,
            None => Arc::new(created.clone()),
        },
    );
    add(CREATED_AT, Arc::new(created));
    add(SEQ, Arc::new(numbers));
    add(DELETED, Arc::new(BooleanArray::from(vec![false; rows])));
    let (fields, arrays): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prediction_that_is_no_finite_number_is_null_in_the_table() {
        let numbers = Float64Array::from(vec![Some(0.5), Some(f64::NAN), None, Some(f64::INFINITY)]);
        let batch =
            RecordBatch::try_from_iter_with_nullable([("p", Arc::new(numbers) as ArrayRef, true)]).unwrap();
        let (kept, not_finite) = finite(&batch).unwrap();
        let expected = Float64Array::from(vec![Some(0.5), None, None, None]);
        assert_eq!((kept["p"].as_ref(), not_finite), (&expected as &dyn arrow::array::Array, 2));
    }

    #[test]
    fn a_prediction_is_valid_at_the_moment_it_was_asked_for() {
        let batch = |name: &str, array: ArrayRef| RecordBatch::try_from_iter([(name, array)]).unwrap();
        let moments = TimestampMicrosecondArray::from(vec![5, 7]).with_timezone("UTC");
        let late = Arc::new(BooleanArray::from(vec![true, false])) as ArrayRef;
        let asked =
            RecordBatch::try_from_iter([(LABEL_TS, Arc::new(moments) as ArrayRef), ("p", late)]).unwrap();
        let predicted = batch("p", Arc::new(Float64Array::from(vec![0.25, 0.5])));
        let created_at = Time::from_timestamp_micros(9).unwrap();
        let rows = table_rows(&asked, &predicted, 3, "dst_1", created_at).unwrap();
        let names: Vec<_> = rows.schema().fields().iter().map(|field| field.name().clone()).collect();
        assert_eq!(
            names,
            [
                "label_ts",
                "asked_p",
                "p",
                "model_version",
                "dataset",
                "valid_at",
                "created_at",
                "seq",
                "deleted"
            ]
        );
        assert_eq!(rows["valid_at"].as_ref(), rows["label_ts"].as_ref());
        assert_eq!(rows["seq"].as_ref(), &Int64Array::from(vec![0, 1]) as &dyn arrow::array::Array);
    }
}
