//! Whole folders, kept by content: the name is the hash of all paths and bytes, so the same folder is kept once.

use std::{
    io,
    path::{Path, PathBuf},
};

use bytes::Bytes;

use crate::{BlobRef, Blobs, Error, Home};

impl Blobs {
    /// Keeps a local folder below `prefix` and returns its path there, `PREFIX/SHA256`. Safe to repeat. Files are
    /// read whole; anything but files and folders is an error.
    pub async fn put_folder(&self, prefix: &str, folder: &Path) -> Result<String, Error> {
        let failed = |error| Error::file(folder, error);
        let read = folder.to_owned();
        let files = tokio::task::spawn_blocking(move || read_files(&read)).await;
        let files = files.map_err(|error| failed(io::Error::other(error)))?.map_err(failed)?;
        let manifest = files.iter().fold(String::new(), |manifest, (path, bytes)| {
            manifest + path + "\n" + &BlobRef::of(bytes).to_string() + "\n"
        });
        let place = format!("{prefix}/{}", BlobRef::of(manifest.as_bytes()));
        for (path, bytes) in files {
            self.put_at(&format!("{place}/{path}"), bytes).await?;
        }
        Ok(place)
    }

    /// The folder that [`Self::put_folder`] kept at `place`, as a local folder to read: the stored one itself, or a
    /// download that is kept. Never write to it.
    ///
    /// # Errors
    /// [`Error::Missing`] when nothing is there.
    pub async fn fetch_folder(&self, place: &str) -> Result<PathBuf, Error> {
        let target = match &self.home {
            Home::Folder(folder) => folder.join(place),
            Home::Cache(folder) => folder.join("folders").join(place),
        };
        if target.is_dir() {
            return Ok(target);
        }
        let entries = self.list(place).await?;
        if entries.is_empty() {
            return Err(Error::Missing { path: place.to_owned() });
        }
        let mut files = Vec::new();
        for entry in entries {
            let below =
                entry.path.strip_prefix(place).unwrap_or(&entry.path).trim_start_matches('/').to_owned();
            files.push((below, self.get_at(&entry.path).await?));
        }
        write_files(&files, &target).map_err(|error| Error::file(&target, error))?;
        Ok(target)
    }
}

/// Paths relative to the folder, with `/`, sorted, and bytes.
fn read_files(folder: &Path) -> io::Result<Vec<(String, Bytes)>> {
    let mut files = Vec::new();
    let mut waiting = vec![(folder.to_owned(), String::new())];
    while let Some((current, prefix)) = waiting.pop() {
        for entry in std::fs::read_dir(&current)? {
            let entry = entry?;
            let name =
                entry.file_name().into_string().map_err(|_| io::Error::other("a name is not UTF-8"))?;
            let path = format!("{prefix}{name}");
            let kind = entry.file_type()?;
            if kind.is_dir() {
                waiting.push((entry.path(), format!("{path}/")));
            } else if kind.is_file() {
                files.push((path, std::fs::read(entry.path())?.into()));
            } else {
                return Err(io::Error::other(format!("`{path}` is neither a file nor a folder")));
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Writes beside the target and renames, so that nobody sees half of it.
fn write_files(files: &[(String, Bytes)], target: &Path) -> io::Result<()> {
    let parent = target.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(parent)?;
    let partial = tempfile::tempdir_in(parent)?;
    for (path, bytes) in files {
        let file = partial.path().join(path);
        std::fs::create_dir_all(file.parent().unwrap_or(partial.path()))?;
        std::fs::write(file, bytes)?;
    }
    match std::fs::rename(partial.path(), target) {
        // Another process was faster with the same content.
        Err(_) if target.is_dir() => Ok(()),
        done => done.map(|()| drop(partial.keep())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BlobOptions;

    #[tokio::test]
    async fn a_folder_is_named_by_its_content_and_comes_back_whole() {
        let home = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(&BlobOptions::folder(home.path())).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("data")).unwrap();
        std::fs::write(folder.path().join("MLmodel"), "flavors: {}").unwrap();
        std::fs::write(folder.path().join("data/model.txt"), "tree").unwrap();

        let place = blobs.put_folder("artifacts", folder.path()).await.unwrap();
        assert_eq!(blobs.put_folder("artifacts", folder.path()).await.unwrap(), place);
        let fetched = blobs.fetch_folder(&place).await.unwrap();
        assert_eq!(read_files(&fetched).unwrap(), read_files(folder.path()).unwrap());

        std::fs::write(folder.path().join("data/model.txt"), "other").unwrap();
        assert_ne!(blobs.put_folder("artifacts", folder.path()).await.unwrap(), place);
        assert!(matches!(blobs.fetch_folder("artifacts/none").await, Err(Error::Missing { .. })));
    }

    #[test]
    fn a_download_appears_whole() {
        let cache = tempfile::tempdir().unwrap();
        let files = vec![("a/b".to_owned(), Bytes::from("1")), ("c".to_owned(), Bytes::from("2"))];
        let target = cache.path().join("artifacts/x");
        write_files(&files, &target).unwrap();
        write_files(&files, &target).unwrap();
        assert_eq!(read_files(&target).unwrap(), files);
    }
}
