//! Objects over a local folder or S3: payloads, logs, artifacts, Parquet files.
//!
//! [`Blobs`] keeps bytes in two ways: by content ([`Blobs::put`] gives a [`BlobRef`], the same bytes are kept
//! once) and by path ([`Blobs::put_at`], for names that a manifest in Postgres publishes). Everything is durable
//! and whole before a call returns: a reader sees an object entirely or not at all. Knows nothing of what the
//! bytes mean, and collects no garbage. [`Elsewhere`] reads objects that are not ours.

mod archive;
mod blob_ref;
mod cache;
mod elsewhere;
mod error;
mod folder;
mod options;
mod private;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use futures::TryStreamExt as _;
use object_store::{ObjectStore, ObjectStoreExt as _, PutPayload, WriteMultipart};
use tidemill_core::Time;
use tokio::io::AsyncReadExt as _;

pub use blob_ref::{BlobRef, InvalidBlobRef};
pub use elsewhere::{Elsewhere, Found};
pub use error::Error;
pub use options::BlobOptions;
pub use private::{private_default, private_folder};

/// Parts of a file on its way to the store, and how many travel at once.
const PART_BYTES: usize = 8 << 20;
const PARTS_IN_FLIGHT: usize = 4;

/// A place for objects; cheap to clone.
#[derive(Clone, Debug)]
pub struct Blobs {
    store: Arc<dyn ObjectStore>,
    home: Home,
}

/// Where objects are as files of this machine.
#[derive(Clone, Debug)]
enum Home {
    /// The store is this folder.
    Folder(PathBuf),
    /// The store is elsewhere; downloads are kept here.
    Cache(PathBuf),
}

/// One object as [`Blobs::list`] finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobEntry {
    /// Its path.
    pub path: String,
    /// How large it is.
    pub size_bytes: u64,
    /// When it was last written, by the store's clock.
    pub modified_at: Time,
}

impl Blobs {
    /// Opens the place that `options` name; a local folder is made if it isn't there.
    ///
    /// # Errors
    /// [`Error::Url`] for what can't be a place, [`Error::File`] when the folder can't be made. An S3 server
    /// that doesn't answer is noticed by the first call, not here.
    pub fn open(options: &BlobOptions) -> Result<Self, Error> {
        let (store, home) = options.open()?;
        Ok(Self { store, home })
    }

    /// Keeps bytes by their content. Safe to repeat.
    pub async fn put(&self, bytes: Bytes) -> Result<BlobRef, Error> {
        let blob = BlobRef::of(&bytes);
        let path = blob.path();
        if !self.exists(&path).await? {
            self.put_at(&path, bytes).await?;
        }
        Ok(blob)
    }

    /// The bytes of `blob`.
    ///
    /// # Errors
    /// [`Error::Missing`], or [`Error::Corrupt`] when the bytes are not those that were put.
    pub async fn get(&self, blob: &BlobRef) -> Result<Bytes, Error> {
        let path = blob.path();
        let bytes = self.get_at(&path).await?;
        if BlobRef::of(&bytes) == *blob { Ok(bytes) } else { Err(Error::Corrupt { path }) }
    }

    /// Writes `path`, replacing what was there.
    pub async fn put_at(&self, path: &str, bytes: Bytes) -> Result<(), Error> {
        let result = self.store.put(&key(path)?, PutPayload::from(bytes)).await;
        result.map(drop).map_err(|error| Error::at(path, error))
    }

    /// Writes `path` from a local file of any size, replacing what was there.
    pub async fn put_file_at(&self, path: &str, file: &Path) -> Result<(), Error> {
        let key = key(path)?;
        let failed = |error| Error::at(path, error);
        let read = |error| Error::file(file, error);
        let mut source = tokio::fs::File::open(file).await.map_err(read)?;
        if source.metadata().await.map_err(read)?.len() <= PART_BYTES as u64 {
            return self.put_at(path, tokio::fs::read(file).await.map_err(read)?.into()).await;
        }
        let upload = self.store.put_multipart(&key).await.map_err(failed)?;
        let mut parts = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
        loop {
            let mut part = bytes::BytesMut::with_capacity(PART_BYTES);
            if source.read_buf(&mut part).await.map_err(read)? == 0 {
                break;
            }
            parts.wait_for_capacity(PARTS_IN_FLIGHT).await.map_err(failed)?;
            parts.put(part.freeze());
        }
        parts.finish().await.map(drop).map_err(failed)
    }

    /// The bytes at `path`.
    ///
    /// # Errors
    /// [`Error::Missing`] when nothing is there.
    pub async fn get_at(&self, path: &str) -> Result<Bytes, Error> {
        let failed = |error| Error::at(path, error);
        self.store.get(&key(path)?).await.map_err(failed)?.bytes().await.map_err(failed)
    }

    /// Whether something is at `path`.
    pub async fn exists(&self, path: &str) -> Result<bool, Error> {
        match self.store.head(&key(path)?).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(Error::at(path, error)),
        }
    }

    /// Everything in the folder `prefix` and below, in order of paths; the empty prefix is everything.
    pub async fn list(&self, prefix: &str) -> Result<Vec<BlobEntry>, Error> {
        let folder = (!prefix.is_empty()).then(|| key(prefix)).transpose()?;
        let found = self.store.list(folder.as_ref()).map_ok(|meta| BlobEntry {
            path: meta.location.to_string(),
            size_bytes: meta.size,
            modified_at: meta.last_modified,
        });
        let mut entries: Vec<_> = found.try_collect().await.map_err(|error| Error::at(prefix, error))?;
        entries.sort_unstable_by(|left, right| left.path.cmp(&right.path));
        Ok(entries)
    }

    /// Removes what is at `path`, if anything. Safe to repeat.
    pub async fn delete_at(&self, path: &str) -> Result<(), Error> {
        match self.store.delete(&key(path)?).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(Error::at(path, error)),
        }
    }

    /// The object at `path`, which is one that never changes: its content or what made it is in its name. As a local
    /// file to read: the stored one itself, or a download that is kept, and that no request is made for again. Never
    /// write to it.
    ///
    /// # Errors
    /// [`Error::Missing`] when nothing is there.
    pub async fn fetch(&self, path: &str) -> Result<PathBuf, Error> {
        match &self.home {
            Home::Folder(folder) if self.exists(path).await? => Ok(folder.join(path)),
            Home::Folder(_) => Err(Error::Missing { path: path.to_owned() }),
            Home::Cache(folder) => cache::download(&*self.store, folder, path).await,
        }
    }
}

/// A path as the store wants it: relative, with `/`, and no empty, `.` or `..` part.
fn key(path: &str) -> Result<object_store::path::Path, Error> {
    object_store::path::Path::parse(path)
        .map_err(|error| Error::Path { path: path.to_owned(), reason: error.to_string() })
}
