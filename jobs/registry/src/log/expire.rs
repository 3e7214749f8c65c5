//! `predictions.expire`: rows of a model's log that are older than it declares to keep.
//!
//! A file is written again once it holds rows that should have gone a day ago; so each is rewritten once a day at most.

use std::time::Duration;

use arrow::{
    array::{BooleanArray, RecordBatch, TimestampMicrosecondArray},
    compute::{cast, kernels::cmp::lt},
    datatypes::{DataType, TimeUnit},
    error::ArrowError,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidemill_catalog::Catalog;
use tidemill_core::{JobError, Kind, Time};
use tidemill_offline::{Lake, LakeFile, Partings, Table};
use tidemill_rows::CREATED_AT;
use tidemill_runtime::{Context, Job, Outcome, job_new};
use tidemill_store::NewJob;

use crate::{Deps, Error};

/// Kind of [`ExpireJob`].
const PREDICTIONS_EXPIRE: Kind = Kind::new("predictions.expire");
/// How long a row may stay beyond its time.
const GRACE: Duration = Duration::from_hours(24);

/// Of which model. Stored in the queue: fields are only ever added, with a default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PredictionsExpire {
    model: String,
}

/// The job.
#[derive(Clone, Debug)]
pub struct ExpireJob {
    deps: Deps,
}

impl ExpireJob {
    /// With what it needs.
    pub fn new(deps: Deps) -> Self {
        Self { deps }
    }
}

impl Job for ExpireJob {
    type Args = PredictionsExpire;
    type Checkpoint = ();
    const KIND: Kind = PREDICTIONS_EXPIRE;

    async fn run(&self, args: &PredictionsExpire, cx: &mut Context<()>) -> Result<Outcome, JobError> {
        let Deps { catalog, lake, .. } = &self.deps;
        let table = Table::prediction_log(&args.model);
        let before = cx.clock().now() - keep(catalog, &args.model).await?;
        let (key, mut partings) = (cx.job().to_string(), Partings::default());
        let files = overdue(lake, &table, before).await?;
        let gone = move |rows: &RecordBatch| created_before(rows, before);
        lake.without_rows(&mut partings, &table, files, &key, gone).await.map_err(Error::from)?;
        if partings.rows() > 0 {
            let mut tx = cx.begin().await?;
            if !lake.part_with(tx.conn(), &partings, &key).await.map_err(Error::from)? {
                // Somebody merged one of the files meanwhile.
                let reason = "waits for a merge of the log's files".to_owned();
                return Err(JobError::Snooze { until: cx.clock().now() + Duration::from_secs(1), reason });
            }
            cx.log(format!("{table}: {} predictions are older than {before}", partings.rows()));
            return cx.commit(tx, Value::Null).await;
        }
        Ok(Outcome::Completed(Value::Null))
    }
}

/// The jobs for logs with rows that should have gone, by the model's word or, where it is declared no more, the default.
///
/// # Errors
/// Postgres can't be reached.
pub async fn expirations(catalog: &Catalog, lake: &Lake, now: Time) -> Result<Vec<NewJob>, Error> {
    let mut wanted = Vec::new();
    for table in lake.tables().await? {
        let Some(model) = table.as_str().strip_prefix("prediction_log/") else { continue };
        let before = now - keep(catalog, model).await?;
        if !overdue(lake, &table, before).await?.is_empty() {
            wanted.push(expire_new(model));
        }
    }
    Ok(wanted)
}

/// The job for a model; asking again while one waits changes nothing.
pub fn expire_new(model: &str) -> NewJob {
    let key = format!("{PREDICTIONS_EXPIRE}/{model}");
    let args = PredictionsExpire { model: model.to_owned() };
    NewJob { key: Some(key.clone()), concurrency_key: Some(key), ..job_new(PREDICTIONS_EXPIRE, &args) }
}

async fn keep(catalog: &Catalog, model: &str) -> Result<Duration, Error> {
    let objects = catalog.objects().await?;
    Ok(objects.models.get(model).map(|model| model.log.clone()).unwrap_or_default().keep)
}

/// Files with rows that should have gone a while ago.
async fn overdue(lake: &Lake, table: &Table, before: Time) -> Result<Vec<LakeFile>, Error> {
    let mut files = lake.files(table, lake.head().await?).await?;
    files.retain(|file| file.created_at.is_some_and(|(first, last)| last < before || first < before - GRACE));
    Ok(files)
}

fn created_before(rows: &RecordBatch, before: Time) -> Result<BooleanArray, ArrowError> {
    let Some(created) = rows.column_by_name(CREATED_AT) else {
        return Ok(BooleanArray::from(vec![false; rows.num_rows()]));
    };
    let instant = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let before = TimestampMicrosecondArray::from(vec![before.timestamp_micros()]).with_timezone("UTC");
    lt(&cast(created, &instant)?, &arrow::array::Scalar::new(before))
}
