//! Archives of texts: one JSON object from path to text, named by the hash of its bytes.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Component, Path, PathBuf},
};

use crate::{BlobRef, Blobs, Error, folder::replace};

/// More text than this is no archive's.
const BYTES_MAX: u64 = 16 << 20;

impl Blobs {
    /// Unpacks the archive that lies at `path` and has this SHA-256 as the folder `cache/SHA256`. What is there already is
    /// used if nothing was changed in it: user code may write where it runs.
    ///
    /// # Errors
    /// [`Error::Missing`] when nothing is there, [`Error::Corrupt`] when it has another hash or is no archive.
    pub async fn unpack(&self, path: &str, sha256: &str, cache: &Path) -> Result<PathBuf, Error> {
        let folder = cache.join(sha256);
        if untouched(&folder, sha256) {
            return Ok(folder);
        }
        let corrupt = || Error::Corrupt { path: path.to_owned() };
        let bytes = self.get_at(path).await?;
        if BlobRef::of(&bytes).to_string() != sha256 {
            return Err(corrupt());
        }
        let files: BTreeMap<String, String> = serde_json::from_slice(&bytes).map_err(|_| corrupt())?;
        let inside =
            |path: &String| Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
        if !files.keys().all(inside) {
            return Err(corrupt());
        }
        write(&files, sha256, cache, &folder).map_err(|error| Error::file(&folder, error))?;
        Ok(folder)
    }
}

/// Whether a folder holds the files of the archive that `sha256` names, and no other.
fn untouched(folder: &Path, sha256: &str) -> bool {
    fn read(folder: &Path, below: &str, files: &mut BTreeMap<String, String>) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let (entry, kind) = entry.and_then(|entry| entry.file_type().map(|kind| (entry, kind)))?;
            let path = format!("{below}{}", entry.file_name().to_string_lossy());
            if kind.is_dir() {
                read(&entry.path(), &format!("{path}/"), files)?;
            } else if kind.is_file() && entry.metadata()?.len() <= BYTES_MAX {
                files.insert(path, fs::read_to_string(entry.path())?);
            } else {
                return Err(io::Error::other("not a file of an archive"));
            }
        }
        Ok(())
    }
    let mut files = BTreeMap::new();
    let packed = read(folder, "", &mut files).and_then(|()| Ok(serde_json::to_vec(&files)?));
    packed.is_ok_and(|bytes| BlobRef::of(&bytes).to_string() == sha256)
}

/// Writes beside the folder and renames, so that no process ever sees half of it. What was there before goes.
fn write(files: &BTreeMap<String, String>, sha256: &str, cache: &Path, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(cache)?;
    let partial = tempfile::tempdir_in(cache)?;
    for (path, text) in files {
        let file = partial.path().join(path);
        fs::create_dir_all(file.parent().unwrap_or(partial.path()))?;
        fs::write(file, text)?;
    }
    // Another process may have been faster.
    if untouched(folder, sha256) { Ok(()) } else { replace(partial, folder) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BlobOptions;

    async fn unpacked(text: &str, sha256: Option<&str>) -> Result<PathBuf, Error> {
        let home = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(&BlobOptions::folder(home.path())).unwrap();
        blobs.put_at("code/one.json", text.to_owned().into()).await.unwrap();
        let own = BlobRef::of(text.as_bytes()).to_string();
        let folder =
            blobs.unpack("code/one.json", sha256.unwrap_or(&own), &home.path().join("cache")).await?;
        assert_eq!(std::fs::read_to_string(folder.join("a/b.py")).unwrap(), "x = 1");
        Ok(folder)
    }

    #[tokio::test]
    async fn an_archive_is_unpacked_if_its_hash_is_right_and_nothing_leads_out_of_it() {
        let good = r#"{"a/b.py": "x = 1"}"#;
        assert!(unpacked(good, None).await.is_ok());
        let other = BlobRef::of(b"other").to_string();
        assert!(matches!(unpacked(good, Some(&other)).await, Err(Error::Corrupt { .. })));
        assert!(matches!(unpacked(r#"{"../evil.py": ""}"#, None).await, Err(Error::Corrupt { .. })));
        assert!(matches!(unpacked("[]", None).await, Err(Error::Corrupt { .. })));
    }

    #[tokio::test]
    async fn what_was_changed_where_it_lies_is_unpacked_anew() {
        let home = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(&BlobOptions::folder(home.path())).unwrap();
        let text = r#"{"models/late.py":"def train(): ..."}"#;
        blobs.put_at("code/one.json", text.into()).await.unwrap();
        let (hash, cache) = (BlobRef::of(text.as_bytes()).to_string(), home.path().join("unpacked"));
        let changes: [fn(&Path); 3] = [
            |folder| fs::write(folder.join("models/late.py"), "def train(): steal()").unwrap(),
            |folder| fs::write(folder.join("numpy.py"), "").unwrap(),
            |folder| fs::remove_dir_all(folder.join("models")).unwrap(),
        ];
        for change in changes {
            let folder = blobs.unpack("code/one.json", &hash, &cache).await.unwrap();
            assert!(untouched(&folder, &hash));
            change(&folder);
            assert!(!untouched(&folder, &hash));
        }
        assert!(untouched(&blobs.unpack("code/one.json", &hash, &cache).await.unwrap(), &hash));
        assert_eq!(fs::read_dir(&cache).unwrap().count(), 1);
    }
}
