//! From a folder of YAML to objects, or to all mistakes at once.

use std::{io, path::Path};

use crate::{
    DeclaredSql, ObjectKind, ObjectRef, Objects, check,
    diagnostic::{Diagnostic, Place, Report, Severity, SourceFile, in_order},
    folder::{self, Folder, Refused, is_yaml},
    parse::{self, Document},
    yaml::{self, Node, fields::At},
};

/// The file that makes a folder a project.
pub const PROJECT_FILE: &str = "tidemill.yaml";

/// What a folder declares, and what is wrong with it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The objects that are right; complete only where no diagnostic is an error.
    pub objects: Objects,
    /// All mistakes of all files, by file and place.
    pub diagnostics: Vec<Diagnostic>,
    /// What was read, for the frames.
    pub files: Vec<SourceFile>,
    /// SQL that is right as far as can be told without DuckDB.
    pub sql: Vec<DeclaredSql>,
    /// Where each object was declared: its name.
    pub places: Vec<(ObjectRef, Place)>,
}

impl Loaded {
    /// Adds mistakes that were found later, each in its place.
    pub fn add(&mut self, found: Vec<Diagnostic>) {
        self.diagnostics.extend(found);
        in_order(&mut self.diagnostics);
    }

    /// Whether anything must be repaired first.
    pub fn failed(&self) -> bool {
        self.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }
}

/// What is read, and how strictly.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadOptions {
    /// Folders that the project lists under `overlays`, which are left out unless named here.
    pub overlays: Vec<String>,
    /// Takes views that leak as if each said `leak: allow`.
    pub allow_leaks: bool,
}

/// Reads every `*.yaml` and `*.yml` below `folder`, which holds a `tidemill.yaml`; overlays are left out. A file that
/// can't be taken is among the mistakes.
///
/// # Errors
/// The folder, or one in it, cannot be read.
pub fn load(folder: &Path) -> io::Result<Loaded> {
    load_with(folder, &LoadOptions::default())
}

/// Like [`load`], with overlays.
///
/// # Errors
/// The folder, or one in it, cannot be read.
pub fn load_with(folder: &Path, options: &LoadOptions) -> io::Result<Loaded> {
    Ok(read(folder::read(folder)?, options))
}

/// Like [`load_with`], from files already at hand: all YAML and Python of a project.
pub fn load_files(files: Vec<SourceFile>, options: &LoadOptions) -> Loaded {
    read(folder::sent(files), options)
}

const START: yaml::Span = yaml::Span { line: 1, column: 1, length: 1 };

fn read(folder: Folder, options: &LoadOptions) -> Loaded {
    let Folder { files, refused } = folder;
    let report = Report::default();
    for Refused { path, why, help } in &refused {
        report.error(214, format!("`{path}` {why}")).at(path, START, "").help(*help);
    }
    // `--with leak/` means the folder `leak`.
    let named = options.overlays.iter().map(|overlay| overlay.trim_end_matches('/').to_owned()).collect();
    let options = &LoadOptions { overlays: named, ..options.clone() };
    let mut objects = Objects::default();
    let overlays = overlays(&files, options, &report);
    let mut documents: Vec<Document> = Vec::new();
    for file in files.iter().filter(|file| is_yaml(&file.path) && !skipped(&file.path, &overlays, options)) {
        for root in yaml::documents(&file.path, &file.text, &report) {
            documents.extend(document(&file.path, root, &mut objects, &report));
        }
    }
    doubles(&documents, &report);
    let sql = check::all(&mut objects, &documents, &files, options.allow_leaks, &report);
    let places = documents.iter().map(|document| (document.object(), document.place(""))).collect();
    Loaded { objects, diagnostics: report.finish(), files, sql, places }
}

fn document(file: &str, root: Node, objects: &mut Objects, report: &Report) -> Option<Document> {
    let before = report.count();
    let (kind, name) = parse::document(&At::root(&root, file, report), objects)?;
    Some(Document { file: file.to_owned(), root, kind, name, broken: report.count() > before })
}

/// The folders that the project declares as overlays; says so where one that was asked for isn't among them,
/// or there is no project.
fn overlays(files: &[SourceFile], options: &LoadOptions, report: &Report) -> Vec<String> {
    let Some(file) = files.iter().find(|file| file.path == PROJECT_FILE) else {
        report.error(213, format!("there is no `{PROJECT_FILE}` in the project's folder")).help(
            "run `tidemill init NAME` for a new project, or name the folder that has one: `tidemill check FOLDER`",
        );
        return Vec::new();
    };
    // Read once more with everything else; what is wrong in it is said then.
    let silent = Report::default();
    let declared: Vec<String> = yaml::documents(&file.path, &file.text, &silent)
        .iter()
        .filter_map(|root| root.get("overlays"))
        .filter_map(|entry| entry.value.to_json().as_array().cloned())
        .flatten()
        .filter_map(|name| name.as_str().map(str::to_owned))
        .collect();
    for asked in options.overlays.iter().filter(|asked| !declared.contains(asked)) {
        report
            .error(213, format!("the project has no overlay `{asked}`"))
            .at(&file.path, START, "")
            .help(format!("list it in `{PROJECT_FILE}`: `overlays: [{asked}]`"));
    }
    declared
}

fn skipped(path: &str, overlays: &[String], options: &LoadOptions) -> bool {
    let within =
        |overlay: &&String| path.strip_prefix(overlay.as_str()).is_some_and(|rest| rest.starts_with('/'));
    overlays.iter().any(|overlay| within(&overlay) && !options.overlays.contains(overlay))
}

/// Two objects of one kind and name, and a second project.
fn doubles(documents: &[Document], report: &Report) {
    for (index, document) in documents.iter().enumerate() {
        let same = |other: &&Document| {
            other.kind == document.kind
                && (other.name == document.name || document.kind == ObjectKind::Project)
        };
        let Some(first) = documents[..index].iter().find(same) else { continue };
        let message = match document.kind {
            ObjectKind::Project => "there is a second project".to_owned(),
            kind => format!("{kind} `{}` is declared twice", document.name),
        };
        report.error(302, message).place(document.place("again here")).place(first.place("first here"));
    }
}
