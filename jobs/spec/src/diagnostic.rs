//! A mistake, as a person reads it: code, message, places, help.

use serde::{Deserialize, Serialize};
use tidemill_core::error::Code;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Nothing is loaded while there is one.
    Error,
    /// Shown; the objects are loaded.
    Warning,
}

/// A place in a file, with what is said of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Path relative to the project folder.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// Characters that are underlined on that line, at least 1.
    pub length: usize,
    /// Said below the underline; may be empty.
    pub message: String,
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostic {
    /// Its page.
    pub code: Code,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, in lower case without a period.
    pub message: String,
    /// Where; the first is the main one.
    pub labels: Vec<Place>,
    /// How to fix it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// The YAML path within its object, e.g. `steps.train.retrys`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
}

/// A file that was read, kept for the frames of diagnostics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// Path relative to the project folder.
    pub path: String,
    /// Its whole text.
    pub text: String,
}

/// All mistakes in the form that people read, with a frame each; `colour` adds ANSI colours.
pub fn render(_diagnostics: &[Diagnostic], _files: &[SourceFile], _colour: bool) -> String {
    todo!()
}
