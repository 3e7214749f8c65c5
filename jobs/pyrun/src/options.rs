//! Which Python, whose code, and which limits.

use std::{path::PathBuf, time::Duration};

use indexmap::IndexMap;

/// How processes of user code are started. The defaults suit transforms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PyOptions {
    /// The interpreter; package `tidemill` must be importable by it.
    pub python: PathBuf,
    /// The folder that holds package `tidemill` where it is not installed.
    pub package: Option<PathBuf>,
    /// The unpacked project, put first on `sys.path`; a process serves one project state all its life.
    pub code: Option<PathBuf>,
    /// Most processes of a pool, at least 1. They start when they are needed, so that one request that hangs
    /// doesn't hold up the others.
    pub processes: usize,
    /// Most memory a process may use beyond what it uses when idle.
    pub memory_bytes: u64,
    /// Longest a request may take (real time).
    pub time_limit: Duration,
    /// Environment of user code. Nothing else is inherited but `PATH`, `HOME` and the like, so that no
    /// secret of ours reaches it.
    pub env: IndexMap<String, String>,
}

impl Default for PyOptions {
    fn default() -> Self {
        Self {
            python: PathBuf::from("python3"),
            package: None,
            code: None,
            processes: 4,
            memory_bytes: 2 << 30,
            time_limit: Duration::from_mins(1),
            env: IndexMap::new(),
        }
    }
}
