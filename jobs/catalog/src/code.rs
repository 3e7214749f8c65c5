//! The project's Python, packed and kept by content hash, so that a run stays with the code it started with.
//!
//! The archive is one JSON object from path to text, sorted: the same files give the same bytes and the same hash.

mod imports;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tidemill_blobs::Blobs;
use tidemill_spec::diagnostic::SourceFile;

use crate::Error;

/// A larger file where code was unpacked is none of the archive's: user code left it there.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// All `*.py` files below the project folder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CodeArchive {
    /// Text by path relative to the project folder, with `/`.
    pub files: BTreeMap<String, String>,
}

impl CodeArchive {
    /// The Python among a project's files.
    pub fn of(files: &[SourceFile]) -> Self {
        let python =
            files.iter().filter(|file| Path::new(&file.path).extension().is_some_and(|end| end == "py"));
        Self { files: python.map(|file| (file.path.clone(), file.text.clone())).collect() }
    }

    /// SHA-256 of the packed form, in hex.
    pub fn hash(&self) -> String {
        hex_sha256(&self.bytes())
    }

    /// Hash of all the code that a Python module (`transforms.airport`) reaches: its file, its packages, and the
    /// project's files that these import, however far. None where no file defines it.
    pub fn module_hash(&self, module: &str) -> Option<String> {
        let reached = imports::reached(&self.files, module);
        let texts: BTreeMap<&String, &String> =
            self.files.iter().filter(|(path, _)| reached.contains(*path)).collect();
        let bytes = serde_json::to_vec(&texts).expect("strings are always JSON");
        (!reached.is_empty()).then(|| hex_sha256(&bytes))
    }

    /// Files that are not the same in both, in order: changed, added or removed.
    pub fn changed_since(&self, before: &Self) -> Vec<String> {
        let names: BTreeSet<&String> = self.files.keys().chain(before.files.keys()).collect();
        let changed = names.into_iter().filter(|name| self.files.get(*name) != before.files.get(*name));
        changed.cloned().collect()
    }

    /// Reads the code of `hash` from the object store.
    pub async fn load(blobs: &Blobs, hash: &str) -> Result<Self, Error> {
        let bytes = blobs.get_at(&place(hash)).await.map_err(|error| failed(hash, error))?;
        let archive: Self = serde_json::from_slice(&bytes).map_err(|error| failed(hash, error))?;
        if archive.hash() != hash {
            return Err(failed(hash, "the archive has another content"));
        }
        Ok(archive)
    }

    /// Keeps it on the object store. Safe to repeat: the place is named by the hash.
    pub async fn store(&self, blobs: &Blobs) -> Result<(), Error> {
        let hash = self.hash();
        blobs.put_at(&place(&hash), self.bytes().into()).await.map_err(|error| failed(&hash, error))
    }

    fn bytes(&self) -> Vec<u8> {
        serde_json::to_vec(&self.files).expect("strings are always JSON")
    }
}

/// Unpacks the code of `hash` below `cache` and returns its folder, to be put on Python's path. What is there already
/// is used if nothing was changed in it: user code may write where it runs.
pub async fn unpack(blobs: &Blobs, hash: &str, cache: &Path) -> Result<PathBuf, Error> {
    let folder = cache.join(hash);
    if untouched(&folder, hash) {
        return Ok(folder);
    }
    let archive = CodeArchive::load(blobs, hash).await?;
    write(&archive, cache, &folder).map_err(|error| failed(hash, error))?;
    Ok(folder)
}

/// Whether a folder holds the files of the archive that `hash` names, and no other.
fn untouched(folder: &Path, hash: &str) -> bool {
    fn read(folder: &Path, below: &str, files: &mut BTreeMap<String, String>) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let (entry, kind) = entry.and_then(|entry| entry.file_type().map(|kind| (entry, kind)))?;
            let path = format!("{below}{}", entry.file_name().to_string_lossy());
            if kind.is_dir() {
                read(&entry.path(), &format!("{path}/"), files)?;
            } else if kind.is_file() && entry.metadata()?.len() <= FILE_BYTES_MAX {
                files.insert(path, fs::read_to_string(entry.path())?);
            } else {
                return Err(io::Error::other("not a file of an archive"));
            }
        }
        Ok(())
    }
    let mut files = BTreeMap::new();
    read(folder, "", &mut files).is_ok() && CodeArchive { files }.hash() == hash
}

