//! Where the servers' programs are and where they keep their data while a test process lives.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use tidemill_servers::Wheels;

/// The interpreter of the virtual environment that `scripts/setup` fills.
///
/// # Errors
/// When there is no home directory to look in.
pub fn python() -> anyhow::Result<PathBuf> {
    if let Some(python) = std::env::var_os("TIDEMILL_PYTHON") {
        return Ok(python.into());
    }
    let venv = match std::env::var_os("TIDEMILL_VENV") {
        Some(venv) => venv.into(),
        None => std::env::home_dir().context("no home directory")?.join(".cache/tidemill/venv"),
    };
    Ok(venv.join("bin/python"))
}

pub(crate) fn wheels() -> anyhow::Result<Wheels> {
    Wheels::locate(&python()?).context("the servers' wheels are missing: run scripts/setup")
}

/// A fresh folder for a server's data, named after this process; folders of processes that ended are removed.
pub(crate) fn folder(server: &str) -> anyhow::Result<PathBuf> {
    let root = std::env::temp_dir().join("tidemill-test");
    fs::create_dir_all(&root)?;
    for entry in root.read_dir()?.filter_map(Result::ok) {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name.split('-').next().unwrap_or_default();
        if !Path::new("/proc").join(pid).exists() {
            // Another test process may be removing it too.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    let prefix = format!("{}-{server}-", std::process::id());
    Ok(tempfile::Builder::new().prefix(&prefix).tempdir_in(&root)?.keep())
}
