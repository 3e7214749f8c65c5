//! Model files on their way in: kept by their content, then named by what registers them.

use std::io;

use axum::{
    body::Body as Stream,
    extract::{Path, State},
};
use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::json;
use tidemill_blobs::BlobRef;
use tidemill_core::Fault;
use tidemill_runtime::job_new;
use tidemill_spec::steps::{MODEL_REGISTER, ModelRegister};

use super::{Answer, datasets::keep, one};
use crate::{Api, door, error::ApiError, extract::Body};

/// `POST /v1/files`: the body's bytes, kept; the answer names them by their SHA-256. Safe to repeat.
pub(super) async fn put(State(api): State<Api>, body: Stream) -> Answer {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("file");
    keep(body, &file, door::FILE_BYTES_MAX).await?;
    let (hashed, size_bytes) = (file.clone(), tokio::fs::metadata(&file).await?.len());
    let blob = tokio::task::spawn_blocking(move || BlobRef::of_file(&hashed));
    let blob = blob.await.map_err(io::Error::other)??;
    if !api.stores.blobs.exists(&blob.path()).await.map_err(tidemill_registry::Error::from)? {
        let kept = api.stores.blobs.put_file_at(&blob.path(), &file).await;
        kept.map_err(tidemill_registry::Error::from)?;
    }
    one(json!({ "sha256": blob.to_string(), "size_bytes": size_bytes }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Register {
    /// What the file or folder is called; or where the workers find it, `s3://BUCKET/KEY`.
    file: String,
    /// Of what was put: each path in the folder, or the file's name, and its SHA-256.
    #[serde(default)]
    uploaded: Option<IndexMap<String, String>>,
    /// What the sample is called, or where the workers find it.
    #[serde(default)]
    sample: Option<String>,
    #[serde(default)]
    uploaded_sample: Option<String>,
}

/// Callers name no paths of the workers' machines, as steps of pipelines do: what was not put is in a bucket.
fn check(asked: &Register) -> Result<(), Fault> {
    let Register { file, uploaded, sample, uploaded_sample } = asked;
    if sample.is_none() && uploaded_sample.is_some() {
        let fault = Fault::coded(807, "`uploaded_sample` has no name");
        return Err(fault.hint("give `sample`, too: what the file is called, as in rows.csv"));
    }
    let named = [(Some(file), uploaded.is_some()), (sample.as_ref(), uploaded_sample.is_some())];
    for (name, put) in named {
        if let Some(name) = name.filter(|name| !put && !name.starts_with("s3://")) {
            let fault = Fault::coded(807, format!("`{name}` was not put, and is not of a bucket"));
            return Err(fault.hint(
                "put its bytes first, POST /v1/files, and name them in `uploaded` or `uploaded_sample`; or give s3://BUCKET/KEY",
            ));
        }
    }
    Ok(())
}

/// `POST /v1/models/{model}/register`: starts the registration of a file.
pub(super) async fn register(
    State(api): State<Api>,
    Path(name): Path<String>,
    Body(body): Body<Register>,
) -> Answer {
    let objects = api.stores.catalog.objects().await?;
    if !objects.models.contains_key(&name) {
        return Err(ApiError::unknown(801, "model", &name, objects.models.keys()));
    }
    check(&body).map_err(ApiError::invalid)?;
    let Register { file, uploaded, sample, uploaded_sample } = body;
    let named: Vec<&String> =
        uploaded.iter().flat_map(|files| files.values()).chain(&uploaded_sample).collect();
    for sha256 in named {
        let blob: Option<BlobRef> = sha256.parse().ok();
        let there = match blob {
            Some(blob) => {
                api.stores.blobs.exists(&blob.path()).await.map_err(tidemill_registry::Error::from)?
            }
            None => false,
        };
        if !there {
            let fault = Fault::coded(807, format!("no file with the SHA-256 `{sha256}` was put"));
            return Err(ApiError::invalid(fault.hint("put its bytes first: POST /v1/files")));
        }
    }
    let args =
        ModelRegister { model: name, artifact: None, file: Some(file), sample, uploaded, uploaded_sample };
    let store = &api.stores.store;
    let mut tx = store.begin().await?;
    let enqueued = store.enqueue(&mut tx, job_new(MODEL_REGISTER, &args)).await?;
    tx.commit().await?;
    store.wake().await;
    one(json!({ "run_id": enqueued.run }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_put_is_in_a_bucket() {
        let told = |body: serde_json::Value| {
            check(&serde_json::from_value(body).unwrap()).map_err(|fault| fault.message)
        };
        let put = json!({"churn.pkl": "0"});
        assert_eq!(told(json!({"file": "churn.pkl", "uploaded": put, "sample": "s3://b/rows.csv"})), Ok(()));
        assert_eq!(told(json!({"file": "s3://b/churn.pkl"})), Ok(()));
        let path = told(json!({"file": "/etc/churn.pkl"}));
        assert_eq!(path, Err("`/etc/churn.pkl` was not put, and is not of a bucket".to_owned()));
        let sample = told(json!({"file": "churn.pkl", "uploaded": put, "sample": "/etc/rows.csv"}));
        assert_eq!(sample, Err("`/etc/rows.csv` was not put, and is not of a bucket".to_owned()));
        let nameless = told(json!({"file": "churn.pkl", "uploaded": put, "uploaded_sample": "0"}));
        assert_eq!(nameless, Err("`uploaded_sample` has no name".to_owned()));
    }
}
