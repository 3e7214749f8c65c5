//! The project's Python, packed and kept by content hash, so that a run stays with the code it started with.
//!
//! The archive is one JSON object from path to text, sorted: the same files give the same bytes and the same hash.

mod imports;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tidemill_blobs::Blobs;
use tidemill_spec::diagnostic::SourceFile;

use crate::Error;

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
    blobs.unpack(&place(hash), hash, cache).await.map_err(|error| failed(hash, error))
}

/// Where the archive of `hash` lies on the object store.
pub fn place(hash: &str) -> String {
    format!("code/{hash}.json")
}

fn failed(hash: &str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Code { hash: hash.to_owned(), source: source.into() }
}

/// SHA-256 in hex.
pub fn hex_sha256(bytes: &[u8]) -> String {
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
}
