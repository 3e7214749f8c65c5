//! Sources: what came in and what did not.

use axum::{
    body::Bytes,
    extract::{Path, State},
    http::HeaderMap,
};
use serde::Deserialize;
use serde_json::{Value, json};
use tidemill_catalog::StreamPartition;
use tidemill_core::{Clock as _, Fault, SystemClock, UploadId};
use tidemill_ingest::{Push, jobs::ReplayJob};
use tidemill_offline::Table;
use tidemill_spec::{Objects, Source, Stream, Type};

use super::{Answer, items, one};
use crate::{
    Api,
    error::ApiError,
    extract::{Asked, Body, limit},
    idempotency,
};

/// Gaps of a stream that its page shows.
const GAPS: u32 = 10;

/// A row for each declared source.
pub(super) async fn rows(api: &Api) -> Result<Vec<Value>, ApiError> {
    let objects = api.stores.catalog.objects().await?;
    let summaries = api.stores.catalog.source_summaries().await?;
    Ok(summaries.iter().map(|summary| row(&objects, summary)).collect())
}

fn row(objects: &Objects, summary: &tidemill_catalog::SourceSummary) -> Value {
    let meta = objects.sources.get(&summary.source).map(|source| &source.meta);
    json!({
        "name": summary.source, "rows": summary.rows, "dead_letters": summary.dead_letters,
        "uploads": summary.uploads, "newest_event": summary.newest_event_at,
        "last_upload_at": summary.uploaded_at, "last_batch_at": summary.streamed_at,
        "owner": meta.map(|meta| &meta.owner), "description": meta.map(|meta| &meta.description),
        "tags": meta.map(|meta| &meta.tags),
    })
}

/// `GET /v1/sources`
pub(super) async fn list(State(api): State<Api>) -> Answer {
    items(rows(&api).await?)
}

/// `GET /v1/sources/{source}`
pub(super) async fn show(State(api): State<Api>, Path(name): Path<String>) -> Answer {
    let objects = api.stores.catalog.objects().await?;
    let source = known(&objects, &name)?;
    let mut page = row(&objects, &api.stores.catalog.source_summary(&name).await?);
    page["columns"] = serde_json::to_value(&source.columns)?;
    page["event_time"] = source.event_time.clone().into();
    page["available_time"] = source.available_time.clone().into();
    page["created_time"] = source.created_time.clone().into();
    page["unique"] = source.unique.clone().into();
    page["newest"] = (!source.unique.is_empty()).then(|| source.newest.to_string()).into();
    page["extra"] = serde_json::to_value(source.extra)?;
    page["csv"] = serde_json::to_value(&source.csv)?;
    page["stream"] = match &source.stream {
        Some(stream) => stream_page(&api, &name, stream).await?,
        None => Value::Null,
    };
    page["upload_list"] = serde_json::to_value(api.stores.catalog.uploads(Some(&name), 10).await?)?;
    one(page)
}