/// Writes beside the folder and renames, so that no process ever sees half of it. What was there before goes.
fn write(archive: &CodeArchive, cache: &Path, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(cache)?;
    let partial = tempfile::tempdir_in(cache)?;
    for (path, text) in &archive.files {
        let relative = Path::new(path);
        if !relative.components().all(|part| matches!(part, std::path::Component::Normal(_))) {
            return Err(io::Error::other(format!("`{path}` leads out of the archive")));
        }
        let file = partial.path().join(relative);
        fs::create_dir_all(file.parent().unwrap_or(partial.path()))?;
        fs::write(file, text)?;
    }
    if folder.exists() && !untouched(folder, &archive.hash()) {
        let discarded = tempfile::tempdir_in(cache)?;
        fs::rename(folder, discarded.path().join("code"))?;
    }
    match fs::rename(partial.path(), folder) {
        // Another process was faster with the same content.
        Err(_) if folder.exists() => Ok(()),
        done => done.map(|()| drop(partial.keep())),
    }
}

fn place(hash: &str) -> String {
    format!("code/{hash}.json")
}

fn failed(hash: &str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Code { hash: hash.to_owned(), source: source.into() }
}

pub(crate) fn hex_sha256(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_files_give_the_same_hash_and_only_python_is_packed() {
        let file = |path: &str| SourceFile { path: path.to_owned(), text: "def stress(row): ...".to_owned() };
        let files = [file("transforms/airport.py"), file("tidemill.yaml")];
        let archive = CodeArchive::of(&files);
        assert_eq!(archive.files.keys().collect::<Vec<_>>(), ["transforms/airport.py"]);
        assert_eq!(archive.hash(), CodeArchive::of(&files[..1]).hash());
        assert!(archive.module_hash("transforms.airport").is_some());
        assert!(archive.module_hash("transforms.nowhere").is_none());
    }

    #[tokio::test]
    async fn code_that_was_changed_where_it_lies_is_unpacked_anew() {
        let home = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(&tidemill_blobs::BlobOptions::folder(home.path())).unwrap();
        let files = [("models/late.py".to_owned(), "def train(): ...".to_owned())];
        let archive = CodeArchive { files: files.into() };
        archive.store(&blobs).await.unwrap();
        let (hash, cache) = (archive.hash(), home.path().join("unpacked"));
        let changes: [fn(&Path); 3] = [
            |folder| fs::write(folder.join("models/late.py"), "def train(): steal()").unwrap(),
            |folder| fs::write(folder.join("numpy.py"), "").unwrap(),
            |folder| fs::remove_dir_all(folder.join("models")).unwrap(),
        ];
        for change in changes {
            let folder = unpack(&blobs, &hash, &cache).await.unwrap();
            assert!(untouched(&folder, &hash));
            change(&folder);
            assert!(!untouched(&folder, &hash));
        }
        assert!(untouched(&unpack(&blobs, &hash, &cache).await.unwrap(), &hash));
        assert_eq!(fs::read_dir(&cache).unwrap().count(), 1);
    }

    #[test]
    fn files_that_were_changed_added_or_removed_are_named() {
        let archive = |files: &[(&str, &str)]| CodeArchive {
            files: files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect(),
        };
        let before = archive(&[("a.py", "1"), ("b.py", "1"), ("c.py", "1")]);
        let after = archive(&[("a.py", "1"), ("b.py", "2"), ("d.py", "1")]);
        assert_eq!(after.changed_since(&before), ["b.py", "c.py", "d.py"]);
        assert!(after.changed_since(&after).is_empty());
    }

    #[test]
    fn an_archive_cannot_write_outside_its_folder() {
        let cache = tempfile::tempdir().unwrap();
        let archive = CodeArchive { files: [("../evil.py".to_owned(), String::new())].into() };
        assert!(write(&archive, cache.path(), &cache.path().join("x")).is_err());
        assert!(!cache.path().parent().unwrap().join("evil.py").exists());
    }
}
