//! Whole folders, kept by content: the name is the hash of all paths and bytes, so the same folder is kept once.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{BlobRef, Blobs, Error, Home, cache, key};

impl Blobs {
    /// Keeps a local folder below `prefix` and returns its path there, `PREFIX/SHA256`. Safe to repeat. Files of any
    /// size travel in parts; anything but files and folders is an error.
    pub async fn put_folder(&self, prefix: &str, folder: &Path) -> Result<String, Error> {
        let files = listed(folder).await?;
        let place = format!("{prefix}/{}", content(&files));
        // Who reads a stored folder meanwhile would see files that are being written.
        if let Home::Folder(home) = &self.home
            && home.join(&place).is_dir()
            && holds(&home.join(&place), &place).await?
        {
            return Ok(place);
        }
        for (path, _) in &files {
            self.put_file_at(&format!("{place}/{path}"), &folder.join(path)).await?;
        }
        Ok(place)
    }

    /// The folder that [`Self::put_folder`] kept at `place`, as a local folder to read: the stored one itself, or a
    /// download that is kept. Never write to it: that its content is what was put is checked each time.
    ///
    /// # Errors
    /// [`Error::Missing`] when nothing is there, [`Error::Corrupt`] when it is not what was put.
    pub async fn fetch_folder(&self, place: &str) -> Result<PathBuf, Error> {
        key(place)?;
        let corrupt = || Error::Corrupt { path: place.to_owned() };
        match &self.home {
            Home::Folder(folder) => {
                let target = folder.join(place);
                match target.is_dir() {
                    false => Err(Error::Missing { path: place.to_owned() }),
                    true if !holds(&target, place).await? => Err(corrupt()),
                    true => Ok(target),
                }
            }
            Home::Cache(folder) => {
                let target = folder.join("folders").join(place);
                if target.is_dir() && holds(&target, place).await? {
                    return Ok(target);
                }
                self.download_folder(place, &target).await?;
                if holds(&target, place).await? { Ok(target) } else { Err(corrupt()) }
            }
        }
    }

    /// Writes beside the target and renames, so that nobody sees half of it. What was there before goes.
    async fn download_folder(&self, place: &str, target: &Path) -> Result<(), Error> {
        let failed = |error| Error::file(target, error);
        let entries = self.list(place).await?;
        if entries.is_empty() {
            return Err(Error::Missing { path: place.to_owned() });
        }
        let parent = target.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(parent).map_err(failed)?;
        let partial = tempfile::tempdir_in(parent).map_err(failed)?;
        for entry in entries {
            let below = entry.path.strip_prefix(place).unwrap_or(&entry.path).trim_start_matches('/');
            let file = partial.path().join(below);
            fs::create_dir_all(file.parent().unwrap_or(partial.path())).map_err(failed)?;
            let mut out = tokio::fs::File::create(&file).await.map_err(failed)?;
            cache::save(&*self.store, &entry.path, &file, &mut out).await?;
        }
        replace(partial, target).map_err(failed)
    }
}

/// Whether a local folder has the content that names `place`.
async fn holds(folder: &Path, place: &str) -> Result<bool, Error> {
    let name = place.rsplit('/').next().unwrap_or(place);
    Ok(content(&listed(folder).await?).to_string() == name)
}

/// The name of a folder with these files.
fn content(files: &[(String, BlobRef)]) -> BlobRef {
    let lines = files.iter().map(|(path, file)| format!("{path}\n{file}\n"));
    BlobRef::of(lines.collect::<String>().as_bytes())
}

/// [`list_files`] on a thread that may wait for a disk.
async fn listed(folder: &Path) -> Result<Vec<(String, BlobRef)>, Error> {
    let failed = |error| Error::file(folder, error);
    let read = folder.to_owned();
    let files = tokio::task::spawn_blocking(move || list_files(&read)).await;
    files.map_err(|error| failed(io::Error::other(error)))?.map_err(failed)
}

/// Paths relative to the folder, with `/`, sorted, and what names their bytes.
fn list_files(folder: &Path) -> io::Result<Vec<(String, BlobRef)>> {
    let mut files = Vec::new();
    let mut waiting = vec![(folder.to_owned(), String::new())];
    while let Some((current, prefix)) = waiting.pop() {
        for entry in fs::read_dir(&current)? {
            let entry = entry?;
            let name = entry
                .file_name()
                .into_string()
                .map_err(|_| io::Error::other("the name of a file is not UTF-8"))?;
            let path = format!("{prefix}{name}");
            let kind = entry.file_type()?;
            if kind.is_dir() {
                waiting.push((entry.path(), format!("{path}/")));
            } else if kind.is_file() {
                files.push((path, BlobRef::of_file(&entry.path())?));
            } else {
                return Err(io::Error::other(format!("`{path}` is neither a file nor a folder")));
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Puts a folder that is complete in the place of another.
pub(crate) fn replace(partial: tempfile::TempDir, target: &Path) -> io::Result<()> {
    if target.exists() {
        let discarded = tempfile::tempdir_in(target.parent().unwrap_or(Path::new("/")))?;
        fs::rename(target, discarded.path().join("folder"))?;
    }
    match fs::rename(partial.path(), target) {
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
        assert_eq!(list_files(&fetched).unwrap(), list_files(folder.path()).unwrap());

        std::fs::write(folder.path().join("data/model.txt"), "other").unwrap();
        assert_ne!(blobs.put_folder("artifacts", folder.path()).await.unwrap(), place);
        assert!(matches!(blobs.fetch_folder("artifacts/none").await, Err(Error::Missing { .. })));

        std::fs::write(fetched.join("data/model.txt"), "changed where it lies").unwrap();
        assert!(matches!(blobs.fetch_folder(&place).await, Err(Error::Corrupt { .. })));
    }
}
