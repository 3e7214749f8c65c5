//! Questions in SQL over sources and views. Nothing can be changed by one.

use std::{
    fs::File,
    io::Seek as _,
    sync::{Arc, Mutex, PoisonError},
};

use arrow::array::RecordBatch;
use axum::{
    body::Body as Bytes,
    extract::State,
    response::{IntoResponse as _, Response},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tidemill_core::Time;
use tidemill_offline::{Error, Queried, Version};
use tidemill_rows::{json_rows, out::Writer, type_of};
use tokio_util::io::ReaderStream;

use super::{
    Answer,
    datasets::{reported, writer_format},
    one,
};
use crate::{
    Api,
    error::ApiError,
    extract::{Asked, Body, instant, limit},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Question {
    query: String,
    /// The moment that it is asked as of; default: the data clock.
    at: Option<String>,
    /// Rows that are answered, at most; all are counted.
    limit: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    /// `parquet` or `csv`.
    format: String,
}

/// `POST /v1/sql`
pub(super) async fn ask(State(api): State<Api>, Body(question): Body<Question>) -> Answer {
    let (as_of, limit) = (as_of(&api, &question).await?, limit(question.limit)? as usize);
    let shown = Arc::new(Mutex::new(Shown::default()));
    let show = Arc::clone(&shown);
    let take = move |batch: &RecordBatch| lock(&show).add(batch, limit);
    let queried = query(&api, &question.query, as_of, take).await?;
    let mut answer = report(&queried, as_of);
    let Shown { columns, items } = std::mem::take(&mut *lock(&shown));
    (answer["columns"], answer["items"]) = (columns.into(), json!(items));
    one(answer)
}

/// `POST /v1/sql/file?format=…`: all rows as a file. How many they are is in a header.
pub(super) async fn file(
    State(api): State<Api>,
    Asked(Written { format }): Asked<Written>,
    Body(question): Body<Question>,
) -> Result<Response, ApiError> {
    let (format, as_of) = (writer_format(&format)?, as_of(&api, &question).await?);
    let writer: Arc<Mutex<Option<Writer<File>>>> = Arc::default();
    let write = Arc::clone(&writer);
    let take = move |batch: &RecordBatch| {
        let mut writer = lock(&write);
        if writer.is_none() {
            let file = tempfile::tempfile().map_err(tidemill_rows::Error::from)?;
            *writer = Some(Writer::open(format, file, &batch.schema())?);
        }
        Ok(writer.as_mut().map_or(Ok(()), |writer| writer.write(batch))?)
    };
    let queried = query(&api, &question.query, as_of, take).await?;
    let writer = lock(&writer).take();
    let file = writer.map(Writer::finish).transpose().map_err(Error::from)?;
    let body = file.map_or_else(|| Ok(Bytes::empty()), streamed)?;
    Ok(reported(body.into_response(), &report(&queried, as_of)))
}

async fn as_of(api: &Api, question: &Question) -> Result<(Version, Time), ApiError> {
    let at = match &question.at {
        Some(text) => instant(text)?,
        None => api.stores.store.data_clock().await?.at(api.wall()),
    };
    Ok((api.stores.lake.head().await?, at))
}

async fn query(
    api: &Api,
    query: &str,
    as_of: (Version, Time),
    take: impl FnMut(&RecordBatch) -> Result<(), Error> + Send + 'static,
) -> Result<Queried, ApiError> {
    let (catalog, lake) = (&api.stores.catalog, &api.stores.lake);
    Ok(tidemill_pipeline::query(catalog, lake, query, as_of, take).await?)
}

fn report(queried: &Queried, (version, at): (Version, Time)) -> Value {
    json!({ "rows": queried.rows, "lake_version": version, "at": at })
}

/// The rows that are answered.
#[derive(Default)]
struct Shown {
    /// Name and type of each column.
    columns: Vec<Value>,
    items: Vec<Map<String, Value>>,
}

impl Shown {
    fn add(&mut self, batch: &RecordBatch, limit: usize) -> Result<(), Error> {
        if self.columns.is_empty() {
            let schema = batch.schema();
            let column = |field: &arrow::datatypes::FieldRef| json!({ "name": field.name(), "type": type_of(field.data_type()) });
            self.columns = schema.fields().iter().map(column).collect();
        }
        let left = limit.saturating_sub(self.items.len()).min(batch.num_rows());
        self.items.extend(json_rows(&batch.slice(0, left))?);
        Ok(())
    }
}

/// A file as it is sent, piece by piece.
fn streamed(mut file: File) -> Result<Bytes, ApiError> {
    file.rewind()?;
    Ok(Bytes::from_stream(ReaderStream::new(tokio::fs::File::from_std(file))))
}

fn lock<T>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
