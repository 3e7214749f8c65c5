//! Downloads of remote objects, kept as files for tools that read only files.
//!
//! What is fetched never changes under its path, so a file that is here stands for its object, and nobody is asked. Files
//! appear whole, by rename.

use std::path::{Path, PathBuf};

use futures::TryStreamExt as _;
use object_store::{GetOptions, ObjectStore};
use tokio::io::AsyncWriteExt as _;

use crate::{Error, key};

pub(crate) async fn download(store: &dyn ObjectStore, folder: &Path, path: &str) -> Result<PathBuf, Error> {
    let file = folder.join("files").join(key(path)?.as_ref());
    if tokio::fs::try_exists(&file).await.map_err(|error| Error::file(&file, error))? {
        return Ok(file);
    }
    let (part_file, mut out) = part(&file).await.map_err(|error| Error::file(&file, error))?;
    save(store, path, &file, &mut out).await?;
    part_file.persist(&file).map_err(|error| Error::file(&file, error.error))?;
    Ok(file)
}

/// Writes the object at `path` to `out`, part by part; `file` is what `out` is called in an error.
pub(crate) async fn save(
    store: &dyn ObjectStore,
    path: &str,
    file: &Path,
    out: &mut tokio::fs::File,
) -> Result<(), Error> {
    let failed = |error| Error::at(path, error);
    let written = |error| Error::file(file, error);
    let mut parts = store.get_opts(&key(path)?, GetOptions::default()).await.map_err(failed)?.into_stream();
    while let Some(part) = parts.try_next().await.map_err(failed)? {
        out.write_all(&part).await.map_err(written)?;
    }
    out.flush().await.map_err(written)
}

/// An unfinished file beside `file`; removed again unless it is persisted.
async fn part(file: &Path) -> std::io::Result<(tempfile::TempPath, tokio::fs::File)> {
    let folder = file.parent().unwrap_or(Path::new("/"));
    tokio::fs::create_dir_all(folder).await?;
    let (out, part) = tempfile::NamedTempFile::new_in(folder)?.into_parts();
    Ok((part, tokio::fs::File::from_std(out)))
}
