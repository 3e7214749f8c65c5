//! Where objects are kept, as configuration says it.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use object_store::{
    ObjectStore, RetryConfig, aws::AmazonS3Builder, local::LocalFileSystem, prefix::PrefixStore,
};
use serde::Deserialize;

use crate::{BlobRef, Error, Home, private_default, private_folder};

/// A request that fails is sent again so often, and no later than this after the first time: whoever asked has a
/// deadline, and a job that meets an outage comes again by itself.
const RETRIES_MAX: usize = 3;
const RETRY_WITHIN: Duration = Duration::from_secs(10);

/// Where objects are kept.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BlobOptions {
    /// `file:///ABSOLUTE/FOLDER` or `s3://BUCKET/PREFIX`.
    pub url: String,
    /// S3 only: the server, when it isn't Amazon's; `http://` is allowed here.
    pub endpoint: Option<String>,
    /// S3 only: the key's name; without it the environment's usual variables are taken.
    pub access_key: Option<String>,
    /// S3 only: the key's secret. Never printed.
    pub secret_key: Option<String>,
    /// S3 only: default `us-east-1`.
    pub region: Option<String>,
    /// S3 only: where downloads are kept, a folder that only we may write to; default: below the user's cache.
    pub cache: Option<PathBuf>,
}

impl fmt::Debug for BlobOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobOptions")
            .field("url", &self.url)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

impl BlobOptions {
    /// A folder of this machine.
    pub fn folder(path: impl AsRef<Path>) -> Self {
        Self { url: format!("file://{}", path.as_ref().display()), ..Self::default() }
    }

    pub(crate) fn open(&self) -> Result<(Arc<dyn ObjectStore>, Home), Error> {
        let invalid = |reason: &str| Error::Url { url: self.url.clone(), reason: reason.to_owned() };
        match self.url.split_once("://") {
            Some(("file", path)) if path.starts_with('/') => self.open_folder(Path::new(path)),
            Some(("file", _)) => Err(invalid("the folder is not absolute")),
            Some(("s3", place)) => {
                let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
                if bucket.is_empty() {
                    Err(invalid("it names no bucket"))
                } else {
                    self.open_s3(bucket, prefix)
                }
            }
            _ => Err(invalid("unknown scheme")),
        }
    }

    fn open_folder(&self, folder: &Path) -> Result<(Arc<dyn ObjectStore>, Home), Error> {
        std::fs::create_dir_all(folder).map_err(|error| Error::file(folder, error))?;
        let folder = folder.canonicalize().map_err(|error| Error::file(folder, error))?;
        let store = LocalFileSystem::new_with_prefix(&folder).map_err(|error| self.unusable(&error))?;
        // What was acknowledged must outlive the machine's power.
        Ok((Arc::new(store.with_fsync(true)), Home::Folder(folder)))
    }

    fn open_s3(&self, bucket: &str, prefix: &str) -> Result<(Arc<dyn ObjectStore>, Home), Error> {
        let mut builder = AmazonS3Builder::from_env()
            .with_bucket_name(bucket)
            .with_region(self.region.as_deref().unwrap_or("us-east-1"))
            .with_retry(RetryConfig {
                max_retries: RETRIES_MAX,
                retry_timeout: RETRY_WITHIN,
                ..RetryConfig::default()
            });
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(endpoint).with_allow_http(endpoint.starts_with("http://"));
        }
        if let (Some(name), Some(secret)) = (&self.access_key, &self.secret_key) {
            builder = builder.with_access_key_id(name).with_secret_access_key(secret);
        }
        let store = builder.build().map_err(|error| self.unusable(&error))?;
        let place = BlobRef::of(format!("{:?} {}", self.endpoint, self.url).as_bytes()).to_string();
        let cache = self.cache.clone().unwrap_or_else(|| private_default("objects"));
        private_folder(&cache)?;
        let cache = Home::Cache(cache.join(&place[..16]));
        if prefix.is_empty() {
            return Ok((Arc::new(store), cache));
        }
        Ok((Arc::new(PrefixStore::new(store, prefix)), cache))
    }

    fn unusable(&self, error: &object_store::Error) -> Error {
        Error::Url { url: self.url.clone(), reason: error.to_string() }
    }
}