/// How far a source's stream is, who reads it, and what is missing of it.
async fn stream_page(api: &Api, source: &str, stream: &Stream) -> Result<Value, ApiError> {
    let catalog = &api.stores.catalog;
    let partitions = catalog.stream_partitions(source).await?;
    let lag =
        |of: &StreamPartition| of.high_offset.zip(of.next_offset).map(|(high, next)| (high - next).max(0));
    let now = SystemClock.now();
    let behind = |of: &StreamPartition| {
        let since = of.reached_at.filter(|_| lag(of).is_some_and(|lag| lag > 0))?;
        Some((now - since).num_milliseconds().max(0))
    };
    let rows = partitions.iter().map(|of| {
        let mut row = serde_json::to_value(of)?;
        row["lag"] = lag(of).into();
        row["behind_ms"] = behind(of).into();
        Ok(row)
    });
    let rows = rows.collect::<Result<Vec<_>, serde_json::Error>>()?;
    let mut page = serde_json::to_value(stream)?;
    // What was read once says nothing of today, nor is the lag of a partition known that nobody reads.
    let clusters: Vec<_> = partitions.iter().filter(|of| of.reader.is_some()).map(|of| &of.cluster).collect();
    let now_read = |of: &&StreamPartition| of.topic == stream.topic && clusters.contains(&&of.cluster);
    let read: Vec<_> = partitions.iter().filter(now_read).collect();
    let lags: Option<Vec<i64>> = read.iter().map(|of| lag(of).filter(|_| of.reader.is_some())).collect();
    page["lag"] = lags.filter(|lags| !lags.is_empty()).map(|lags| lags.iter().sum::<i64>()).into();
    page["behind_ms"] = read.iter().filter_map(|of| behind(of)).max().into();
    page["partitions"] = rows.into();
    page["readers"] = serde_json::to_value(catalog.stream_readers(source).await?)?;
    page["gaps"] = serde_json::to_value(catalog.stream_gaps(source, GAPS).await?)?;
    Ok(page)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limit {
    limit: Option<u32>,
}

/// `GET /v1/sources/{source}/dead-letters`
pub(super) async fn dead_letters(
    State(api): State<Api>,
    Path(name): Path<String>,
    Asked(query): Asked<Limit>,
) -> Answer {
    known(&api.stores.catalog.objects().await?, &name)?;
    items(api.ingest.dead_letters(&name, limit(query.limit)?).await?)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Moments {
    used_at: String,
    known_at: String,
}

/// `GET /v1/sources/{source}/seen-early?used_at=COLUMN&known_at=COLUMN`: what a point-in-time leak amounts to.
pub(super) async fn seen_early(
    State(api): State<Api>,
    Path(name): Path<String>,
    Asked(Moments { used_at, known_at }): Asked<Moments>,
) -> Answer {
    let objects = api.stores.catalog.objects().await?;
    let source = known(&objects, &name)?;
    for column in [&used_at, &known_at] {
        if source.columns.get(column).is_none_or(|declared| declared.ty != Type::Timestamp) {
            let fault = Fault::coded(303, format!("source `{name}` has no timestamp column `{column}`"));
            return Err(ApiError::invalid(fault));
        }
    }
    let lake = &api.stores.lake;
    one(lake.seen_early(source, &used_at, &known_at, lake.head().await?).await?)
}

/// `POST /v1/sources/{source}/stored-otherwise`, with a source as it is declared: what of its rows is stored otherwise.
pub(super) async fn stored_otherwise(
    State(api): State<Api>,
    Path(name): Path<String>,
    Body(declared): Body<Source>,
) -> Answer {
    known(&api.stores.catalog.objects().await?, &name)?;
    let declared = Source { name, ..declared };
    let lake = &api.stores.lake;
    let stored = lake.stored_otherwise(&declared, lake.head().await?).await?;
    one(json!({ "stored": stored, "told": stored.told(&declared) }))
}

/// `POST /v1/sources/{source}/replay`
pub(super) async fn replay(State(api): State<Api>, Path(name): Path<String>) -> Answer {
    known(&api.stores.catalog.objects().await?, &name)?;
    let store = &api.stores.store;
    let mut tx = store.begin().await?;
    let enqueued = store.enqueue(&mut tx, ReplayJob::of(&name)).await?;
    tx.commit().await?;
    store.wake().await;
    one(json!({ "run_id": enqueued.run }))
}

/// `POST /v1/sources/{source}/push`, with rows: an array, or a line each. The answer's key makes a repeat the same upload,
/// also where the first answer was lost.
pub(super) async fn push(
    State(api): State<Api>,
    Path(source): Path<String>,
    headers: HeaderMap,
    rows: Bytes,
) -> Answer {
    let key = headers.get(idempotency::HEADER).and_then(|key| key.to_str().ok());
    let key = key.map_or_else(|| UploadId::generate().to_string(), str::to_owned);
    known(&api.stores.catalog.objects().await?, &source)?;
    let push = Push { source, rows, key };
    let pushed = api.ingest.push(&push).await?;
    one(json!({
        "upload_id": pushed.accepted.upload, "run_id": pushed.accepted.run, "rows": pushed.rows,
        "duplicate": pushed.accepted.duplicate, "idempotency_key": push.key,
    }))
}

/// `GET /v1/uploads/{upload}`, with the views that have yet to consume it.
pub(super) async fn upload(State(api): State<Api>, Path(upload): Path<String>) -> Answer {
    let id: UploadId = upload.parse().map_err(|error: tidemill_core::ids::InvalidId| {
        ApiError::invalid(Fault::coded(115, error.to_string()))
    })?;
    let found = api.stores.catalog.upload(id).await?;
    let found =
        found.ok_or_else(|| ApiError::not_found(Fault::coded(115, format!("there is no upload {id}"))))?;
    let mut page = serde_json::to_value(&found)?;
    let commit = api.stores.lake.commit_of(&Table::source(&found.source), &id.to_string()).await?;
    page["views_behind"] = match commit {
        Some(commit) => serde_json::to_value(
            tidemill_features::behind_commit(&api.features, &found.source, commit).await?,
        )?,
        None => json!([]),
    };
    one(page)
}

fn known<'o>(objects: &'o Objects, name: &str) -> Result<&'o Source, ApiError> {
    objects.sources.get(name).ok_or_else(|| ApiError::unknown(502, "source", name, objects.sources.keys()))
}
