//! Features of the past over gRPC, as a stream of Arrow. The latest are read from the serving tier.

use std::pin::Pin;

use chrono::DateTime;
use futures::{Stream, StreamExt as _, stream};
use tidemill_core::Fault;
use tidemill_proto::features::v1::{
    GetHistoricalFeaturesRequest, GetHistoricalFeaturesResponse,
    historical_feature_service_server::{HistoricalFeatureService, HistoricalFeatureServiceServer},
};
use tidemill_spec::steps::{DatasetInputs, KnownAt};
use tidemill_training::build_from_labels;
use tonic::{Request, Response, Status};

use crate::{Api, error::ApiError};

/// Bytes in one message of the historical stream.
const CHUNK_BYTES: usize = 512 * 1024;

/// The service.
pub(crate) fn service(api: Api) -> HistoricalFeatureServiceServer<Features> {
    HistoricalFeatureServiceServer::new(Features { api })
}

#[derive(Debug)]
pub(crate) struct Features {
    api: Api,
}

#[tonic::async_trait]
impl HistoricalFeatureService for Features {
    type GetHistoricalFeaturesStream =
        Pin<Box<dyn Stream<Item = Result<GetHistoricalFeaturesResponse, Status>> + Send>>;

    async fn get_historical_features(
        &self,
        request: Request<GetHistoricalFeaturesRequest>,
    ) -> Result<Response<Self::GetHistoricalFeaturesStream>, Status> {
        let bytes = historical(&self.api, request.into_inner()).await.map_err(ApiError::into_status)?;
        let chunks: Vec<_> = bytes
            .chunks(CHUNK_BYTES)
            .map(|chunk| Ok(GetHistoricalFeaturesResponse { arrow: chunk.to_vec() }))
            .collect();
        Ok(Response::new(stream::iter(chunks).boxed()))
    }
}

async fn historical(api: &Api, request: GetHistoricalFeaturesRequest) -> Result<bytes::Bytes, ApiError> {
    let known_at = known_at(&request)?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("labels.parquet");
    std::fs::write(&file, parquet_of(request.labels).await?)?;
    let deps = tidemill_training::Deps {
        catalog: api.stores.catalog.clone(),
        lake: api.stores.lake.clone(),
        blobs: api.stores.blobs.clone(),
    };
    let built =
        build_from_labels(&deps, &file, &DatasetInputs::Views(request.features), known_at, None).await?;
    Ok(tidemill_rows::ipc::encode(&built.rows.schema(), &[built.rows])
        .map_err(tidemill_offline::Error::from)?)
}

fn known_at(request: &GetHistoricalFeaturesRequest) -> Result<Option<KnownAt>, ApiError> {
    if let Some(given) = request.known_at_time {
        let nanos = u32::try_from(given.nanos).ok();
        let time = nanos.and_then(|nanos| DateTime::from_timestamp(given.seconds, nanos));
        let wrong = || Fault::coded(112, format!("`known_at_time` is not a time: {given:?}"));
        let time =
            time.filter(|time| *time <= tidemill_core::LATEST).ok_or_else(|| ApiError::invalid(wrong()));
        return Ok(Some(KnownAt::Time(time?)));
    }
    match request.known_at.as_str() {
        "label" => Ok(Some(KnownAt::Label)),
        "" => Ok(None),
        other => {
            let fault = Fault::coded(112, format!("`known_at` is `{other}`"));
            Err(ApiError::invalid(fault.hint("write `label`, or set `known_at_time`")))
        }
    }
}

/// The rows of an Arrow stream as a Parquet file.
async fn parquet_of(labels: Vec<u8>) -> Result<bytes::Bytes, ApiError> {
    let convert = move || {
        let (schema, batches) = tidemill_rows::ipc::decode(&labels)?;
        tidemill_rows::parquet::write(&tidemill_rows::parquet::sorted(&schema, &batches, &[])?)
    };
    // A thread of its own: what a library panics on ends this call and no other.
    let converted = tokio::task::spawn_blocking(convert).await;
    let refused = |why: String| {
        let fault = Fault::coded(503, format!("`labels` can't be read: {why}"));
        ApiError::invalid(fault.hint("send one whole Arrow IPC stream of columns that Parquet has"))
    };
    match converted {
        Ok(Ok(parquet)) => Ok(parquet),
        Ok(Err(error)) => Err(refused(Fault::from_error(&error).message)),
        Err(_) => Err(refused("it has a column that Parquet can't hold".to_owned())),
    }
}
