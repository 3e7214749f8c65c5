//! Folders for files that are trusted because nobody else can have written them: unpacked code, downloaded models.

use std::{
    fs,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use crate::Error;

/// Bits of a mode by which a group or others may write.
const OTHERS_WRITE: u32 = 0o022;

/// Makes a folder that only we may enter, unless it is there.
///
/// # Errors
/// It can't be made, it belongs to someone else, or others may write to it.
pub fn private_folder(path: &Path) -> Result<(), Error> {
    let failed = |error| Error::file(path, error);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
    let found = fs::metadata(path).map_err(failed)?;
    let us = rustix::process::geteuid().as_raw();
    let refused = |reason: String| Err(Error::NotPrivate { path: path.to_owned(), reason });
    if found.uid() != us {
        return refused(format!("it belongs to user {}, not to {us}", found.uid()));
    }
    if found.mode() & OTHERS_WRITE != 0 {
        return refused(format!("others may write to it (mode {:o})", found.mode() & 0o777));
    }
    Ok(())
}

/// Where such a folder of this user lies if nothing else is said: `$XDG_CACHE_HOME/tidemill/NAME`, or below
/// `~/.cache`; for a user without a home below the system's temporary folder, by user.
pub fn private_default(name: &str) -> PathBuf {
    let of = |variable: &str| {
        let path = std::env::var_os(variable).map(PathBuf::from);
        path.filter(|path| path.is_absolute())
    };
    let cache = of("XDG_CACHE_HOME").or_else(|| of("HOME").map(|home| home.join(".cache")));
    let homeless = || std::env::temp_dir().join(format!("user-{}", rustix::process::geteuid().as_raw()));
    cache.unwrap_or_else(homeless).join("tidemill").join(name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn it_is_made_for_us_alone_and_found_again() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("a/b");
        for _ in 0..2 {
            private_folder(&folder).unwrap();
        }
        assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn what_others_may_write_to_or_own_is_refused() {
        let home = tempfile::tempdir().unwrap();
        for mode in [0o770, 0o702, 0o777] {
            let folder = home.path().join(mode.to_string());
            fs::create_dir(&folder).unwrap();
            fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).unwrap();
            let error = private_folder(&folder).unwrap_err().to_string();
            assert!(error.contains(&format!("others may write to it (mode {mode:o})")), "{error}");
        }
        // As root the folder is given away; everyone else finds one of root's.
        let root = rustix::process::geteuid().is_root();
        let foreign = if root { home.path().join("given") } else { PathBuf::from("/usr") };
        if root {
            fs::create_dir(&foreign).unwrap();
            std::os::unix::fs::chown(&foreign, Some(12_345), None).unwrap();
        }
        let error = private_folder(&foreign).unwrap_err().to_string();
        assert!(error.contains("it belongs to user"), "{error}");
    }
}
