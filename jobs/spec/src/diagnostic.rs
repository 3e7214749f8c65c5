//! A mistake, as a person reads it: code, message, places, help; and the report that collects them.

mod render;

use std::cell::RefCell;

use serde::{Deserialize, Serialize};
use tidemill_core::Code;

pub use render::render;

/// A place in one file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// Characters on that line, at least 1.
    pub length: usize,
}

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

impl Place {
    pub(crate) fn new(file: &str, span: Span, message: &str) -> Self {
        let Span { line, column, length } = span;
        Self { file: file.to_owned(), line, column, length: length.max(1), message: message.to_owned() }
    }
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostic {
    /// Its page, printed as `TM0201`.
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
    /// What can be counted in the data, for a point-in-time leak.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leak: Option<Leak>,
}

/// A column of a source that is used before it was known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leak {
    /// The source.
    pub source: String,
    /// Its column.
    pub column: String,
    /// The column of the moment at which it is used.
    pub used_at: String,
    /// The column of the moment at which it was known.
    pub known_at: String,
}

/// A file that was read, kept for the frames of diagnostics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// Path relative to the project folder.
    pub path: String,
    /// Its whole text.
    pub text: String,
}

/// Collects mistakes. Shared by everything that reads one project.
#[derive(Debug, Default)]
pub(crate) struct Report(RefCell<Vec<Diagnostic>>);

impl Report {
    /// Begins a mistake; it counts as soon as it is begun.
    pub(crate) fn error(&self, code: u16, message: impl Into<String>) -> Draft<'_> {
        self.begin(code, Severity::Error, message.into())
    }

    /// A whole mistake.
    pub(crate) fn add(&self, mistake: Diagnostic) {
        self.0.borrow_mut().push(mistake);
    }

    fn begin(&self, code: u16, severity: Severity, message: String) -> Draft<'_> {
        let mut all = self.0.borrow_mut();
        let (labels, path) = (Vec::new(), String::new());
        all.push(Diagnostic { code: Code(code), severity, message, labels, help: None, path, leak: None });
        Draft { report: self, index: all.len() - 1 }
    }

    /// How many there are so far.
    pub(crate) fn count(&self) -> usize {
        self.0.borrow().len()
    }

    /// All of them, errors and warnings, by file and place.
    pub(crate) fn finish(self) -> Vec<Diagnostic> {
        let mut all = self.0.into_inner();
        in_order(&mut all);
        all
    }
}

/// By file and place, each once.
pub(crate) fn in_order(all: &mut Vec<Diagnostic>) {
    all.sort_by(|a, b| {
        let place = |d: &Diagnostic| d.labels.first().map(|l| (l.file.clone(), l.line, l.column));
        place(a).cmp(&place(b))
    });
    all.dedup();
}

/// A mistake that was begun, to which more is added.
#[derive(Debug)]
pub(crate) struct Draft<'a> {
    report: &'a Report,
    index: usize,
}

impl Draft<'_> {
    fn edit(self, edit: impl FnOnce(&mut Diagnostic)) -> Self {
        edit(&mut self.report.0.borrow_mut()[self.index]);
        self
    }

    /// Where it is.
    pub(crate) fn at(self, file: &str, span: Span, said: &str) -> Self {
        self.place(Place::new(file, span, said))
    }

    /// One more place.
    pub(crate) fn place(self, place: Place) -> Self {
        self.edit(|diagnostic| diagnostic.labels.push(place))
    }

    /// The YAML path.
    pub(crate) fn path(self, path: &str) -> Self {
        self.edit(|diagnostic| path.clone_into(&mut diagnostic.path))
    }

    /// How to fix it.
    pub(crate) fn help(self, help: impl Into<String>) -> Self {
        self.edit(|diagnostic| diagnostic.help = Some(help.into()))
    }

    /// What can be counted in the data.
    pub(crate) fn leak(self, leak: Leak) -> Self {
        self.edit(|diagnostic| diagnostic.leak = Some(leak))
    }

    /// Only a warning.
    pub(crate) fn warning(self) -> Self {
        self.edit(|diagnostic| diagnostic.severity = Severity::Warning)
    }
}

/// Bytes of a name that is compared: comparing takes memory for each pair of letters, and nobody mistypes a longer one.
const COMPARED_MAX: usize = 200;

/// The nearest of some words, if it is near enough to be meant.
pub fn closest<'w>(word: &str, words: &[&'w str]) -> Option<&'w str> {
    let near = |other: &&&str| {
        let distance = strsim::damerau_levenshtein(word, other);
        let shorter = word.chars().count().min(other.chars().count());
        distance > 0 && distance < shorter && distance <= 1 + shorter / 4
    };
    if word.len() > COMPARED_MAX {
        return None;
    }
    words.iter().filter(near).min_by_key(|other| strsim::damerau_levenshtein(word, other)).copied()
}

/// The nearest of some words, at most so many, the nearest first.
pub fn nearest<'w>(word: &str, mut words: Vec<&'w str>, most: usize) -> Vec<&'w str> {
    let word = word.get(..COMPARED_MAX).unwrap_or(word);
    words.sort_by_cached_key(|other| strsim::damerau_levenshtein(word, other));
    words.truncate(most);
    words
}
