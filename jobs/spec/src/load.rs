//! From a folder of YAML to objects, or to all mistakes at once.

use std::path::Path;

use crate::{
    Objects,
    diagnostic::{Diagnostic, Severity, SourceFile},
};

/// What a folder declares, and what is wrong with it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The objects that are right; complete only where no diagnostic is an error.
    pub objects: Objects,
    /// All mistakes of all files, by file and place.
    pub diagnostics: Vec<Diagnostic>,
    /// What was read, for the frames.
    pub files: Vec<SourceFile>,
}

impl Loaded {
    /// Whether anything must be repaired first.
    pub fn failed(&self) -> bool {
        self.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }
}

/// Reads every `*.yaml` and `*.yml` below `folder`, which holds a `tidemill.yaml`.
///
/// # Errors
/// The folder, or a file in it, cannot be read.
pub fn load(_folder: &Path) -> std::io::Result<Loaded> {
    todo!()
}
