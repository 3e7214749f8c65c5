//! Files that commands write: whole or not at all, and over what is there only with `--force`.

use std::{io::Write as _, path::Path};

use tidemill_core::Fault;

use crate::failure::{Failure, USAGE};

/// Refuses a path where something is already, before any work is done for it.
pub(crate) fn free(path: &Path, force: bool) -> Result<(), Failure> {
    if path.symlink_metadata().is_err() || (force && path.is_file()) {
        return Ok(());
    }
    let shown = path.display();
    let hint = if path.is_file() {
        "name another file, or overwrite this one with --force"
    } else {
        "name a file that can be created"
    };
    Err(Failure::new(USAGE, Fault::coded(188, format!("`{shown}` already exists")).hint(hint)))
}

/// Writes a file. It appears whole: who reads it meanwhile sees what was there.
pub(crate) fn write(path: &Path, bytes: &[u8], force: bool) -> Result<(), Failure> {
    free(path, force)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let written = || {
        let mut partial = tempfile::Builder::new().permissions(permissions()).tempfile_in(folder)?;
        partial.write_all(bytes)?;
        let kept = if force { partial.persist(path) } else { partial.persist_noclobber(path) };
        kept.map(drop).map_err(|error| error.error)
    };
    written().map_err(|error: std::io::Error| {
        let fault = Fault::coded(188, format!("`{}` can't be written: {error}", path.display()));
        Failure::new(USAGE, fault.hint("name a file in an existing folder that you may write to"))
    })
}

/// As `fs::write` makes a file, less what the umask takes.
fn permissions() -> std::fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o666)
}

/// The ending of a file's name among those that mean something; others are refused.
pub(crate) fn ending(path: &Path, known: &[&'static str]) -> Result<&'static str, Failure> {
    let given = path.extension().map(|ending| ending.to_string_lossy().to_lowercase()).unwrap_or_default();
    known.iter().find(|known| **known == given).copied().ok_or_else(|| {
        let known: Vec<String> = known.iter().map(|ending| format!(".{ending}")).collect();
        let fault = Fault::coded(608, format!("the name of `{}` does not say its format", path.display()));
        Failure::new(USAGE, fault.hint(format!("name it {}", known.join(", "))))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_written_over_only_by_force_and_a_folder_never() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("o.csv");
        write(&path, b"one", false).unwrap();
        assert_eq!(write(&path, b"two", false).unwrap_err().exit, USAGE);
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
        write(&path, b"two", true).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert!(write(folder.path(), b"x", true).is_err());
        assert!(write(&folder.path().join("none/o.csv"), b"x", true).is_err());
    }

    #[test]
    fn an_ending_is_one_of_those_that_mean_something() {
        assert_eq!(ending(Path::new("a/B.CSV"), &["parquet", "csv"]).unwrap(), "csv");
        for other in ["a.xlsx", "a", "csv", ".csv"] {
            assert!(ending(Path::new(other), &["parquet", "csv"]).is_err(), "{other}");
        }
    }
}
