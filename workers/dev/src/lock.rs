//! One tree at a time in a folder.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail};

use crate::Endpoints;

/// Below the folder; locked for as long as a tree runs there.
pub(crate) const LOCK_FILE: &str = "lock";

/// Whoever asks whether a tree is starting holds the lock for a moment too.
const TRIES: u32 = 10;
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// A folder that belongs to this process.
#[derive(Debug)]
pub(crate) struct Folder {
    /// Absolute.
    pub(crate) path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Makes the folder if it isn't there, and takes it.
    ///
    /// # Errors
    /// When another process has it: nothing in it was touched.
    pub(crate) async fn take(path: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(path).with_context(|| format!("make {}", path.display()))?;
        let path = path.canonicalize()?;
        let file = path.join(LOCK_FILE);
        let lock = File::create(&file).with_context(|| format!("write {}", file.display()))?;
        for _ in 0..TRIES {
            if lock.try_lock().is_ok() {
                return Ok(Self { path, _lock: lock });
            }
            tokio::time::sleep(TRY_AGAIN_AFTER).await;
        }
        let other =
            Endpoints::find(&path).map_or_else(String::new, |tree| format!(" (process {})", tree.pid));
        bail!(
            "a tree already runs in {}{other}, and was left alone; stop it first, or name another --dir",
            path.display()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_folder_has_one_owner_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let owner = Folder::take(dir.path()).await.unwrap();
        let refused = Folder::take(dir.path()).await.unwrap_err().to_string();
        assert!(refused.contains("already runs in") && refused.contains("left alone"), "{refused}");
        drop(owner);
        Folder::take(dir.path()).await.unwrap();
    }
}
